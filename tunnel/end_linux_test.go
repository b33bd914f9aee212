package tunnel

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// handles gives handles on the processes that pids names, and counts those that are open.
func handles(pids func() []int, open *atomic.Int32) func() ([]closing, error) {
	return func() ([]closing, error) {
		var all []closing
		for _, pid := range pids() {
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				open.Add(1)
				all = append(all, closing{pidfd{pid, fd}, open})
			}
		}
		return all, nil
	}
}

// endSession ends the session of a launched program, and checks that nothing is left of it.
func endSession(t *testing.T, l launched, grace time.Duration) (took time.Duration) {
	t.Helper()
	var open atomic.Int32
	began := time.Now()
	if err := endAll(handles(sessionOf(l.PID), &open), syscall.SIGTERM, grace); err != nil {
		t.Error(err)
	}
	took = time.Since(began)
	if left := session(l.PID); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d handles left open", n)
	}
	return took
}

func TestSignalSufficesForAProgramThatObeys(t *testing.T) {
	t.Parallel()
	l, log := launchRole(t, "idle")
	logHas(t, log, "ready", 1)
	if took := endSession(t, l, time.Hour); took > deadline {
		t.Errorf("took %v", took)
	}
	if how := l.Ended(); how != "signal: terminated" {
		t.Errorf("ended by %q, want SIGTERM", how)
	}
}

func TestProgramThatIgnoresItsSignalIsKilledAfterTheGrace(t *testing.T) {
	t.Parallel()
	l, log := launchRole(t, "stubborn")
	logHas(t, log, "ready", 1)
	const grace = 200 * time.Millisecond
	if took := endSession(t, l, grace); took < grace || took > grace+deadline/2 {
		t.Errorf("took %v, want the grace of %v", took, grace)
	}
	if how := l.Ended(); how != "signal: killed" {
		t.Errorf("ended by %q, want SIGKILL", how)
	}
}

func TestChildrenAndGrandchildrenEndToo(t *testing.T) {
	t.Parallel()
	for _, child := range []string{"idle", "stubborn"} {
		l, log := launchRole(t, "parent", "stay", "parent", "stay", child)
		logHas(t, log, "ready", 1)
		if n := len(session(l.PID)); n != 3 {
			t.Fatalf("%d processes, want 3", n)
		}
		endSession(t, l, 200*time.Millisecond)
	}
}

func TestProcessForkedWhileEndingEndsToo(t *testing.T) {
	t.Parallel()
	for _, child := range []string{"idle", "stubborn"} {
		l, log := launchRole(t, "breeder", child)
		logHas(t, log, "ready", 1)
		endSession(t, l, 500*time.Millisecond)
	}
}

// TestProcessOnceKnownIsEndedAlthoughItCannotBeToldAnyMore: a child with an environment of its own is known by its session,
// and that proves nothing once the program that leads it has ended.
func TestProcessOnceKnownIsEndedAlthoughItCannotBeToldAnyMore(t *testing.T) {
	t.Parallel()
	l, log := launchRole(t, "parent", "stay", "stubborn")
	logHas(t, log, "ready", 1)
	leader := openProcess(t, l.PID)
	var open atomic.Int32
	members := handles(func() []int {
		if leader.Wait(0) {
			return nil
		}
		return session(l.PID)
	}, &open)
	if err := endAll(members, syscall.SIGTERM, 200*time.Millisecond); err != nil {
		t.Error(err)
	}
	if left := session(l.PID); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d handles left open", n)
	}
}

func TestEndOfNothingSucceedsAtOnce(t *testing.T) {
	began := time.Now()
	if err := endAll(func() ([]*mortal, error) { return nil, nil }, syscall.SIGTERM, time.Hour); err != nil || time.Since(began) > deadline {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestProcessesThatCannotBeToldAreNotTakenForEnded(t *testing.T) {
	t.Parallel()
	l, log := launchRole(t, "stubborn")
	logHas(t, log, "ready", 1)
	var open atomic.Int32
	first := handles(sessionOf(l.PID), &open)
	looks := 0
	err := endAll(func() ([]closing, error) {
		if looks++; looks > 1 {
			return nil, syscall.EMFILE
		}
		return first()
	}, syscall.SIGTERM, 0)
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("error %v, want the one of the look", err)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d handles left open", n)
	}
}

// immortal is a process that no signal ends, as one in uninterruptible sleep.
type immortal struct{ killed *atomic.Int32 }

func (immortal) PID() int                  { return 4242 }
func (immortal) Close()                    {}
func (immortal) Wait(d time.Duration) bool { time.Sleep(d); return false }
func (i immortal) Signal(s syscall.Signal) error {
	if s == syscall.SIGKILL {
		i.killed.Add(1)
	}
	return nil
}

func TestProcessThatCannotBeKilledIsNamed(t *testing.T) {
	t.Parallel()
	p := immortal{new(atomic.Int32)}
	err := endAll(func() ([]immortal, error) { return []immortal{p}, nil }, syscall.SIGTERM, time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "4242") || p.killed.Load() == 0 {
		t.Errorf("error %v after %d SIGKILLs", err, p.killed.Load())
	}
}

func TestAddressIsFreeAfterTheEnd(t *testing.T) {
	t.Parallel()
	addr := freeAddress(t)
	l, _ := launchRole(t, "parent", "stay", "listen", addr.String())
	if err := waitFor(t, addr, l, deadline); err != nil {
		t.Fatal(err)
	}
	client := startHelper(t, "dial", addr.String())
	client.line(t)
	endSession(t, l, deadline)
	if !Free(addr) {
		t.Error("somebody listens still")
	}
	if _, err := (Listen{addr}).Reserve(); err != nil {
		t.Error(err)
	}
}

// TestDaemonIsTheTunnelOnlyWhereItServesTheAddress: its parent, the tunnel program, has ended.
func TestDaemonIsTheTunnelOnlyWhereItServesTheAddress(t *testing.T) {
	t.Parallel()
	addr, other := freeAddress(t), freeAddress(t)
	l, log := launchRole(t, "parent", "leave-daemon", "listen", addr.String())
	logHas(t, log, addr.String(), 1)
	_ = l.Ended()
	daemon := PIDs(l.session, addr)
	if len(daemon) != 1 {
		t.Fatalf("processes %v, want the daemon", daemon)
	}
	killSession(t, daemon[0])
	for _, near := range []netip.AddrPort{other, netip.AddrPortFrom(other.Addr(), addr.Port())} {
		if err := End(l.session, near, syscall.SIGTERM, deadline); err != nil {
			t.Error(err)
		}
		if Free(addr) {
			t.Fatalf("it was ended as the tunnel on %s", near)
		}
	}
	if err := End(l.session, addr, syscall.SIGTERM, deadline); err != nil || !Free(addr) {
		t.Errorf("it goes on: %v", err)
	}
}
