package hook_test

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// handedOver runs a client that exits well without having connected, and wants the tunnel to stay for another one.
func (w *account) handedOver() pidfile.Record {
	w.t.Helper()
	run := w.process("run", runArgument{w.held(), []string{"true"}})
	if err := run.cmd.Wait(); err != nil {
		w.t.Fatal(err)
	}
	rec := w.mustRecord()
	if rec.HandedOver.IsZero() || len(rec.EndWith) > 0 || !rec.Keeper.Alive() {
		w.t.Fatalf("the record is %+v", rec)
	}
	return rec
}

// goneAfter waits until the tunnel is gone, which may take a client's time to connect, and to connect again.
func (w *account) goneAfter() {
	w.t.Helper()
	for began := time.Now(); !w.gone(); tunneltest.Pause(began) {
		if time.Since(began) > 2*time.Minute {
			w.t.Fatal("the tunnel stays")
		}
	}
}

func TestATunnelThatNobodyTakesOverEnds(t *testing.T) {
	w := newRelayWorld(t)
	rec := w.handedOver()
	w.goneAfter()
	if took := time.Since(rec.HandedOver); took < hook.TimeToConnect-time.Second {
		t.Errorf("it ended after %v, want %v", took, hook.TimeToConnect)
	}
	w.nothingLeft()
}

func TestATunnelEndsAfterTheClientThatHasTakenItOver(t *testing.T) {
	w := newRelayWorld(t)
	w.handedOver()
	client := w.client()
	w.never(2*time.Second, "the session is cut", func() bool { return !w.served() })
	client.say("leave")
	client.expect("left")
	w.never(3*time.Second, "the tunnel ends before the client can connect again", func() bool { return !w.served() }) // the keeper has looked
	client.say("connect")
	client.expect("connected")
	client.say("leave") // it lives on, as one that was there before does
	client.expect("left")
	w.goneAfter()
	client.kill()
	w.nothingLeft()
}

// TestAShortVisitIsThatOfTheClientThatHasTakenOver, though it lies between two looks of the keeper.
func TestAShortVisitIsThatOfTheClientThatHasTakenOver(t *testing.T) {
	w := newRelayWorld(t)
	rec := w.handedOver()
	w.never(time.Second, "the tunnel ends", func() bool { return !w.served() }) // by then the keeper is at work
	conn, err := net.Dial("tcp", w.address)
	check(t, err)
	check(t, conn.Close())
	w.goneAfter()
	if took := time.Since(rec.HandedOver); took >= hook.TimeToConnect {
		t.Errorf("it ended after %v, as if nobody had come", took)
	}
	w.nothingLeft()
}

// TestARunLeavesATunnelThatWasHandedOver to the client that is still to come.
func TestARunLeavesATunnelThatWasHandedOver(t *testing.T) {
	w := newRelayWorld(t)
	rec := w.handedOver()
	run := w.running()
	run.expect("connected")
	_ = run.stdin.Close()
	if err := run.cmd.Wait(); err != nil {
		t.Error(err)
	}
	w.never(time.Second, "the tunnel ends with the other run", func() bool { return !w.served() })
	if now := w.mustRecord(); now.Tunnel != rec.Tunnel || !now.HandedOver.Equal(rec.HandedOver) {
		t.Errorf("the record was %+v and is %+v", rec, now)
	}
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.nothingLeft()
}

func TestAStartThatKeepsATunnelTakesTheHandOverOut(t *testing.T) {
	w := newRelayWorld(t)
	rec := w.handedOver()
	w.mustStart(w.held())
	tunneltest.Eventually(t, "the keeper goes", func() bool { return !rec.Keeper.Alive() })
	if now := w.mustRecord(); !now.HandedOver.IsZero() || now.Tunnel != rec.Tunnel {
		t.Errorf("the record is %+v", now)
	}
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.nothingLeft()
}

// called asks for a tunnel that is there for a script, which has called the start.
func (w *account) called(by *player) hook.StartRequest {
	req := w.held(by)
	req.Caller = by.id
	return req
}

// TestAScriptThatEndsAtOnceLeavesTheTunnelToItsCaller, which is the client: the script is its command before connecting.
func TestAScriptThatEndsAtOnceLeavesTheTunnelToItsCaller(t *testing.T) {
	w := newRelayWorld(t)
	script := w.holder()
	w.mustStart(w.called(script))
	script.kill()
	w.never(3*time.Second, "the tunnel ends with the script", func() bool { return !w.served() })
	client := w.client()
	w.never(2*time.Second, "the session is cut", func() bool { return !w.served() })
	client.kill()
	w.goneAfter()
	w.nothingLeft()
}

// TestAScriptThatEndsLaterEndsItsTunnel: it has run the client itself, or has done without.
func TestAScriptThatEndsLaterEndsItsTunnel(t *testing.T) {
	w := newRelayWorld(t)
	script := w.holder()
	w.mustStart(w.called(script))
	w.keeperWatches(script.id)
	w.never(3*time.Second, "the tunnel ends before the script", func() bool { return !w.served() }) // the keeper has seen it live on
	script.kill()
	tunneltest.Eventually(t, "the tunnel ends with the script", w.gone)
	w.nothingLeft()
}

// TestAScriptMayEndDuringTheSignIn where it has called start beside itself.
func TestAScriptMayEndDuringTheSignIn(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	script := w.holder()
	req := w.called(script)
	req.Route, req.Ready = desk, tunnel.ReadyRDP
	done := w.starting(w.context(), req)
	tunneltest.Eventually(t, "the tunnel program is launched", func() bool { _, ok := w.record(); return ok })
	script.kill() // at once: one that is seen to live on for a second has something to do
	page := w.nextSignIn()
	w.never(2*time.Second, "the sign-in ends with the script", func() bool { _, ok := w.record(); return !ok })
	check(t, w.gateway.SignIn(w.context(), page))
	if o := <-done; o.err != nil {
		t.Fatal(o.err)
	}
	w.never(time.Second, "the tunnel ends", func() bool { return !w.served() })
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

func TestAScriptIsNoClient(t *testing.T) {
	t.Parallel()
	for name, script := range map[string][]string{"sh": {"sh", "-c", "read _; exit"}, "sleep": {"sleep", "1000"}} {
		cmd := exec.Command(script[0], script[1:]...)
		stdin, err := cmd.StdinPipe()
		check(t, err)
		check(t, cmd.Start())
		if got, want := hook.IsInBetween(cmd.Process.Pid), name == "sh"; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		stdin.Close()
	}
	if hook.IsInBetween(os.Getpid()) {
		t.Error("this test is taken for a script")
	}
}

// TestAStopWaitsForAClientThatWasPromisedTheTunnel: one window is closed when the other is about to connect.
func TestAStopWaitsForAClientThatWasPromisedTheTunnel(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	first := w.client()
	w.eventuallyUsed()
	w.mustStart(w.held(holder))
	first.kill()
	keeper := w.keeper()
	w.freeze(keeper.PID) // it waits for seconds, and the client may take longer to be there
	stopped := w.mustStop(hook.StopRequest{Route: w.relay()})
	if !stopped.Awaits || w.gone() {
		t.Fatalf("stop did not wait: %+v", stopped)
	}
	second := w.client()
	send(t, keeper, syscall.SIGCONT)
	w.never(5*time.Second, "the second session is cut", func() bool { return !w.served() })
	second.kill()
	w.goneAfter()
	holder.kill()
	w.nothingLeft()
}

// TestWhoHasConnectedBeforeAStartIsNotItsClient, also where the keeper has not seen them before.
func TestWhoHasConnectedBeforeAStartIsNotItsClient(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	first := w.client()
	w.eventuallyUsed()
	keeper := w.mustRecord().Keeper.PID
	w.freeze(keeper) // it may as well be between two looks
	second := w.client()
	w.mustStart(w.held(holder))
	check(t, syscall.Kill(keeper, syscall.SIGCONT))
	w.never(2*time.Second, "either is taken for the client that is to come", func() bool { return w.mustRecord().Promised.IsZero() })
	first.kill()
	second.kill()
	w.freeze(keeper) // it waits for seconds
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay()}); !stopped.Awaits || w.gone() {
		t.Errorf("stop did not wait: %+v", stopped)
	}
	check(t, syscall.Kill(keeper, syscall.SIGCONT))
	holder.kill()
	w.goneAfter()
	w.nothingLeft()
}

// TestAStopAfterTheClientWaitsForNobody, however short its session was, nor does one of a client that does not come for long.
func TestAStopAfterTheClientWaitsForNobody(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	client := w.client()
	w.eventuallyUsed()
	client.kill()
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay()}); stopped.Awaits || !w.gone() {
		t.Errorf("stop has waited: %+v", stopped)
	}
	w.mustStart(w.held(holder))
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay()}); stopped.Awaits || !w.gone() {
		t.Errorf("stop has waited for the client that it is of: %+v", stopped)
	}
	w.mustStart(w.held(holder))
	w.mustStart(w.held(holder))
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay()}); !stopped.Awaits {
		t.Errorf("stop has not waited: %+v", stopped)
	}
	w.goneAfter()
	w.mustStart(w.held(holder))
	w.mustStart(w.held(holder))
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay(), Now: true}); stopped.Awaits || !w.gone() {
		t.Errorf("stop --now has waited: %+v", stopped)
	}
	holder.kill()
	w.nothingLeft()
}

// eventuallyUsed waits until the keeper has noted that the client has come.
func (w *account) eventuallyUsed() {
	w.t.Helper()
	tunneltest.Eventually(w.t, "the keeper has seen the client", func() bool { return w.mustRecord().Promised.IsZero() })
}
