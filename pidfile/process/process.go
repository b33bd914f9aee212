// Package process tells one process from every other that has had, or will have, its pid, holds it by a handle, and finds
// the processes of a tunnel.
package process

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"
)

// Identity tells one process from every other that has had, or will have, its pid.
type Identity struct {
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"start_ticks"` // clock ticks between boot and its start: field 22 of /proc/PID/stat, proc_pid_stat(5)
	BootID     string `json:"boot_id"`     // /proc/sys/kernel/random/boot_id, random(4)
}

// ErrGone says that a process has ended; a zombie has.
var ErrGone = errors.New("the process has ended")

// HiddenError says that a process lives, and that the caller may not look at it.
type HiddenError struct {
	PID   int
	Other bool // it is another user's
}

func (e *HiddenError) Error() string {
	if e.Other {
		return fmt.Sprintf("process %d is another user's, and hidden from you", e.PID)
	}
	return fmt.Sprintf("process %d is hidden from you, although it is yours", e.PID)
}

// Plausible rejects the pids that kill(2) gives a meaning of their own, and that of init.
func (id Identity) Plausible() bool { return id.PID > 1 && id.StartTicks > 0 }

// Identify returns the identity of the live process pid. The error is ErrGone where there is none; another one says that it cannot
// be told.
func Identify(pid int) (Identity, error) { return identify(pid) }

// Supported tells what this system lacks for Open, nil if nothing. Without that no tunnel could be ended.
func Supported() error { return supported() }

// Self returns the identity of the calling process.
func Self() (Identity, error) { return identify(os.Getpid()) }

// Alive tells whether the very process that id names still runs. One that cannot be looked at, with too many files open perhaps,
// counts as alive: nothing may be given up because of that.
func (id Identity) Alive() bool {
	err := id.check()
	return err == nil || !errors.Is(err, ErrGone)
}

// check gives ErrGone where the process that id names has ended, and another error where that cannot be told.
func (id Identity) check() error {
	if id.PID < 1 {
		return ErrGone
	}
	now, err := identify(id.PID)
	var hidden *HiddenError
	if err == nil && now != id || errors.As(err, &hidden) && hidden.Other { // that one could be looked at
		return ErrGone
	}
	return err
}

// Stopped tells whether a process was stopped by a signal, and so answers nobody.
func (id Identity) Stopped() bool { return stopped(id.PID) && id.Alive() }

// Process is a handle on one live process. On Linux it is a pidfd, which never means another process than the one it was
// opened for, pidfd_open(2).
type Process struct {
	id     Identity
	handle handle
}

// Open takes a handle on the process that id names. The handle comes first and the identity is compared after, so that a pid
// that changes hands in between is noticed. The error is ErrGone where that process has ended, and for init, which nobody may end;
// another one says that it cannot be told.
func Open(id Identity) (*Process, error) {
	if !id.Plausible() {
		return nil, ErrGone
	}
	h, err := openHandle(id.PID)
	if err != nil {
		return nil, err
	}
	if err := id.check(); err != nil {
		h.close()
		return nil, err
	}
	return &Process{id, h}, nil
}

// openAny takes a handle on whatever process has pid now.
func openAny(pid int) (*Process, error) {
	h, err := openHandle(pid)
	if err != nil {
		return nil, err
	}
	id, err := identify(pid)
	if err != nil {
		h.close()
		return nil, err
	}
	return &Process{id, h}, nil
}

// Identity is the identity that the handle was opened for.
func (p *Process) Identity() Identity { return p.id }

// PID is the process id.
func (p *Process) PID() int { return p.id.PID }

// Signal sends sig; the error is ErrGone where the process has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.handle.signal(sig) }

// Wait waits for the process to end, for at most d, and tells whether it has.
func (p *Process) Wait(d time.Duration) bool { return p.handle.wait(d) }

// Forever is longer than any process lives.
const Forever time.Duration = math.MaxInt64

// WaitAny waits until one of the processes has ended, for at most d. On Linux the wait is also over when one of those file descriptors
// can be read.
func WaitAny(processes []*Process, d time.Duration, readable ...int) {
	handles := make([]handle, len(processes))
	for i, p := range processes {
		handles[i] = p.handle
	}
	waitAny(handles, d, readable...)
}

// Close gives the handle back; the process is not touched.
func (p *Process) Close() { p.handle.close() }
