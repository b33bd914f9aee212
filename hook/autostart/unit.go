package autostart

import (
	"fmt"
	"strings"
)

// socketUnit is the unit that listens while nothing of ours runs. It has no limit on starts, which a few short connections in a row
// would reach, and after which the socket takes none until somebody resets it by hand.
//
// The socket's own limit, on triggers, stays: a listener that ends before it accepts would be started without end. systemd's
// default, 20 in two seconds for a socket like this one, is too low: a connection that was not accepted triggers again at once,
// systemd.socket(5).
func (e Entry) socketUnit() string {
	var listen strings.Builder
	fmt.Fprintf(&listen, "ListenStream=%s\n", e.Address)
	if !e.Address.Addr().IsLoopback() && !e.Address.Addr().IsUnspecified() {
		listen.WriteString("FreeBind=yes\n") // at login the network may not be there yet
	}
	return marker + e.unitHead() +
		"\n[Socket]\n" + listen.String() + "TriggerLimitIntervalSec=2\nTriggerLimitBurst=200\n" +
		"\n[Install]\nWantedBy=sockets.target\n" +
		"\n[X-Tunhook]\n" + e.keys()
}

// serviceUnit is the unit that the socket activates. Of what it starts only the listener itself is ended with it: the tunnel is
// ended by whoever stops it, in the way that its provider wants. It has no Restart=, which would keep a client hanging or end in the
// limit on starts, and no ExitType=, with which nobody would accept any more while a tunnel lives.
func (e Entry) serviceUnit() string {
	var b strings.Builder
	for _, variable := range e.Environ {
		fmt.Fprintf(&b, "Environment=%s\n", unitQuote(variable))
	}
	argv := append([]string{"/bin/sh", "-c", startOrTurnAway, e.Program}, e.Args...)
	for i, arg := range argv {
		argv[i] = unitQuote(arg)
	}
	return marker + e.unitHead() +
		"\n[Service]\n" + // the colon: no variables in what follows, systemd.service(5)
		"ExecStart=:" + strings.Join(argv, " ") + "\n" + b.String() + "KillMode=process\n" +
		"\n[X-Tunhook]\n" + e.keys()
}

// startOrTurnAway is for the shell: it becomes the listener. Where that is gone, or cannot be run, nobody would take the connection:
// the client would wait without end, and systemd start the unit without end. So the user is told, and for ten seconds whoever connects is
// turned away, by a program of systemd's that can reach nothing.
//
// What can be run only exec knows: a directory may look like a program, as may half a one. A shell whose exec has failed ends,
// but not before its trap; bash forgets that one first, unless it is to go on. An empty file is a script that does nothing.
const startOrTurnAway = `turnaway() { trap - EXIT; ` +
	`busctl --user --timeout=5 call org.freedesktop.Notifications /org/freedesktop/Notifications org.freedesktop.Notifications ` +
	`Notify "susssasa{sv}i" tunhook 0 dialog-error "tunhook is gone" "A connection needs a tunnel, and $0 is not there any more, ` +
	`or cannot be run: install tunhook again, and run: tunhook doctor --fix" 0 0 0 >/dev/null 2>&1 & ` +
	`for dir in ` + systemdDirs + `; do case $("$dir/systemd-socket-proxyd" --help 2>/dev/null) in *--exit-idle-time*) ` +
	`exec "$dir/systemd-socket-proxyd" --exit-idle-time=10s /nonexistent; esac; done; exec sleep 10; }; ` +
	`trap turnaway EXIT; [ -z "$BASH_VERSION" ] || shopt -s execfail; [ -s "$0" ] && exec "$0" "$@"; exit`

// systemdDirs are where systemd has the programs that are not for people, the last one on NixOS. Before version 246 its
// systemd-socket-proxyd knows no --exit-idle-time.
const systemdDirs = `/usr/lib/systemd /lib/systemd /run/current-system/systemd/lib/systemd`

func (e Entry) unitHead() string {
	return "\n[Unit]\nDescription=" + strings.ReplaceAll(e.title(), "%", "%%") +
		"\nDocumentation=man:tunhook(1)\nStartLimitIntervalSec=0\n"
}

// unitQuote writes a word as systemd reads it: in quotes, with the escapes of systemd.syntax(7), and % doubled, which begins a
// specifier, systemd.unit(5), also where it comes from an escape.
func unitQuote(word string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(word) {
		switch c := word[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '%':
			b.WriteString("%%")
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
