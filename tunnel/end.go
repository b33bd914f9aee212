package tunnel

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// killWait is how long the kernel gets to end a process after SIGKILL. That must be given the processor once more to end, for which it
// may wait on a busy machine; one in uninterruptible sleep may take longer.
const killWait = 20 * time.Second

// killRounds is how often processes that have appeared since the others were killed are killed too.
const killRounds = 100

// handle is a handle on a process. It is a *process.Process, except in tests.
type handle interface {
	PID() int
	Signal(sig syscall.Signal) error
	Wait(d time.Duration) bool
	Close()
}

// ending is a process that is being ended.
type ending struct {
	handle
	asked  bool
	killed time.Time // when SIGKILL had been sent; zero: not yet
	err    error     // why SIGKILL could not be sent
}

// End ends the tunnel that serves addr, children that appear meanwhile included: by sig at first, after grace by SIGKILL. It returns
// when there is none left, or when that cannot be told.
func End(s process.Session, addr netip.AddrPort, sig syscall.Signal, grace time.Duration) error {
	return endAll(func() ([]*process.Process, error) { return Members(s, addr) }, sig, grace)
}

// endAll ends every process that members gives. A machine that is busy may take long to list them, so the grace counts from when they
// had been asked, and the wait for the kernel from when each had been killed.
func endAll[P handle](members func() ([]P, error), sig syscall.Signal, grace time.Duration) error {
	var kill time.Time // zero until somebody has been asked
	var processes []*ending
	defer func() { closeAll(processes) }()
	for rounds := 0; ; {
		found, err := members()
		processes = withSurvivors(found, processes)
		if err != nil {
			return fmt.Errorf("the processes of the tunnel cannot be told: %w", err)
		}
		if len(processes) == 0 {
			return nil
		}
		if kill.IsZero() || time.Now().Before(kill) {
			ask(processes, sig)
			if kill.IsZero() {
				kill = time.Now().Add(grace)
			}
			wait(processes, kill)
			continue
		}
		if err := killed(processes); err != nil {
			return err
		}
		if killAll(processes) {
			rounds++
		}
		if rounds > killRounds {
			return fmt.Errorf("the tunnel program starts new processes as fast as they are killed")
		}
		wait(processes, time.Now().Add(killWait))
	}
}

func ask(processes []*ending, sig syscall.Signal) {
	for _, p := range processes {
		if !p.asked {
			_ = p.Signal(sig) // it may have ended by itself
			p.asked = true
		}
	}
}

// killAll kills those that have not been killed yet, and tells whether there were any.
func killAll(processes []*ending) (fresh bool) {
	for _, p := range processes {
		if p.killed.IsZero() {
			fresh = true
			p.err = p.Signal(syscall.SIGKILL)
			p.killed = time.Now()
		}
	}
	return fresh
}

// killed returns an error where one of them has outlived SIGKILL for too long.
func killed(processes []*ending) error {
	for _, p := range processes {
		switch {
		case p.killed.IsZero() || time.Since(p.killed) < killWait:
		case p.err != nil:
			return fmt.Errorf("process %d cannot be ended: %w", p.PID(), p.err)
		default:
			return fmt.Errorf("process %d does not end, not even by SIGKILL", p.PID())
		}
	}
	return nil
}

// wait returns when all of them have ended, at the latest at that time.
func wait(processes []*ending, until time.Time) {
	for _, p := range processes {
		p.Wait(max(0, time.Until(until)))
	}
}

// withSurvivors adds to found the processes of before that still run. That they are the tunnel's can perhaps not be told any
// more, now that its program has ended; but it could be told before, and their handles have held them since.
func withSurvivors[P handle](found []P, before []*ending) []*ending {
	var all []*ending
	for _, p := range before {
		if p.Wait(0) {
			p.Close()
			continue
		}
		all = append(all, p)
	}
	for _, f := range found {
		if slices.ContainsFunc(all, func(p *ending) bool { return p.PID() == f.PID() }) {
			f.Close()
			continue
		}
		all = append(all, &ending{handle: f})
	}
	return all
}

func closeAll(processes []*ending) {
	for _, p := range processes {
		p.Close()
	}
}
