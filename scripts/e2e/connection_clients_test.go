//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// The ways in which an address waits for the connection that starts the tunnel.
var waysToWait = []struct {
	name     string
	thinking time.Duration // of whoever signs in
	wait     func(o *homeOffice, ready, listen string)
}{
	{"listen", 20 * time.Second, (*homeOffice).listen},
	{"systemd socket", 2 * time.Second, (*homeOffice).enableListener},
}

const linger = 6 * time.Second // more than the 5 s between two of Remmina's reconnects

// listen has tunhook listen in front of the gateway, on a listener of its own.
func (o *homeOffice) listen(ready, listen string) {
	o.t.Helper()
	o.start(o.program, "listen", "--linger", linger.String(), "--ready", ready, o.gateway.ownDesk, listen)
	eventually(o.t, patience, "tunhook listens", func() bool { return listens(o.t, listen) })
}

// enableListener logs the user in with a systemd that listens in front of the gateway.
func (o *homeOffice) enableListener(ready, listen string) {
	o.t.Helper()
	o.logInWithSystemd()
	o.must(o.program, "enable", "--linger", linger.String(), "--ready", ready, o.gateway.ownDesk, listen)
	if running := o.running(o.program); len(running) > 0 || !listens(o.t, listen) {
		o.t.Errorf("at rest run %q, want a socket alone", running)
	}
}

// waitUntilAtRest waits until nothing is left but the listener, and not even a process of
// that where systemd listens.
func (o *homeOffice) waitUntilAtRest(listen string) {
	o.t.Helper()
	isListener := func(line string) bool { return o.login == nil && strings.HasPrefix(line, o.program+" listen ") }
	var left []string
	defer func() {
		if len(left) > 0 {
			o.t.Logf("left: %q", left)
		}
	}()
	eventually(o.t, linger+patience, "no tunnel is left", func() bool {
		left = slices.DeleteFunc(o.remains(), isListener)
		return len(left) == 0
	})
	if !listens(o.t, listen) {
		o.t.Errorf("%s does not listen any more", listen)
	}
}

func TestEveryClientStartsTheTunnelByItsConnection(t *testing.T) {
	t.Parallel()
	for _, way := range waysToWait {
		for _, c := range append(clients(), client{name: "ssh", ready: "ssh"}) {
			t.Run(way.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				needClient(t, c)
				server, shell := "", (*sshServer)(nil)
				if c.ready == "ssh" {
					shell = startSSHServer(t)
					server = shell.address
				} else {
					server = startServer(t, c.ready)
				}
				o, listen := newHomeOffice(t), freeAddress(t)
				o.guard(server)
				o.gateway.signInAfter(way.thinking)
				way.wait(o, c.ready, listen)

				began, opened := time.Now(), (*process)(nil)
				if shell != nil {
					o.logInThrough(shell, listen)
				} else {
					opened = c.connect(o.desktop, listen, way.thinking)
				}
				took := time.Since(began).Round(100 * time.Millisecond)
				t.Logf("%s was there after %v, %v of them for signing in", c.name, took, way.thinking)
				if tabs := o.gateway.tabs(); took < way.thinking || len(tabs) != 1 {
					t.Errorf("after %v there were the tabs %q, want one", took, tabs)
				}
				o.checkAskedToSignIn(listen)
				if opened != nil {
					opened.stop()
				}
				o.waitUntilAtRest(listen)
			})
		}
	}
}

// checkAskedToSignIn checks that there was no notification but one that asks to sign in
// for a listen address.
func (o *homeOffice) checkAskedToSignIn(listen string) {
	o.t.Helper()
	got := o.notifications()
	if len(got) != 1 || got[0].summary != "Sign in to connect" || !strings.Contains(got[0].body, listen) {
		o.t.Errorf("notifications: %+v, want only that to sign in, with %s", got, listen)
	}
}

// logInThrough logs in to an SSH server by another address.
func (o *homeOffice) logInThrough(server *sshServer, address string) {
	o.t.Helper()
	through := *server
	through.address = address
	argv := append([]string{"/usr/bin/ssh"}, through.sshOptions()...)
	if got := o.run(append(argv, "127.0.0.1", "echo", "in")...); got.status != 0 || got.stdout != "in\n" {
		o.t.Errorf("logging in: %v", got)
	}
}
