package pidfile

import (
	"errors"
	"os"
	"slices"
	"strings"
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

// plausible rejects the pids that kill(2) gives a meaning of their own, and that of init.
func (id Identity) plausible() bool { return id.PID > 1 && id.StartTicks > 0 }

// Identify returns the identity of the live process pid, or ErrGone.
func Identify(pid int) (Identity, error) { return identify(pid) }

// Self returns the identity of the calling process.
func Self() (Identity, error) { return identify(os.Getpid()) }

// Alive tells whether the very process that id names still runs.
func (id Identity) Alive() bool {
	now, err := identify(id.PID)
	return err == nil && now == id && id.plausible()
}

// Process is a handle on one live process. On Linux it is a pidfd, which never means another process than the one it was
// opened for, pidfd_open(2).
type Process struct {
	id     Identity
	handle handle
}

// Open takes a handle on the process that id names. The handle comes first and the identity is compared after, so that a pid
// that changes hands in between is noticed. The error is ErrGone where that process has ended.
func Open(id Identity) (*Process, error) {
	if !id.plausible() {
		return nil, ErrGone
	}
	h, err := openHandle(id.PID)
	if err != nil {
		return nil, err
	}
	if !id.Alive() {
		h.close()
		return nil, ErrGone
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

// WaitAny waits until one of the processes has ended, for at most d.
func WaitAny(processes []*Process, d time.Duration) {
	handles := make([]handle, len(processes))
	for i, p := range processes {
		handles[i] = p.handle
	}
	waitAny(handles, d)
}

// Close gives the handle back; the process is not touched.
func (p *Process) Close() { p.handle.close() }

// TokenVariable is the environment variable that carries a record's token into the processes of its tunnel.
const TokenVariable = "TUNHOOK_TOKEN"

// Members opens every live process of the record's tunnel except the calling one: the session that the tunnel program leads.
// Where the program itself has ended, its session number alone proves nothing; a process with the record's token in its
// environment does, wherever it is, and with it the session that it is in. The caller closes them.
func (r Record) Members() []*Process {
	if program, err := Open(r.Tunnel); err == nil {
		defer program.Close()
		found := openSession(sessionOf(program.PID())) // not its own where Adopt found no leader
		if !program.Wait(0) {                          // it has lived all the while: the numbers were its own
			return found
		}
		closeAll(found)
	}
	found := r.Orphans()
	for _, pid := range processIDs() {
		if !hasToken(pid, r.Token) {
			continue
		}
		p, err := openAny(pid)
		if err != nil {
			continue
		}
		if !hasToken(pid, r.Token) { // asked again now that the handle holds the process
			p.Close()
			continue
		}
		found = append(found, p)
	}
	return distinct(found)
}

// Orphans opens the processes that are left in the tunnel's session after its program has ended, if one of them has the
// record's token. Unlike Members it looks at no environment but theirs, so it is quick among thousands of processes. The
// caller closes them.
func (r Record) Orphans() []*Process {
	if r.Tunnel.PID == 0 {
		return nil
	}
	found := openSession(r.Tunnel.PID)
	if slices.ContainsFunc(found, func(p *Process) bool { return hasToken(p.PID(), r.Token) }) {
		return found
	}
	closeAll(found)
	return nil
}

func closeAll(processes []*Process) {
	for _, p := range processes {
		p.Close()
	}
}

// openSession opens the live members of session sid, which must be known to be the one that is meant.
func openSession(sid int) []*Process {
	var found []*Process
	for _, pid := range processIDs() {
		if pid == os.Getpid() || sessionOf(pid) != sid {
			continue
		}
		p, err := openAny(pid)
		if err != nil {
			continue
		}
		if sessionOf(pid) != sid { // asked again now that the handle holds the process
			p.Close()
			continue
		}
		found = append(found, p)
	}
	return found
}

func distinct(processes []*Process) []*Process {
	seen := map[Identity]bool{}
	kept := processes[:0]
	for _, p := range processes {
		if seen[p.id] {
			p.Close()
			continue
		}
		seen[p.id] = true
		kept = append(kept, p)
	}
	return kept
}

// Adopt looks for the tunnel program of a record that was written before the program was launched, by a process that did not
// live to add the program's identity. It gives ErrGone where no process has the record's token.
func (r Record) Adopt() (Identity, error) {
	for _, pid := range processIDs() {
		if !hasToken(pid, r.Token) {
			continue
		}
		leader := sessionOf(pid)
		if id, err := identify(leader); err == nil && hasToken(leader, r.Token) {
			return id, nil
		}
		if id, err := identify(pid); err == nil && hasToken(pid, r.Token) {
			return id, nil
		}
	}
	return Identity{}, ErrGone
}

func hasToken(pid int, token string) bool {
	if pid == os.Getpid() {
		return false
	}
	for _, v := range environOf(pid) {
		if value, ok := strings.CutPrefix(v, TokenVariable+"="); ok {
			return value == token
		}
	}
	return false
}
