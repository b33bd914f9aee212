package tunnel

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// mortal is a process that ends some time after a signal, or never after one that is not in ends.
type mortal struct {
	pid  int
	ends map[syscall.Signal]time.Duration
	sent map[syscall.Signal]time.Time
	end  time.Time
	fail error // what sending a signal gives
}

func newMortal(pid int, ends map[syscall.Signal]time.Duration) *mortal {
	return &mortal{pid: pid, ends: ends, sent: map[syscall.Signal]time.Time{}}
}

func (m *mortal) PID() int { return m.pid }
func (m *mortal) Close()   {}

func (m *mortal) Signal(sig syscall.Signal) error {
	m.sent[sig] = time.Now()
	if after, ok := m.ends[sig]; ok && m.end.IsZero() {
		m.end = time.Now().Add(after)
	}
	return m.fail
}

func (m *mortal) Wait(d time.Duration) bool {
	if !m.end.IsZero() && time.Until(m.end) <= d {
		time.Sleep(time.Until(m.end))
		return true
	}
	time.Sleep(d)
	return false
}

// slowly lists m while it lives, as a machine that is busy does: it takes a minute.
func slowly(m *mortal) func() ([]*mortal, error) {
	return func() ([]*mortal, error) {
		time.Sleep(time.Minute)
		if m.Wait(0) {
			return nil, nil
		}
		return []*mortal{m}, nil
	}
}

func TestGraceCountsFromTheSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newMortal(1, map[syscall.Signal]time.Duration{syscall.SIGTERM: 9 * time.Second})
		if err := endAll(slowly(p), syscall.SIGTERM, 10*time.Second); err != nil {
			t.Error(err)
		}
		if at, killed := p.sent[syscall.SIGKILL]; killed {
			t.Errorf("killed %v after it was asked to end", at.Sub(p.sent[syscall.SIGTERM]))
		}
	})
}

func TestKernelGetsItsTimeAfterSIGKILL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newMortal(1, map[syscall.Signal]time.Duration{syscall.SIGKILL: killWait - time.Millisecond})
		if err := endAll(slowly(p), syscall.SIGTERM, time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestProcessIsCalledUnkillableOnlyOnceItWasKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newMortal(4242, nil)
		err := endAll(slowly(p), syscall.SIGTERM, 0)
		if err == nil || !strings.Contains(err.Error(), "4242") {
			t.Fatalf("error %v, want one that names the process", err)
		}
		if at, killed := p.sent[syscall.SIGKILL]; !killed || time.Since(at) < killWait {
			t.Errorf("said so %v after SIGKILL (sent: %v)", time.Since(at), killed)
		}
	})
}

func TestProcessThatMayNotBeKilledIsNotCalledUnkillable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newMortal(4242, nil)
		p.fail = syscall.EPERM
		err := endAll(slowly(p), syscall.SIGTERM, 0)
		if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "4242") {
			t.Errorf("error %v, want one that names the process and why", err)
		}
	})
}

// TestProcessesThatAppearWithoutEndAreToldOf: each was killed, so none of them may be called unkillable.
func TestProcessesThatAppearWithoutEndAreToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pid := 0
		err := endAll(func() ([]*mortal, error) {
			pid++
			return []*mortal{newMortal(pid, map[syscall.Signal]time.Duration{syscall.SIGKILL: 0})}, nil
		}, syscall.SIGTERM, 0)
		if err == nil || !strings.Contains(err.Error(), "starts new processes") {
			t.Errorf("error %v", err)
		}
	})
}
