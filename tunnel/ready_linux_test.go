package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/pidfile/process/processtest"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// waitFor waits for a launched tunnel program to listen on addr.
func waitFor(t *testing.T, addr netip.AddrPort, l launched, timeout time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return WaitListening(ctx, addr, l.session)
}

func TestReadyIsFoundOutWithoutConnecting(t *testing.T) {
	t.Parallel()
	addr := freeAddress(t)
	l, log := launchRole(t, "listen", addr.String())
	if err := waitFor(t, addr, l, deadline); err != nil {
		t.Fatal(err)
	}
	if !Listening(addr, l.session) || !Listening(addr, process.Session{Token: l.session.Token}) {
		t.Error("Listening says no")
	}
	h := startHelper(t, "dial", addr.String()) // the one connection that it shall see
	h.line(t)
	logHas(t, log, "accepted", 1)
	if n := strings.Count(strings.Join(lastLines(t, log.Name(), 0, 100), "\n"), "accepted"); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}

func TestChildThatListensIsTheTunnels(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stay", "leave", "stay-daemon", "leave-daemon", "stay parent leave-daemon"} {
		addr := freeAddress(t)
		l, _ := launchRole(t, append(strings.Fields("parent "+how), "listen", addr.String())...)
		if err := waitFor(t, addr, l, deadline); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if err := End(l.session, addr, syscall.SIGTERM, deadline); err != nil || !Free(addr) {
			t.Errorf("%s: it goes on: %v", how, err)
		}
	}
}

// TestProgramWhoseFirstThreadHasEndedIsReady: /proc/PID/fd is empty by then.
func TestProgramWhoseFirstThreadHasEndedIsReady(t *testing.T) {
	t.Parallel()
	addr := freeAddress(t)
	l, log := launchRole(t, "firstthreadends", addr.String())
	logHas(t, log, "going on", 1)
	tunneltest.Eventually(t, "its first thread has ended", func() bool { return stat(l.PID, 3) == "Z" })
	if err := waitFor(t, addr, l, deadline); err != nil {
		t.Error(err)
	}
	if holder, held := Holder(addr); !held || holder.PID != l.PID {
		t.Errorf("holder %+v, %v; want pid %d", holder, held, l.PID)
	}
	if found := PIDs(process.Session{Token: l.session.Token}, addr); !slices.Equal(found, []int{l.PID}) {
		t.Errorf("by its token: %v, want %d", found, l.PID)
	}
	if err := End(l.session, addr, syscall.SIGTERM, deadline); err != nil || !Free(addr) {
		t.Errorf("it goes on: %v", err)
	}
}

// firstThreadEnds listens on args[0] in other threads than the first, which ends.
func firstThreadEnds(args []string) error {
	if _, err := net.Listen("tcp", args[0]); err != nil {
		return err
	}
	fmt.Println("going on")
	processtest.EndFirstThread()
	return nil
}

func TestAnothersSocketIsNotReady(t *testing.T) {
	t.Parallel()
	stranger := startHelper(t, "listen", "127.0.0.1:0")
	addr := parsed(t, stranger)
	l, log := launchRole(t, "idle")
	logHas(t, log, "ready", 1)
	if err := waitFor(t, addr, l, 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that time was up", err)
	}
	if Listening(addr, l.session) {
		t.Error("a stranger's socket counts as the tunnel's")
	}
}

func TestSocketOfAProcessWithARecycledPidIsNotReady(t *testing.T) {
	t.Parallel()
	stranger := startHelper(t, "listen", "127.0.0.1:0")
	addr := parsed(t, stranger)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	recycled := identified(t, stranger.pid())
	recycled.Leader.StartTicks-- // the tunnel program that had the pid before
	if err := WaitListening(ctx, addr, recycled); !errors.Is(err, ErrEnded) {
		t.Errorf("error %v, want ErrEnded", err)
	}
}

func TestListeningElsewhereIsExplained(t *testing.T) {
	t.Parallel()
	asked, got := freeAddress(t), freeAddress(t)
	l, log := launchRole(t, "listen", got.String())
	logHas(t, log, got.String(), 1)
	err := waitFor(t, asked, l, 100*time.Millisecond)
	var elsewhere *ElsewhereError
	if !errors.As(err, &elsewhere) || elsewhere.Asked != asked || len(elsewhere.Got) != 1 || elsewhere.Got[0] != got || !strings.Contains(err.Error(), got.String()) {
		t.Errorf("error %v, want an ElsewhereError that names %s", err, got)
	}
}

func TestListeningOnEveryInterfaceIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for _, wildcard := range []string{"tcp4=0.0.0.0:", "[::]:"} {
		began := time.Now()
		err := waitForWildcard(t, wildcard, time.Hour, freeAddress(t).Addr())
		var elsewhere *ElsewhereError
		if !errors.As(err, &elsewhere) || !strings.Contains(err.Error(), "every interface") {
			t.Errorf("%s: error %v, want an ElsewhereError", wildcard, err)
		}
		if time.Since(began) > deadline {
			t.Errorf("%s: took %v", wildcard, time.Since(began))
		}
	}
}

func TestWildcardThatWasAskedForIsReady(t *testing.T) {
	t.Parallel()
	for _, wildcard := range []string{"tcp4=0.0.0.0:", "[::]:"} { // a Go program serves 0.0.0.0 through the IPv6 wildcard
		if err := waitForWildcard(t, wildcard, deadline, netip.IPv4Unspecified()); err != nil {
			t.Errorf("%s: %v", wildcard, err)
		}
	}
}

// waitForWildcard waits for a program to listen on ip that listens on a wildcard, which takes a port that is free on each address of
// this machine: where it has ended, somebody may have taken that meanwhile, and another port is tried.
func waitForWildcard(t *testing.T, wildcard string, timeout time.Duration, ip netip.Addr) (err error) {
	t.Helper()
	for range 5 {
		free, listenErr := net.Listen("tcp", "[::]:0")
		if listenErr != nil {
			t.Fatal(listenErr)
		}
		port := free.Addr().(*net.TCPAddr).Port
		free.Close()
		l, _ := launchRole(t, "listen", wildcard+strconv.Itoa(port))
		if err = waitFor(t, netip.AddrPortFrom(ip, uint16(port)), l, timeout); !errors.Is(err, ErrEnded) {
			return err
		}
	}
	return err
}

func TestProgramThatEndsAtOnceIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	began := time.Now()
	l, log := launchRole(t, "quit")
	if err := waitFor(t, freeAddress(t), l, time.Hour); !errors.Is(err, ErrEnded) {
		t.Errorf("error %v, want ErrEnded", err)
	}
	if waited := time.Since(began); waited > deadline {
		t.Errorf("took %v", waited)
	}
	if how := l.Ended(); how != "exit status 0" {
		t.Errorf("ended by %q", how)
	}
	if lines := lastLines(t, log.Name(), 0, 1); len(lines) != 1 || lines[0] != "a last word" {
		t.Errorf("last words %q", lines)
	}
}

func TestWaitingEndsInTime(t *testing.T) {
	t.Parallel()
	l, _ := launchRole(t, "idle")
	began := time.Now()
	if err := waitFor(t, freeAddress(t), l, 60*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that time was up", err)
	}
	if waited := time.Since(began); waited < 60*time.Millisecond || waited > deadline/2 {
		t.Errorf("took %v", waited)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := WaitListening(ctx, freeAddress(t), l.session); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was called off", err)
	}
}
