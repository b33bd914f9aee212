package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/flatpak"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// diagnosis is what a person is told of a failure whose meaning is known: by the message, the exit status and the desktop alike.
type diagnosis struct {
	sentence string // after the program and the route
	status   int
	hint     string // the one thing to do, where the provider has nothing better to say
}

// diagnoses is the table of the meanings of tunnel.Meaning.
func diagnoses() map[tunnel.Meaning]diagnosis {
	return map[tunnel.Meaning]diagnosis{
		tunnel.Unreachable:  {"cannot reach its gateway", exitFailed, "check the network, a VPN perhaps, and the gateway's address"},
		tunnel.UnknownName:  {"needs a host name for which no address is known", exitFailed, "check its spelling, and the network, a VPN perhaps"},
		tunnel.Untrusted:    {"does not trust the gateway's certificate", exitFailed, "check the clock, or give the tunnel program the gateway's CA"},
		tunnel.HostKey:      {"does not accept the gateway's host key", exitFailed, "connect to the gateway once by hand, and accept its key"},
		tunnel.Refused:      {"was refused: the gateway does not let you take this route", exitFailed, "ask those who run it for access"},
		tunnel.Down:         {"reached its gateway, but the route is down: no server answers at its end", exitRouteDown, "see whether that machine is on"},
		tunnel.UnknownRoute: {"was told that there is nothing of that name where the route leads", exitFailed, "check the route"},
		tunnel.GatewayFault: {"got no proper answer from its gateway", exitFailed, "try again, or ask those who run it"},
		tunnel.NoBrowser: {
			"cannot open the page to sign in at: no browser could be started", exitFailed,
			"install one (and xdg-utils), or start it where there is a desktop",
		},
		tunnel.SignedOut:  {"needs you to sign in first", exitFailed, "sign in with it, and start it again"},
		tunnel.Unanswered: {"", exitTimeout, "start it again, and sign in on the page that it opens then"}, // the error says how long it waited
		tunnel.Unasked: {
			"needs a passphrase or a password, and there was nobody to ask", exitFailed, "connect once by hand, or let an agent or an askpass program have it",
		},
		tunnel.Unsaved:   {"could not keep the sign-in", exitFailed, "see whether its cache directory can be written to"},
		tunnel.Arguments: {"does not understand its arguments", exitFailed, "check those of the configuration, and those after --"},
		tunnel.NoProgram: {"lacks another program that it needs", exitNoProgram, "install that, or put it on PATH"},
		tunnel.NotSetUp:  {"is not set up for this", exitFailed, "see what it says, and run it once by hand"},
	}
}

// sentence is an error in words.
func sentence(err error) string {
	var failed *hook.FailedError
	if errors.As(err, &failed) {
		if said := diagnoses()[failed.Means].sentence; said != "" {
			return fmt.Sprintf("%s for %s %s", failed.Record.Program, failed.Record.Route, said)
		}
	}
	return err.Error()
}

// errorRow is a row of the table of errors.
type errorRow struct {
	is     func(error) bool
	status int
	hint   func(error) string // nil where the error names the way out itself
}

// kind is the row of errors of one type.
func kind[E error](status int, hint func(E) string) errorRow {
	row := errorRow{is: func(err error) bool { return errors.As(err, new(E)) }, status: status}
	if hint != nil {
		row.hint = func(err error) string {
			var e E
			errors.As(err, &e)
			return hint(e)
		}
	}
	return row
}

// always is the hint of a row that needs nothing of the error.
func always[E error](text string) func(E) string { return func(E) string { return text } }

// value is the row of one error.
func value(target error, status int) errorRow {
	return errorRow{is: func(err error) bool { return errors.Is(err, target) }, status: status}
}

// rowOf finds the row of an error in the table; the first one counts. What is in none is unexpected.
func rowOf(err error) errorRow {
	var failed *hook.FailedError
	if errors.As(err, &failed) && failed.Means != "" {
		d := diagnoses()[failed.Means]
		if failed.Hint != "" {
			d.hint = failed.Hint
		}
		return errorRow{status: d.status, hint: func(error) string { return ": " + d.hint }}
	}
	for _, row := range errorTable() {
		if row.is(err) {
			return row
		}
	}
	return errorRow{status: exitUnexpected}
}

// hint is the way out of an error that does not name one itself.
func hint(err error) string {
	if row := rowOf(err); row.hint != nil {
		return row.hint(err)
	}
	return ""
}

// errorTable is the table of all errors: the exit status of each, and its hint.
func errorTable() []errorRow {
	return []errorRow{
		// What is enabled.
		kind(exitUsage, func(e *hook.ManyEnabledError) string {
			return ": say which: tunhook disable " + e.Route + " " + e.Entries[0].Address.String()
		}),
		kind[*autostart.TextError](exitUsage, nil),
		kind(exitTaken, func(e *hook.EnabledError) string {
			return ": choose another listen address, or end that: tunhook disable " + e.Route + " " + e.Address.String()
		}),
		kind[*hook.WaitsError](exitNoTunnel, nil),
		kind(exitUnexpected, func(e *hook.InUseError) string {
			return " by " + clients(e.Clients) + ": close that first, or cut it off with --now"
		}),
		kind(exitUnexpected, func(e *hook.EntryError) string {
			return ": enable it again: tunhook enable " + e.Route + " " + e.Address.String()
		}),
		// What was asked for cannot be understood.
		kind[*usageError](exitUsage, nil),
		kind(exitUsage, meantHint),
		kind[*tunnel.ListenError](exitUsage, nil),
		kind[*tunnel.ConfigError](exitUsage, nil),
		kind(exitUsage, func(e *tunnel.NoListError) string {
			if !e.None {
				return ""
			}
			return didYouMean(nearest(e.Provider, e.Known))
		}),
		{is: badProfile, status: exitUsage},
		// There is no tunnel.
		kind(exitNoTunnel, noTunnelHint),
		kind[*hook.StoppedError](exitNoTunnel, nil),
		// It took too long.
		kind[*hook.TimeoutError](exitTimeout, nil),
		kind(exitTimeout, always[*pidfile.BusyError](": try again when it is done")),
		value(context.DeadlineExceeded, exitTimeout),
		// The tunnel came to nothing, and nothing more is known.
		value(tunnel.ErrClosed, exitRouteDown),
		kind[*tunnel.ProtocolError](exitProtocol, nil),
		kind[*hook.FailedError](exitFailed, nil),
		kind(exitFailed, func(e *hook.ListError) string {
			return ": " + cmp.Or(e.Hint, "run it by hand, or give it arguments behind --")
		}),
		kind(exitTaken, takenHint),
		kind[*tunnel.ProgramError](exitNoProgram, nil),
		// The rest.
		kind(exitUnexpected, func(e *pidfile.ElsewhereError) string {
			return ", so it was left alone: call tunhook where it was started, or remove " + e.Path + " once that is gone for good"
		}),
		kind(exitUnexpected, always[*pidfile.BadRecordError](": the next start or stop of its tunnel sets it aside")),
		kind(exitUnexpected, func(e *flatpak.PermissionError) string { return ": allow it, and start it again: " + e.Override() }),
		kind(exitUnexpected, func(e *hook.SocketError) string {
			return fmt.Sprintf(": give %s as LISTEN, or the unit ListenStream=%s", e.Got, e.Want)
		}),
		kind(exitUnexpected, always[*pidfile.TooLargeError](": name fewer with --end-with, or one that waits for them")),
		kind(exitUnexpected, always[*hook.LoopError](": put the program itself on PATH, or have the tunnel program call a browser by its path")),
		kind(exitUnexpected, always[*hook.NoOpenerError](": install one, or name to the tunnel program one that is there")),
	}
}

func noTunnelHint(none *hook.NoTunnelError) string {
	if len(none.Others) == 0 {
		return ": tunhook status lists those there are"
	}
	return ": tunhook status " + none.Route + " tells more"
}

func meantHint(err *tunnel.RouteError) string {
	return didYouMean(meantRoute(err))
}

// badProfile tells whether a Remmina profile is not there, or not as it would have to be.
func badProfile(err error) bool {
	return errors.As(err, new(*remmina.NotFoundError)) || errors.As(err, new(*remmina.AmbiguousError)) ||
		errors.As(err, new(*remmina.FileError)) || errors.As(err, new(*remmina.DamagedError)) ||
		errors.As(err, new(*remmina.ForeignError)) || errors.As(err, new(*remmina.DetourError)) ||
		errors.As(err, new(*remmina.ServerlessError)) || errors.As(err, new(*remmina.UsedError)) ||
		errors.As(err, new(*remmina.RouteError)) || errors.As(err, new(*remmina.ListenError)) || errors.As(err, new(*remmina.QuoteError))
}
