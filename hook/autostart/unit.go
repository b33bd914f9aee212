package autostart

import (
	"fmt"
	"strings"
)

// socketUnit is the unit that listens while nothing of ours runs. It has no limit on starts, which a few short connections in a row
// would reach, and after which the socket takes none until somebody resets it by hand.
//
// The socket's own limit, on triggers, stays: a listener that cannot be executed never accepts, and would be started without end.
// systemd's default, 20 in two seconds for a socket like this one, is too low: a connection that was not accepted triggers again
// at once, systemd.socket(5).
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
	argv := append([]string{e.Program}, e.Args...)
	if strings.ContainsAny(e.Program, `'"\`) {
		argv = append([]string{"/usr/bin/env"}, argv...) // systemd takes no such path for a program, but does for an argument
	}
	for i, arg := range argv {
		argv[i] = unitQuote(arg)
	}
	return marker + e.unitHead() +
		"\n[Service]\n" + // the colon: no variables in what follows, systemd.service(5)
		"ExecStart=:" + strings.Join(argv, " ") + "\n" + b.String() + "KillMode=process\n" +
		"\n[X-Tunhook]\n" + e.keys()
}

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
