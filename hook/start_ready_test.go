package hook_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

func TestFirstConnectionWorksAfterOneSignIn(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	told := make(chan string, 10)
	w.SignIn = func(rec pidfile.Record, url string) func() {
		told <- rec.Route + " " + url
		return func() { told <- "done" }
	}
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextSignIn()
	select { // the stand-in writes its log where pomerium-cli does, on stdout
	case got := <-told:
		if got != desk+" "+page {
			t.Errorf("told %q, want the page %q", got, page)
		}
	case <-time.After(tunneltest.Patience):
		t.Fatal("nobody was told where to sign in")
	}
	w.never(time.Second, "the address is served before anybody has signed in", w.served)
	select {
	case o := <-done:
		t.Fatalf("start returned before anybody had signed in: %v", o.err)
	default:
	}

	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	if got := <-told; got != "done" {
		t.Errorf("told %q, want that the wait is over", got)
	}
	if o.started.Address.String() != w.address || o.started.Found {
		t.Errorf("got %+v", o.started)
	}
	if rec := w.mustRecord(); rec.Tunnel != o.started.Record.Tunnel || !rec.Tunnel.Alive() {
		t.Errorf("the record names %v, start %v", rec.Tunnel, o.started.Record.Tunnel)
	}
	if err := w.answers(); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	w.expectTabs(1)
	if got := w.server.Connections(); got != 2 {
		t.Errorf("the server saw %d connections, want those of start and of the client", got)
	}
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

func TestSignedInAlreadyOpensNoTab(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.mustStart(w.request(desk, tunnel.ReadyRDP))
	w.mustStop(hook.StopRequest{Route: desk})
	w.expectTabs(1)
	w.mustStart(w.request(desk, tunnel.ReadyRDP))
	if err := w.answers(); err != nil {
		t.Error(err)
	}
	w.expectTabs(1)
}

// TestALogThatIsCutAfterTheSignInStillTellsWhatWentWrong: the place of the record's lines in it is another one then.
func TestALogThatIsCutAfterTheSignInStillTellsWhatWentWrong(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	path := filepath.Join(w.LogDir, pidfile.Key{Route: desk, Listen: w.address}.Name()+".log")
	grow := func() {
		log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		check(t, err)
		_, err = log.WriteString(strings.Repeat("a long sign-in\n", 12_000)) // twice, this is more than a start leaves as it is
		check(t, errors.Join(err, log.Close()))
	}
	check(t, os.Mkdir(w.LogDir, 0o700))
	grow()
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextSignIn()
	grow()
	w.replaceProgram(func(path string) error {
		return tunneltest.WriteProgram(path, []byte("#!/bin/sh\necho no luck; exit 1\n"))
	})
	check(t, w.gateway.SignIn(w.context(), page))
	o := <-done
	if failed := failedWith(t, o.err, tunnel.ErrEnded); !slices.Contains(failed.Lines, "no luck") {
		t.Errorf("the last lines are %q", failed.Lines)
	}
	w.nothingLeft()
}

// TestSignInGoesOnWhenTheProgramHasLeftItToAChild, as launchers do.
func TestSignInGoesOnWhenTheProgramHasLeftItToAChild(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{}, "TUNNELTEST_GENERATIONS=1")
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextSignIn()
	kill(w.mustRecord().Tunnel)
	select {
	case o := <-done:
		t.Fatalf("start gave up although the child goes on: %v", o.err)
	case <-time.After(500 * time.Millisecond):
	}
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	if o := <-done; o.err != nil {
		t.Fatal(o.err)
	}
	if err := w.answers(); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	w.expectTabs(1)
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

func TestVNCAndSSHAreWaitedForLikewise(t *testing.T) {
	t.Parallel()
	for ready, protocol := range map[string]tunneltest.Protocol{tunnel.ReadyVNC: tunneltest.VNC, tunnel.ReadySSH: tunneltest.SSH} {
		t.Run(ready, func(t *testing.T) {
			t.Parallel()
			w := newAccount(t, tunneltest.ResponderOptions{Protocol: protocol})
			done := w.starting(w.context(), w.request(desk, ready))
			page := w.nextSignIn()
			w.never(100*time.Millisecond, "the address is served before anybody has signed in", w.served)
			if err := w.gateway.SignIn(w.context(), page); err != nil {
				t.Fatal(err)
			}
			if o := <-done; o.err != nil {
				t.Fatal(o.err)
			}
			w.expectTabs(1)
		})
	}
}

func TestAbandonedSignInIsCalledThatAndLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	req := w.request(desk, tunnel.ReadyRDP)
	req.Timeout = 15 * time.Second // the page must have been asked for by then
	_, err := w.Start(w.context(), req)
	page := w.nextSignIn()
	if failed := failedWith(t, err, context.DeadlineExceeded); failed.Means != tunnel.Unanswered || strings.Contains(failed.Error(), page) {
		t.Errorf("%v (%s), want that nobody signed in, without the page, which has died with its program", failed, failed.Means)
	}
	w.nothingLeft()
	w.expectTabs(1)
}

func TestWhatKeepsARouteFromAnsweringIsToldApart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		route  string
		server tunneltest.ResponderOptions
		cause  error
	}{
		"refused":        {refused, tunneltest.ResponderOptions{}, hook.ErrRefused},
		"route down":     {dead, tunneltest.ResponderOptions{}, tunnel.ErrClosed},
		"closed at once": {desk, tunneltest.ResponderOptions{Fault: tunneltest.CloseAtOnce}, tunnel.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newAccount(t, test.server)
			w.signInAlways()
			_, err := w.Start(w.context(), w.request(test.route, tunnel.ReadyRDP))
			if failed := failedWith(t, err, test.cause); len(failed.Lines) == 0 {
				t.Error("the error shows nothing of the log")
			}
			w.nothingLeft()
			w.expectTabs(1)
		})
	}
}

func TestAnotherProtocolIsToldAndDoesNotCostTheSignIn(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Fault: tunneltest.Garbage})
	w.signInAlways()
	for range 2 {
		_, err := w.Start(w.context(), w.request(desk, tunnel.ReadyRDP))
		var protocol *tunnel.ProtocolError
		if !errors.As(err, &protocol) {
			t.Fatalf("got %v, want a *ProtocolError", err)
		}
		w.nothingLeft()
	}
	w.expectTabs(1)
}

func TestStopDuringTheSignInEndsBothAtOnce(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	holder := w.holder()
	req := w.request(desk, tunnel.ReadyRDP)
	req.EndWith, req.KeepAlive = []process.Identity{holder.id}, true
	done := w.starting(w.context(), req)
	w.nextSignIn()
	if stopped := w.mustStop(hook.StopRequest{Route: desk}); stopped.Record.Route != desk || len(stopped.InUse) > 0 {
		t.Errorf("stopped %+v", stopped)
	}
	o := <-done
	var stopped *hook.StoppedError
	if !errors.As(o.err, &stopped) {
		t.Errorf("start returned %v, want a *StoppedError", o.err)
	}
	holder.kill()
	w.nothingLeft()
	w.expectTabs(1)
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	ctx, cancel := context.WithCancel(w.context())
	done := w.starting(ctx, w.request(desk, tunnel.ReadyRDP))
	w.nextSignIn()
	cancel()
	if o := <-done; !errors.Is(o.err, context.Canceled) {
		t.Errorf("start returned %v, want context.Canceled", o.err)
	}
	w.nothingLeft()
}

// A window that is opened while another one waits for the sign-in of the very same tunnel.
func TestASecondStartDuringTheSignInGetsTheSameTunnel(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	first := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextSignIn()
	var others []<-chan outcome
	for range 3 {
		others = append(others, w.starting(w.context(), w.request(desk, tunnel.ReadyRDP)))
	}
	w.never(200*time.Millisecond, "another tab is opened", func() bool { return w.gateway.SignIns() > 1 })
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	o := <-first
	if o.err != nil {
		t.Fatal(o.err)
	}
	for _, other := range others {
		if got := <-other; got.err != nil || got.started.Record.Tunnel != o.started.Record.Tunnel {
			t.Errorf("another start got %v, %v, want %v", got.started.Record.Tunnel, got.err, o.started.Record.Tunnel)
		}
	}
	w.expectTabs(1)
}

func TestAProviderWithoutSignInServesItsAddressAtOnce(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Delay: time.Second})
	done := w.starting(w.context(), w.request(w.relay(), tunnel.ReadyRDP))
	tunneltest.Eventually(t, "the relay serves its address", w.served)
	program := w.mustRecord().Tunnel
	o := <-done
	if o.err != nil || o.took < time.Second {
		t.Errorf("start returned %v after %v", o.err, o.took)
	}
	if rec := w.mustRecord(); rec.Tunnel != program || !program.Alive() {
		t.Errorf("the program was %v and is %v", program, rec.Tunnel)
	}
	if got := w.server.Connections(); got != 1 {
		t.Errorf("the server saw %d connections, want 1", got)
	}
}

func TestAStartThatFindsATunnelThatHasAnsweredAsksNobody(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.mustStart(w.request(desk, tunnel.ReadyRDP))
	before := w.server.Connections()
	if again := w.mustStart(w.request(desk, tunnel.ReadyRDP)); !again.Found {
		t.Errorf("got %+v", again)
	}
	if got := w.server.Connections() - before; got != 0 {
		t.Errorf("%d more connections, want none", got)
	}
	w.mustStart(w.request(desk, tunnel.ReadyListen))
	if got := w.server.Connections() - before; got != 0 {
		t.Errorf("start without --ready connected")
	}
	w.expectTabs(1)
}

// What a client is promised must not get into the way of telling why the tunnel program failed.
func TestAProgramThatFailsIsReportedInSpiteOfItsKeeper(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"at once": "TUNNELTEST_EXIT=1 no luck",
		"later":   "TUNNELTEST_DELAY=1h",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newAccount(t, tunneltest.ResponderOptions{}, fault)
			holder := w.holder()
			for range 5 {
				req := w.request(desk, tunnel.ReadyRDP)
				req.EndWith, req.KeepAlive = []process.Identity{holder.id}, true
				done := w.starting(w.context(), req)
				if name == "later" {
					tunneltest.Eventually(t, "there is a keeper", func() bool { rec, ok := w.record(); return ok && rec.Keeper.Alive() })
					w.awaitKeeper()
					kill(w.mustRecord().Tunnel)
				}
				o := <-done
				failedWith(t, o.err, tunnel.ErrEnded)
				kill(holder.id)
				w.nothingLeft()
				holder = w.holder()
			}
		})
	}
}

// A keeper that is quicker than the start must neither start the program at an address that nobody has signed in for, nor take
// away what the start has to tell.
func TestADeadProgramIsLeftToTheStartThatWaitsForIt(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	holder := w.holder()
	req := w.request(desk, tunnel.ReadyRDP)
	req.EndWith, req.KeepAlive = []process.Identity{holder.id}, true
	start := w.process("start", req)
	w.nextSignIn()
	w.awaitKeeper()
	rec := w.mustRecord()
	send(t, start.id, syscall.SIGSTOP)
	kill(rec.Tunnel)
	w.never(1200*time.Millisecond, "the keeper acts", func() bool {
		_, ok := w.record()
		return !ok || w.served()
	})
	send(t, start.id, syscall.SIGCONT)
	if !start.lines.Scan() || !strings.Contains(start.lines.Text(), "ended before ") {
		t.Errorf("start says %q", start.lines.Text())
	}
	start.kill()
	holder.kill()
	w.nothingLeft()
	w.expectTabs(1)
}

func TestATunnelWithoutAnAnswerIsGoneWhenStartReturns(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Delay: time.Hour})
	req := w.request(w.relay(), tunnel.ReadyRDP)
	req.Timeout = 500 * time.Millisecond
	_, err := w.Start(w.context(), req)
	if !w.gone() {
		t.Error("it is not gone")
	}
	if failed := failedWith(t, err, context.DeadlineExceeded); failed.Means != "" {
		t.Errorf("the error means %q", failed.Means)
	}
	w.nothingLeft()
}

// Another start was given the tunnel while the one that launched it was still waiting for an answer.
func TestAStartThatFailsLeavesTheTunnelToAnother(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Protocol: tunneltest.VNC, Delay: 5 * time.Second})
	done := w.starting(w.context(), w.request(w.relay(), tunnel.ReadyRDP))
	tunneltest.Eventually(t, "the relay serves its address", w.served)
	w.mustStart(w.request(w.relay(), tunnel.ReadyListen))
	client := w.client()
	var protocol *tunnel.ProtocolError
	if o := <-done; !errors.As(o.err, &protocol) {
		t.Fatalf("got %v, want a *ProtocolError", o.err)
	}
	w.never(700*time.Millisecond, "the session is cut", func() bool { return !w.mustRecord().Tunnel.Alive() })
	client.kill()
	if !w.served() {
		t.Error("the tunnel has ended with a client that came and went")
	}
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.nothingLeft()
}

// What it has launched listens at an address that nobody else knows: it would be in the way of every later start.
func TestATunnelThatAKilledStartHasNotMovedIsStartedAnew(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	killed := w.process("start", w.request(desk, tunnel.ReadyRDP))
	w.nextSignIn()
	first := w.mustRecord()
	killed.kill()
	w.signInAlways()
	started := w.mustStart(w.request(desk, tunnel.ReadyRDP))
	if started.Found || first.Tunnel.Alive() {
		t.Errorf("found %v, and what was left runs: %v", started.Found, first.Tunnel.Alive())
	}
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

func TestAStartKilledAtAnyInstantLeavesNothingThatStopDoesNotFind(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			w := newAccount(t, tunneltest.ResponderOptions{})
			w.signInAlways()
			holder := w.holder()
			for range 10 {
				req := w.request(desk, tunnel.ReadyRDP)
				if rand.IntN(2) == 0 {
					req.EndWith, req.KeepAlive = []process.Identity{holder.id}, true
				}
				_ = os.RemoveAll(filepath.Join(w.dir, ".cache")) // signed out
				start := w.process("start", req)
				time.Sleep(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
				start.kill()
				w.mustStop(hook.StopRequest{Route: desk, Now: true})
				if rec, ok := w.record(); ok || w.served() {
					t.Fatalf("after stop there is %+v", rec)
				}
				tunneltest.Eventually(t, "only the holder is left", func() bool {
					left := w.left()
					return len(left) == 1 && left[0] == holder.id
				})
			}
		})
	}
}

func TestTheAddressTakenDuringTheSignInIsNamed(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextSignIn()
	squatter, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	var taken *hook.TakenError
	if o := <-done; !errors.As(o.err, &taken) || taken.Holder.PID != os.Getpid() {
		t.Errorf("got %v, want a *TakenError with pid %d", o.err, os.Getpid())
	}
	_ = squatter.Close()
	w.nothingLeft()
}

// TestStopDoesNotTakeTheStartThatWaitsForAnAnswerForAClient: it ends the tunnel as at any other time.
func TestStopDoesNotTakeTheStartThatWaitsForAnAnswerForAClient(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Delay: time.Hour})
	done := w.starting(w.context(), w.request(w.relay(), tunnel.ReadyRDP))
	tunneltest.Eventually(t, "start has connected to the server", func() bool { return w.server.Connections() > 0 })
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay()}); len(stopped.InUse) > 0 {
		t.Errorf("it is in use by %v", stopped.InUse)
	}
	var stopped *hook.StoppedError
	if o := <-done; !errors.As(o.err, &stopped) {
		t.Errorf("start returned %v, want a *StoppedError", o.err)
	}
	w.nothingLeft()
}
