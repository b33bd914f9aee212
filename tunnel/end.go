package tunnel

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// killWait is how long the kernel gets to end a process after SIGKILL; one in uninterruptible sleep may take longer.
const killWait = 2 * time.Second

// End ends every process that members gives, children that appear meanwhile included: by sig at first, after grace by SIGKILL.
// It returns when there is none left, or when that cannot be told.
func End(members func() ([]Process, error), sig syscall.Signal, grace time.Duration) error {
	kill := time.Now().Add(grace)
	asked := map[int]bool{}
	var processes []Process
	for {
		found, err := members()
		processes = withSurvivors(found, processes)
		if err != nil {
			closeAll(processes)
			return fmt.Errorf("the processes of the tunnel cannot be told: %w", err)
		}
		if len(processes) == 0 {
			return nil
		}
		late := time.Now().After(kill)
		if time.Now().After(kill.Add(killWait)) {
			closeAll(processes)
			return fmt.Errorf("process %d does not end, not even by SIGKILL", processes[0].PID())
		}
		for _, p := range processes {
			switch {
			case late:
				_ = p.Signal(syscall.SIGKILL) // it may have ended by itself
			case !asked[p.PID()]:
				_ = p.Signal(sig)
				asked[p.PID()] = true
			}
		}
		until := kill
		if late {
			until = kill.Add(killWait)
		}
		for _, p := range processes {
			p.Wait(max(0, time.Until(until)))
		}
	}
}

// withSurvivors adds to found the processes of before that still run. That they are the tunnel's can perhaps not be told any
// more, now that its program has ended; but it could be told before, and their handles have held them since.
func withSurvivors(found, before []Process) []Process {
	for _, p := range before {
		known := slices.ContainsFunc(found, func(f Process) bool { return f.PID() == p.PID() })
		if known || p.Wait(0) {
			p.Close()
			continue
		}
		found = append(found, p)
	}
	return found
}

func closeAll(processes []Process) {
	for _, p := range processes {
		p.Close()
	}
}
