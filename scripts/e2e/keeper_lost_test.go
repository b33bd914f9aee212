//go:build e2e

package e2e

import (
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A watchedTunnel is one with a keeper, to an SSH server, for as long as a process lives.
type watchedTunnel struct {
	*homeOffice
	words  []string // of start and stop: route and listen address
	listen string
	holder *process
}

func startWatchedTunnel(t *testing.T) *watchedTunnel {
	t.Helper()
	w := &watchedTunnel{homeOffice: newHomeOffice(t), listen: freeAddress(t)}
	w.words = []string{"relay://" + startSSHServer(t).address, w.listen}
	w.holder = w.start("/usr/bin/sleep", "600")
	w.startAgain()
	return w
}

func (w *watchedTunnel) startAgain() {
	w.t.Helper()
	pid := strconv.Itoa(w.holder.cmd.Process.Pid)
	w.tunhookDoes("start", "--keep-alive", "--end-with", pid)
}

// tunhookDoes runs a command of tunhook's for the tunnel and returns what it says.
func (w *watchedTunnel) tunhookDoes(command string, flags ...string) string {
	w.t.Helper()
	got := w.run(slices.Concat([]string{w.program, command}, w.words, flags)...)
	if got.status != 0 {
		w.t.Fatalf("%s: %v", command, got)
	}
	return got.stderr
}

// keeper returns the one keeper that there is, once there is one.
func (w *watchedTunnel) keeper() int {
	w.t.Helper()
	var keepers []int
	eventually(w.t, patience, "there is one keeper", func() bool {
		keepers = w.keepers()
		return len(keepers) == 1
	})
	return keepers[0]
}

// killKeeper kills the keeper and makes sure that the tunnel lives on.
func (w *watchedTunnel) killKeeper() {
	w.t.Helper()
	before := w.tunnel()
	w.kill(w.keeper())
	eventually(w.t, patience, "the keeper is gone", func() bool { return len(w.keepers()) == 0 })
	if got := banner(w.t.(*testing.T), w.listen); !strings.HasPrefix(got, "SSH-2.0-") {
		w.t.Errorf("through the tunnel comes %q", got)
	}
	if now := w.tunnel(); now != before {
		w.t.Errorf("the tunnel was %+v and is %+v", before, now)
	}
}

// connect connects a client to the tunnel that stays until it is closed.
func (w *watchedTunnel) connect() io.Closer {
	w.t.Helper()
	client, err := net.Dial("tcp", w.listen)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { client.Close() })
	return client
}

func TestKilledKeeperIsReplacedByTheNextStart(t *testing.T) {
	t.Parallel()
	w := startWatchedTunnel(t)
	w.killKeeper()
	w.startAgain()
	w.keeper()

	client := w.connect()
	before := w.tunnel()
	w.kill(before.PID)
	eventually(t, patience, "the tunnel program is back on its address", func() bool { return listens(t, w.listen) && w.tunnel().PID != before.PID })
	client.Close()

	w.holder.stop()
	w.waitUntilNothingIsLeft(w.listen)
}

func TestKilledKeeperIsNotNeededByTheNextStop(t *testing.T) {
	t.Parallel()
	w := startWatchedTunnel(t)
	w.killKeeper()
	w.tunhookDoes("stop")
	w.checkNothingIsLeft(w.listen)
}

func TestKilledKeeperIsReplacedByTheNextStopWhileInUse(t *testing.T) {
	t.Parallel()
	w := startWatchedTunnel(t)
	client := w.connect()
	for range 2 {
		if said := w.tunhookDoes("stop"); !strings.Contains(said, w.listen+" is in use by ") {
			t.Errorf("stop says %q", said)
		}
		if state := w.tunnel().State; state != "ending when idle" {
			t.Errorf("the tunnel is %s", state)
		}
		w.killKeeper()
	}
	w.tunhookDoes("stop")
	w.keeper()
	client.Close()
	w.waitUntilNothingIsLeft(w.listen)
}

func TestTunnelWhoseKeeperWasKilledAndWhoseHolderEndedIsStoppedByHand(t *testing.T) {
	t.Parallel()
	w := startWatchedTunnel(t)
	w.killKeeper()
	w.holder.stop()
	if !listens(t, w.listen) {
		t.Error("the tunnel ended though nobody kept it")
	}
	w.tunhookDoes("stop")
	w.checkNothingIsLeft(w.listen)
}
