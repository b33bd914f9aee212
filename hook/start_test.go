package hook_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

func TestStartTellsWhetherItFoundTheTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	first := w.start(relayRoute, port)
	if first.Found || first.Reused != nil || first.Address.String() != "127.0.0.1:"+port || !first.Record.ForGood {
		t.Errorf("the first start gives %+v", first)
	}
	second := w.start(relayRoute, port)
	if !second.Found || second.Record.Tunnel != first.Record.Tunnel {
		t.Errorf("the second start gives %+v, the first %+v", second, first)
	}
	w.stop(relayRoute, port)
	w.nothingLeft(first.Record)
	if notices := w.told(); len(notices) > 0 {
		t.Errorf("notices: %+v", notices)
	}
}

// TestNothingIsBegunBeforeSignalsAreCaught: until then a signal would leave it half-done.
func TestNothingIsBegunBeforeSignalsAreCaught(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	asked, caught := make(chan struct{}, 9), make(chan struct{})
	w.Guard = func() {
		asked <- struct{}{}
		<-caught
	}
	started := make(chan error, 1)
	go func() {
		_, err := w.Start(t.Context(), hook.StartRequest{Route: pomeriumRoute, Listen: port})
		started <- err
	}()
	<-asked
	w.nothingLeft()
	close(caught)
	check(t, <-started)
	w.stop(pomeriumRoute, port)
	w.nothingLeft()
}

func TestSimultaneousStartsInOneProcessMakeOneTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	var (
		mu    sync.Mutex
		found = map[process.Identity]int{}
		all   sync.WaitGroup
	)
	for range 20 {
		all.Go(func() {
			started, err := w.Start(t.Context(), hook.StartRequest{Route: relayRoute, Listen: port})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			found[started.Record.Tunnel]++
		})
	}
	all.Wait()
	if len(found) != 1 {
		t.Errorf("there are several tunnels: %v", found)
	}
	w.nothingLeft(w.stop(relayRoute, port).Record)
}

func TestStartSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		faults  []string
		timeout time.Duration
		cause   func(error) bool
		reason  string
		lines   []string
	}{
		"ended": {
			faults: []string{"TUNNELTEST_EXIT=0 one\ntwo"}, timeout: tunneltest.Patience,
			cause: is(tunnel.ErrEnded), reason: "ended before it listened on", lines: []string{"one", "two"},
		},
		"late": {
			faults: []string{"TUNNELTEST_DELAY=1h"}, timeout: 100 * time.Millisecond,
			cause: is(context.DeadlineExceeded), reason: "did not listen on 127.0.0.1:",
		},
		"elsewhere": {
			faults: []string{"TUNNELTEST_LISTEN=127.0.0.2:0"}, timeout: 15 * time.Second, // it must listen by then
			cause:  func(err error) bool { return errors.As(err, new(*tunnel.ElsewhereError)) },
			reason: "as asked: see its arguments, and command (with {listen}) and listen_host of [provider.pomerium]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.faults...)
			_, err := w.Start(t.Context(), hook.StartRequest{Route: pomeriumRoute, Listen: freePort(t), Timeout: tc.timeout})
			var failed *hook.FailedError
			if !errors.As(err, &failed) || !tc.cause(err) || !strings.Contains(err.Error(), tc.reason) {
				t.Fatalf("%T: %v", err, err)
			}
			if tc.lines != nil && strings.Join(failed.Lines, "|") != strings.Join(tc.lines, "|") {
				t.Errorf("its last lines are %q, want %q", failed.Lines, tc.lines)
			}
			w.nothingLeft(failed.Record)
		})
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func TestTakenAddressNamesItsHolder(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	check(t, err)
	defer ln.Close()
	var taken *hook.TakenError
	_, err = w.Start(t.Context(), hook.StartRequest{Route: relayRoute, Listen: port})
	if !errors.As(err, &taken) || taken.Holder.PID != os.Getpid() || taken.Route != "" {
		t.Errorf("%v (%+v), want this process, %d", err, taken, os.Getpid())
	}

	reused, err := w.Start(t.Context(), hook.StartRequest{Route: relayRoute, Listen: port, Reuse: true})
	if err != nil || reused.Reused == nil || reused.Reused.PID != os.Getpid() || reused.Record.Token != "" {
		t.Errorf("with Reuse: %+v, %v", reused, err)
	}
	w.nothingLeft()
}

func TestAddressTakenByAnotherTunnelNamesItsRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, port, err := net.SplitHostPort(wildcardAddress(t)) // at another address some other test might have freePort's
	check(t, err)
	rec := w.start(relayRoute, port).Record
	for _, reuse := range []bool{false, true} {
		var taken *hook.TakenError
		_, err := w.Start(t.Context(), hook.StartRequest{Route: "relay://127.0.0.1:10", Listen: port, Reuse: reuse})
		if !errors.As(err, &taken) || taken.Holder.PID != rec.Tunnel.PID || taken.Route != relayRoute {
			t.Errorf("%v (%+v), want pid %d and its route", err, taken, rec.Tunnel.PID)
		}
		_, err = w.Start(t.Context(), hook.StartRequest{Route: "relay://127.0.0.1:10", Listen: "0.0.0.0:" + port, Reuse: reuse})
		if !errors.As(err, &taken) || taken.Route != relayRoute || taken.Holder.On.String() != "127.0.0.1:"+port {
			t.Errorf("on every address: %v (%+v), want its route and address", err, taken)
		}
	}
	w.nothingLeft(w.stop(relayRoute, port).Record)
}

// TestFoundPortThatIsSnatchedIsReplaced: between finding a free port and the tunnel program listening there, anybody may.
func TestFoundPortThatIsSnatchedIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listens := w.programsAwait()
	var snatched net.Listener
	w.onWait = func(what string) {
		_, address, ok := strings.Cut(what, "to listen on ")
		if !ok || snatched != nil {
			return
		}
		var err error
		if snatched, err = net.Listen("tcp", address); err != nil {
			t.Error(err)
		}
		listens()
	}
	started := w.start(pomeriumRoute, "")
	if snatched == nil {
		t.Fatal("the port was not snatched")
	}
	defer snatched.Close()
	if started.Address.String() == snatched.Addr().String() {
		t.Errorf("started on %s, which this test has", started.Address)
	}
	w.nothingLeft(w.stop(pomeriumRoute, "").Record)
}

func TestCancelledStartEndsItsTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_DELAY=1h"), freePort(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := w.Start(ctx, hook.StartRequest{Route: pomeriumRoute, Listen: port, Timeout: tunneltest.Patience})
		done <- err
	}()
	rec := w.eventualState(pomeriumRoute, port, hook.Starting).Record
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	w.nothingLeft(rec)
}

// TestCancelledSecondStartLeavesTheTunnelOfTheFirst: it only ends what it has begun.
func TestCancelledSecondStartLeavesTheTunnelOfTheFirst(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_DELAY=1h"), freePort(t)
	first := make(chan error, 1)
	go func() {
		_, err := w.Start(t.Context(), hook.StartRequest{Route: pomeriumRoute, Listen: port, Timeout: tunneltest.Patience})
		first <- err
	}()
	rec := w.eventualState(pomeriumRoute, port, hook.Starting).Record
	if _, err := w.Start(t.Context(), hook.StartRequest{Route: pomeriumRoute, Listen: port, Timeout: 50 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second start: %v, want context.DeadlineExceeded", err)
	}
	if !rec.Tunnel.Alive() {
		t.Error("the second start ended the tunnel of the first")
	}
	w.stop(pomeriumRoute, port)
	if err := <-first; !errors.As(err, new(*hook.StoppedError)) {
		t.Errorf("the first start: %v, want a *hook.StoppedError", err)
	}
	w.nothingLeft(rec)
}

func TestOtherArgumentsAreNoticed(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	first := w.start(pomeriumRoute, port, "--browser-cmd", "true")
	w.start(pomeriumRoute, port, "--browser-cmd", "true")
	if notices := w.told(); len(notices) > 0 {
		t.Fatalf("the same arguments: %+v", notices)
	}
	for i, args := range [][]string{{"--browser-cmd", "false"}, {"--browser-cmdtrue"}, nil} {
		started := w.start(pomeriumRoute, port, args...)
		notices := w.told()
		if len(notices) != i+1 {
			t.Fatalf("%q: %d notices", args, len(notices))
		}
		if other, ok := notices[i].(hook.OtherArgs); !ok || other.Record.Token != first.Record.Token || started.Record.Tunnel != first.Record.Tunnel {
			t.Errorf("%q: %+v", args, notices[i])
		}
	}
	w.nothingLeft(w.stop(pomeriumRoute, port).Record)
}

func TestAddressThatOthersReachIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := wildcardAddress(t)
	w.start(relayRoute, address)
	if notices := w.told(); len(notices) != 1 || notices[0] != (hook.Exposed{Address: netip.MustParseAddrPort(address)}) {
		t.Errorf("notices: %+v", notices)
	}
	w.nothingLeft(w.stop(relayRoute, address).Record)
}

func TestBadRecordIsSetAsideAndNoticed(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	key := w.start(relayRoute, port).Record.Key()
	w.stop(relayRoute, port)
	path := w.RunDir + "/" + key.Name() + ".json"
	check(t, os.WriteFile(path, []byte("not a record"), 0o600))
	w.start(relayRoute, port)
	notices := w.told()
	if len(notices) != 1 {
		t.Fatalf("notices: %+v", notices)
	}
	aside, ok := notices[0].(hook.SetAside)
	if !ok || !errors.As(aside.Problem, new(*pidfile.BadRecordError)) {
		t.Fatalf("notice: %+v", notices[0])
	}
	if data, err := os.ReadFile(aside.NewPath); err != nil || string(data) != "not a record" {
		t.Errorf("set aside: %q, %v", data, err)
	}
	check(t, os.Remove(aside.NewPath))
	w.nothingLeft(w.stop(relayRoute, port).Record)
}

// TestTokenOfAnotherTunnelIsNotHandedOn: a tunnel that is started from within another one is not part of it.
func TestTokenOfAnotherTunnelIsNotHandedOn(t *testing.T) {
	t.Parallel()
	w, p, q := newWorld(t), freePort(t), freePort(t)
	outer := w.start(relayRoute, p).Record
	w.Environ = append(w.Environ, process.TokenVariable+"="+outer.Token)
	inner := w.start(relayRoute, q).Record
	check(t, syscall.Kill(outer.Tunnel.PID, syscall.SIGKILL)) // so that its members are found by the token
	w.eventualState(relayRoute, p, hook.Dead)
	w.stop(relayRoute, p)
	if !inner.Tunnel.Alive() {
		t.Error("the inner tunnel was ended with the outer one")
	}
	w.nothingLeft(w.stop(relayRoute, q).Record)
}
