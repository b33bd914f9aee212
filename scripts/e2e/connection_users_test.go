//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Two accounts, and root: systemd's socket and a listener's own are open to all of them,
// the tunnel is not.
func TestConnectionOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(o *homeOffice, ready, listen string){
		"listen":         (*homeOffice).listen,
		"systemd socket": (*homeOffice).enableListener,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := newRootDesktop(t)
			server := startRDPServer(t)
			o := officeOf(newOrdinaryDesktop(t))
			o.guard(server.address)
			o.gateway.signInAfter(0)
			listen := freeAddress(t)
			wait(o, "rdp", listen)

			other := newOtherUser(t)
			if got := other.asksForRDP(listen); got != "" {
				t.Errorf("another user is answered %q", got)
			}
			if tabs := o.gateway.tabs(); len(tabs) > 0 {
				t.Errorf("another user has opened the tabs %q", tabs)
			}
			for name, u := range map[string]*user{"the listener's own user": o.user, "root": root.user} {
				if got := u.asksForRDP(listen); !strings.HasPrefix(got, rdpConfirm) {
					t.Errorf("%s is answered %q, want %q", name, got, rdpConfirm)
				}
			}
			if got := other.asksForRDP(listen); got != "" {
				t.Errorf("with the tunnel there, another user is answered %q", got)
			}
			o.waitUntilAtRest(listen)
		})
	}
}

// rdpConfirm is how a Connection Confirm begins, in od's words: TPKT with a length of 19,
// then X.224 ([MS-RDPBCGR] section 2.2.1.2).
const rdpConfirm = "03 00 00 13 0e d0"

// asksForRDP sends a Connection Request that asks for TLS or NLA ([MS-RDPBCGR] section
// 2.2.1.1), and returns the beginning of the answer, "" where the connection is closed.
func (u *user) asksForRDP(address string) string {
	u.t.Helper()
	host, port, _ := strings.Cut(address, ":")
	const request = `\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00`
	script := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf '%s' >&3; head -c 6 <&3 | od -An -tx1`, host, port, request)
	return strings.TrimSpace(u.run("/bin/bash", "-c", script).stdout)
}

// A hundred listeners that miss the tunnel program: each turns its client away and tells the user.
// Each is killed then, which is one more way to fail, and quicker than to wait for its end.
func TestUserManagerListensAfterAHundredFailedActivations(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	o, listen := newHomeOffice(t), freeAddress(t)
	o.guard(server.address)
	o.gateway.signInAfter(0)
	o.enableListener("rdp", listen)
	o.must("/usr/bin/mv", o.binDir+"/pomerium-cli", o.binDir+"/away")
	const activations = 100
	for i := range activations {
		if got := o.asksForRDP(listen); got != "" {
			t.Errorf("client %d is answered %q", i+1, got)
		}
		eventually(t, patience, fmt.Sprintf("the user is told by listener %d", i+1), func() bool { return len(o.notifications()) > i })
		for _, pid := range o.listeners() {
			o.kill(pid)
		}
		eventually(t, patience, fmt.Sprintf("listener %d has ended", i+1), func() bool { return len(o.listeners()) == 0 })
	}
	if got := o.notifications(); len(got) != activations {
		t.Errorf("%d notifications, want one of each of %d activations", len(got), activations)
	}
	o.must("/usr/bin/mv", o.binDir+"/away", o.binDir+"/pomerium-cli")
	if failed := o.systemctl("list-units", "--no-legend", "--state=failed", "--type=socket"); failed != "" {
		t.Errorf("failed sockets: %s", failed)
	}
	if got := o.user.asksForRDP(listen); !strings.HasPrefix(got, rdpConfirm) {
		t.Errorf("the next client is answered %q, want %q", got, rdpConfirm)
	}
	o.waitUntilAtRest(listen)
}

// listeners returns the user's listeners.
func (o *homeOffice) listeners() []int {
	var pids []int
	for _, pid := range o.pids() {
		if strings.HasPrefix(commandLine(pid), o.program+" listen ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// What cannot be reached is told to the user, once an activation: a hundred clients that
// try again are told of no more.
func TestUserManagerListensWhereTheTunnelProgramIsGone(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	o, listen := newHomeOffice(t), freeAddress(t)
	o.guard(server.address)
	o.enableListener("rdp", listen)
	o.must("/usr/bin/mv", o.binDir+"/pomerium-cli", o.binDir+"/away")
	for activation := range 5 {
		for range 20 {
			if got := o.asksForRDP(listen); got != "" {
				t.Errorf("a client is answered %q", got)
			}
		}
		o.waitUntilAtRest(listen) // the next client activates another listener
		got := o.notifications()
		if len(got) != activation+1 || slices.ContainsFunc(got, func(n notification) bool { return !strings.Contains(n.body, "pomerium-cli") }) {
			t.Errorf("notifications: %+v, want one of each of %d activations, with what is missing", got, activation+1)
		}
	}
	if failed := o.systemctl("list-units", "--no-legend", "--state=failed", "tunhook-*"); failed != "" {
		t.Errorf("failed units: %s", failed)
	}
	o.must("/usr/bin/mv", o.binDir+"/away", o.binDir+"/pomerium-cli")
	o.gateway.signInAfter(0)
	if got := o.asksForRDP(listen); !strings.HasPrefix(got, rdpConfirm) {
		t.Errorf("once it is there again, a client is answered %q, want %q", got, rdpConfirm)
	}
}

// Where tunhook itself has gone no client is left to wait, and the user is told, once for clients that try again.
func TestUserManagerTurnsAwayWhereTunhookIsGone(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	o, listen := newHomeOffice(t), freeAddress(t)
	o.guard(server.address)
	o.gateway.signInAfter(0)
	o.enableListener("rdp", listen)
	units := strings.Fields(o.systemctl("list-units", "--no-legend", "--plain", "--type=socket", "tunhook-*"))
	service := strings.TrimSuffix(units[0], ".socket") + ".service"
	o.must("/usr/bin/mv", o.program, o.program+"-away")
	begun := map[string]bool{}
	for range 20 {
		if got := o.asksForRDP(listen); got != "" {
			t.Errorf("a client is answered %q", got)
		}
		begun[o.systemctl("show", "--property=InvocationID", service)] = true
	}
	eventually(t, patience, "the user is told of each activation", func() bool { return len(o.notifications()) >= len(begun) })
	got := o.notifications()
	if len(got) != len(begun) || slices.ContainsFunc(got, func(n notification) bool { return !strings.Contains(n.body, o.program) }) {
		t.Errorf("notifications: %+v, want one of each of %d activations, with what is missing", got, len(begun))
	}
	eventually(t, patience, "the unit has ended", func() bool {
		return strings.Contains(o.systemctl("show", "--property=ActiveState", service), "inactive")
	})
	o.must("/usr/bin/mv", o.program+"-away", o.program)
	if got := o.asksForRDP(listen); !strings.HasPrefix(got, rdpConfirm) {
		t.Errorf("once it is there again, a client is answered %q, want %q", got, rdpConfirm)
	}
	o.waitUntilAtRest(listen)
}

func TestUserManagerListensAgainAtTheNextLogin(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	o, listen := newHomeOffice(t), freeAddress(t)
	o.guard(server.address)
	o.gateway.signInAfter(time.Second)
	o.enableListener("rdp", listen)
	client := o.start(xfreerdp(listen, rdpPassword)...)
	o.waitForPicture(crimson, patience)

	o.logOut()
	client.wait(patience)
	if left := o.running("pomerium-cli"); len(left) > 0 || listens(t, listen) {
		t.Errorf("after the logout run %q", left)
	}
	o.logInWithSystemd()
	if running := o.running(o.program); len(running) > 0 || !listens(t, listen) {
		t.Errorf("after the login run %q, want a socket alone", running)
	}
	o.start(xfreerdp(listen, rdpPassword)...)
	o.waitForPicture(crimson, patience)

	o.must(o.program, "disable", "--now", o.gateway.ownDesk, listen)
	o.checkNothingIsLeft(listen)
	o.checkNoUnits()
}
