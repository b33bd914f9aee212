//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// A failingRoute is one that never gets ready.
type failingRoute struct {
	route, ready string
	args         []string // of the tunnel program
	timeout      string
	status       int
	says         string // in the message
}

// Where another server answers, its own first words are in the message.
func TestReadyTellsFromAnotherServer(t *testing.T) {
	t.Parallel()
	desk, screen, shell := startRDPServer(t).address, startVNCServer(t).address, startSSHServer(t).address
	const wrongServer = 9
	for name, f := range map[string]failingRoute{
		"SSH for RDP": {route: "relay://" + shell, ready: "rdp", status: wrongServer, says: `does not speak RDP: it answered "SSH-2`},
		"VNC for RDP": {route: "relay://" + screen, ready: "rdp", status: wrongServer, says: `does not speak RDP: it answered "RFB 00`},
		"SSH for VNC": {route: "relay://" + shell, ready: "vnc", status: wrongServer, says: `does not speak VNC: it answered "SSH-2.0`},
		// An RDP server waits to be asked, as one does that has nothing to say.
		"RDP for VNC": {route: "relay://" + desk, ready: "vnc", timeout: "2s", status: 5, says: "nothing answered through it within 2s"},
		"RDP for SSH": {route: "relay://" + desk, ready: "ssh", timeout: "2s", status: 5, says: "nothing answered through it within 2s"},
		// Other lines may come before an SSH server's own (RFC 4253 section 4.2).
		"VNC for SSH": {route: "relay://" + screen, ready: "ssh", timeout: "20s", status: 9, says: "does not speak SSH"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newHomeOffice(t).checkFails(f)
		})
	}
}

func TestReadyTellsADeadRouteFromARefusedOne(t *testing.T) {
	t.Parallel()
	const (
		refused = 4
		dead    = 8
	)
	for name, prepare := range map[string]func(o *homeOffice) failingRoute{
		"relay, dead": func(o *homeOffice) failingRoute {
			return failingRoute{route: "relay://" + freeAddress(o.t), status: dead, says: "the route is down"}
		},
		"ssh, dead": func(o *homeOffice) failingRoute {
			route, args := throughSSH(startSSHServer(o.t), freeAddress(o.t))
			return failingRoute{route: route, args: args, status: dead, says: "the route is down"}
		},
		"ssh, refused": func(o *homeOffice) failingRoute {
			route, args := throughSSH(startSSHServer(o.t, "PermitOpen none"), freeAddress(o.t))
			return failingRoute{route: route, args: args, status: refused, says: "was refused"}
		},
		"pomerium, dead": func(o *homeOffice) failingRoute {
			o.startPomerium(freeAddress(o.t)).signInAfter(0)
			return failingRoute{route: deadRoute, status: dead, says: "the route is down"}
		},
		"pomerium, refused": func(o *homeOffice) failingRoute {
			o.startPomerium(freeAddress(o.t)).signInAfter(0)
			return failingRoute{route: refusedRoute, status: refused, says: "was refused: the gateway does not let you"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newHomeOffice(t)
			f := prepare(o)
			f.ready = "rdp"
			o.checkFails(f)
		})
	}
}

func TestReadyGivesUpAnAbandonedSignIn(t *testing.T) {
	t.Parallel()
	for _, ready := range []string{"rdp", "vnc", "ssh"} {
		t.Run(ready, func(t *testing.T) {
			t.Parallel()
			o := newHomeOffice(t)
			p := o.startPomerium(freeAddress(t))
			o.checkFails(failingRoute{
				route: deskRoute, ready: ready, timeout: "3s",
				status: 5, says: "waited 3s for somebody to sign in, and nobody did",
			})
			if tabs := p.tabs(); len(tabs) != 1 {
				t.Errorf("tabs: %q, want one", tabs)
			}
		})
	}
}

// checkFails starts a tunnel on a route, which has to fail at once or at the timeout,
// and to leave nothing.
func (o *homeOffice) checkFails(f failingRoute) {
	o.t.Helper()
	listen := freeAddress(o.t)
	words := []string{f.route, listen, "--ready", f.ready}
	if f.timeout != "" {
		words = append(words, "--timeout", f.timeout)
	}
	got := o.startTunnel(f.args, words...)
	if got.status != f.status || got.stdout != "" || !strings.Contains(got.stderr, f.says) {
		o.t.Errorf("want status %d and %q: %v", f.status, f.says, got)
	}
	const atOnce = 15 * time.Second
	if got.took > atOnce {
		o.t.Errorf("it took %v", got.took)
	}
	o.waitUntilNothingIsLeft(listen)
	o.t.Logf("status %d: %s", got.status, got.stderr)
}
