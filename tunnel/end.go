package tunnel

import (
	"fmt"
	"syscall"
	"time"
)

// killWait is how long the kernel gets to end a process after SIGKILL; one in uninterruptible sleep may take longer.
const killWait = 2 * time.Second

// End ends every process that members gives, children that appear meanwhile included: by sig at first, after grace by SIGKILL.
// It returns when there is none left.
func End(members func() []Process, sig syscall.Signal, grace time.Duration) error {
	kill := time.Now().Add(grace)
	asked := map[int]bool{}
	for {
		processes := members()
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
		closeAll(processes)
	}
}

func closeAll(processes []Process) {
	for _, p := range processes {
		p.Close()
	}
}
