package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// Exit statuses, as the manual page has them.
const (
	exitDone       = 0
	exitUnexpected = 1
	exitUsage      = 2
	exitNoTunnel   = 3
	exitFailed     = 4
	exitTimeout    = 5
	exitTaken      = 6
	exitNoProgram  = 7
	exitRouteDown  = 8
	exitProtocol   = 9

	// Of run, whose other statuses are its client's; env(1) and timeout(1) use them likewise.
	exitRunFailed       = 125
	exitClientNotRun    = 126
	exitClientNotFound  = 127
	exitSignalledOffset = 128
)

// clientStatus is the exit status of run's client, which becomes tunhook's own.
type clientStatus int

func (s clientStatus) Error() string { return "the client's exit status was " + strconv.Itoa(int(s)) }

// exitStatus maps an error to the exit status; isRun says that the command was run.
func exitStatus(err error, isRun bool) int {
	var sig signalError
	if errors.As(err, &sig) {
		return exitSignalledOffset + int(sig.signal)
	}
	if isRun {
		return runStatus(err)
	}
	var (
		usage    *usageError
		route    *tunnel.RouteError
		listen   *tunnel.ListenError
		config   *tunnel.ConfigError
		none     *hook.NoTunnelError
		stopped  *hook.StoppedError
		failed   *hook.FailedError
		taken    *hook.TakenError
		program  *tunnel.ProgramError
		timeout  *hook.TimeoutError
		busy     *pidfile.BusyError
		protocol *tunnel.ProtocolError
	)
	switch {
	case badEntry(err):
		return exitUsage
	case errors.As(err, new(*hook.EnabledError)):
		return exitTaken
	case errors.As(err, new(*hook.WaitsError)):
		return exitNoTunnel
	case errors.As(err, &usage), errors.As(err, &route), errors.As(err, &listen), errors.As(err, &config), badProfile(err):
		return exitUsage
	case errors.As(err, &none), errors.As(err, &stopped):
		return exitNoTunnel
	case errors.As(err, &timeout), errors.As(err, &busy), errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.Is(err, tunnel.ErrClosed):
		return exitRouteDown
	case errors.As(err, &protocol):
		return exitProtocol
	case errors.As(err, &failed):
		return exitFailed
	case errors.As(err, &taken):
		return exitTaken
	case errors.As(err, &program):
		return exitNoProgram
	}
	return exitUnexpected
}

// badProfile tells whether a Remmina profile is not there, or not as it would have to be.
func badProfile(err error) bool {
	return errors.As(err, new(*remmina.NotFoundError)) || errors.As(err, new(*remmina.AmbiguousError)) ||
		errors.As(err, new(*remmina.FileError)) || errors.As(err, new(*remmina.DamagedError)) ||
		errors.As(err, new(*remmina.ForeignError)) || errors.As(err, new(*remmina.DetourError)) ||
		errors.As(err, new(*remmina.ServerlessError)) ||
		errors.As(err, new(*remmina.RouteError)) || errors.As(err, new(*remmina.ListenError)) || errors.As(err, new(*remmina.QuoteError))
}

// badEntry tells whether what was asked of an entry cannot be.
func badEntry(err error) bool {
	return errors.As(err, new(*hook.ManyEnabledError)) || errors.As(err, new(*autostart.TextError))
}

func runStatus(err error) int {
	var client *hook.ClientError
	switch {
	case errors.As(err, &client) && client.Found:
		return exitClientNotRun
	case errors.As(err, &client):
		return exitClientNotFound
	}
	return exitRunFailed
}
