//go:build !linux

package process

import (
	"errors"
	"os"
	"syscall"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/process"
	"golang.org/x/sys/unix"
)

// identify has no boot id here; creation times of this system are absolute, in milliseconds, and stand in for the ticks.
func identify(pid int) (Identity, error) {
	p, err := gopsutil.NewProcess(int32(pid))
	if err != nil {
		return Identity{}, ErrGone
	}
	if states, err := p.Status(); err == nil && len(states) > 0 && states[0] == gopsutil.Zombie {
		return Identity{}, ErrGone
	}
	created, err := p.CreateTime()
	if err != nil {
		return Identity{}, ErrGone
	}
	return Identity{PID: pid, StartTicks: uint64(created)}, nil
}

func stopped(pid int) bool {
	p, err := gopsutil.NewProcess(int32(pid))
	if err != nil {
		return false
	}
	states, err := p.Status()
	return err == nil && len(states) > 0 && states[0] == gopsutil.Stop
}

func supported() error { return nil }

func here() (Place, error) { return Place{}, nil }

// handle is a bare pid: this system has no pidfd, so a pid may change hands between the comparison and the signal.
type handle struct{ id Identity }

func openHandle(pid int) (handle, error) {
	id, err := identify(pid)
	return handle{id}, err
}

func (h handle) signal(sig syscall.Signal) error {
	if !h.id.Alive() {
		return ErrGone
	}
	p, err := os.FindProcess(h.id.PID)
	if err != nil {
		return err
	}
	if err := p.Signal(sig); errors.Is(err, os.ErrProcessDone) {
		return ErrGone
	} else {
		return err
	}
}

func (h handle) wait(d time.Duration) bool { return waitAny([]handle{h}, d) }

func waitAny(handles []handle, d time.Duration, _ ...int) (ended bool) {
	deadline := time.Now().Add(d)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) { // each look may execute ps
		for _, h := range handles {
			if !h.id.Alive() {
				return true
			}
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		time.Sleep(min(left, pause))
	}
}

func (h handle) close() {}

func processIDs() ([]int, error) {
	pids, err := gopsutil.Pids()
	if err != nil {
		return nil, err
	}
	all := make([]int, len(pids))
	for i, pid := range pids {
		all[i] = int(pid)
	}
	return all, nil
}

func sessionOf(pid int) int {
	sid, err := unix.Getsid(pid)
	if err != nil {
		return -1
	}
	return sid
}

// Nobody's parent needs to be known here, nor whether a pid has changed hands: without environments no process is found to be a
// tunnel's after its program has ended.
func parentOf(int) int        { return 0 }
func takenOver(Identity) bool { return false }
func isSelf(int) bool         { return false }

// childrenOf would need the environments of the children, which are not to be had here.
func childrenOf(int) ([]int, error) { return nil, nil }

// environOf: other processes' environments are not to be had here, so a tunnel whose start was killed between the launch and
// the record is not found.
func environOf(int) ([]string, error) { return nil, nil }
