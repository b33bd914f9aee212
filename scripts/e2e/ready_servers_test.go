//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// A readyCase is a real server, and what shows that a tunnel leads to it.
type readyCase struct {
	ready   string // the value of --ready
	address string
	works   func(t *testing.T, listen string)
}

func TestReadyRDP(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	checkReady(t, readyCase{"rdp", server.address, func(t *testing.T, listen string) {
		if got := server.run(xfreerdp(listen, rdpPassword, authOnly)...); got.status != 0 {
			t.Errorf("logging in: %v", got)
		}
	}})
}

func TestReadyVNC(t *testing.T) {
	t.Parallel()
	checkReady(t, readyCase{"vnc", startVNCServer(t).address, func(t *testing.T, listen string) {
		if got := banner(t, listen); !strings.HasPrefix(got, "RFB 003.") {
			t.Errorf("the server greets with %q", got)
		}
	}})
}

func TestReadySSH(t *testing.T) {
	t.Parallel()
	server := startSSHServer(t)
	checkReady(t, readyCase{"ssh", server.address, func(t *testing.T, listen string) {
		through := *server
		through.address = listen
		argv := append([]string{"/usr/bin/ssh"}, through.sshOptions()...)
		if got := server.run(append(argv, "127.0.0.1", "echo", "in")...); got.stdout != "in\n" {
			t.Errorf("logging in: %v", got)
		}
	}})
}

// checkReady starts a tunnel to the server in each way that there is, and says that it
// is ready when the server has answered through it.
func checkReady(t *testing.T, c readyCase) {
	t.Helper()
	for name, route := range map[string]func(*homeOffice) (route string, args []string){
		"relay": func(*homeOffice) (string, []string) { return "relay://" + c.address, nil },
		"ssh":   func(o *homeOffice) (string, []string) { return throughSSH(startSSHServer(o.t), c.address) },
		"pomerium": func(o *homeOffice) (string, []string) {
			o.gateway = o.startPomerium(c.address)
			o.gateway.signInAfter(2 * time.Second)
			return deskRoute, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newHomeOffice(t)
			listen := freeAddress(t)
			route, args := route(o)
			got := o.startTunnel(args, route, listen, "--ready", c.ready)
			if got.status != 0 || got.stdout != listen+"\n" {
				t.Fatalf("start: %v", got)
			}
			t.Logf("ready after %v", got.took.Round(time.Millisecond))
			c.works(t, listen)
			if o.gateway != nil {
				if tabs := o.gateway.tabs(); len(tabs) != 1 || got.took < 2*time.Second {
					t.Errorf("tabs: %q, want one and a start that waits: %v", tabs, got)
				}
			}
			o.must(o.program, "stop", route, listen)
			o.waitUntilNothingIsLeft(listen)
			if left := o.running("ssh -N"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// throughSSH returns the route that leads through an SSH server to an address, and the
// arguments that let ssh log in there.
func throughSSH(gateway *sshServer, address string) (route string, args []string) {
	return "ssh://" + gateway.address + "/" + address, gateway.sshOptions()
}

// startTunnel runs tunhook start, with args for the tunnel program.
func (o *homeOffice) startTunnel(args []string, words ...string) result {
	o.t.Helper()
	argv := append([]string{o.program, "start"}, words...)
	return o.run(append(append(argv, "--"), args...)...)
}
