package pidfile

import (
	"errors"
	"os"
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
	if err == nil && now != id {
		return ErrGone
	}
	return err
}

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
	if !id.plausible() {
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

// Members opens every live process of the record's tunnel except the calling one: the session that the tunnel program leads, and
// those descendants in sessions of their own that have the record's token. Where the program itself has ended, its session number
// alone proves nothing; a process with the record's token in its environment does, wherever it is. The caller closes them. An error
// says that they cannot be told.
func (r Record) Members() ([]*Process, error) {
	program, err := Open(r.Tunnel)
	if err != nil && !errors.Is(err, ErrGone) {
		return nil, err
	}
	if err == nil {
		defer program.Close()
		found, err := openSession(sessionOf(program.PID())) // not its own where Adopt found no leader
		if err == nil && !program.Wait(0) {                 // it has lived all the while: the numbers were its own
			found, err = withDescendants(found, r.Token)
		}
		if err != nil || !program.Wait(0) {
			return found, err
		}
		closeAll(found)
	}
	orphans, err := r.Orphans()
	if err != nil {
		return nil, err
	}
	others, err := openAll(func(pid int) (bool, error) { return hasToken(pid, r.Token) })
	if err != nil {
		closeAll(orphans)
		return nil, err
	}
	return distinct(append(orphans, others...)), nil
}

// Orphans opens the processes that are left in the tunnel's session after its program has ended, if one of them has the
// record's token. Unlike Members it looks at no environment but theirs, so it is quick among thousands of processes. The
// caller closes them. An error says that they cannot be told.
func (r Record) Orphans() ([]*Process, error) {
	if r.Tunnel.PID == 0 {
		return nil, nil
	}
	found, err := openSession(r.Tunnel.PID)
	for _, p := range found {
		ours, err := hasToken(p.PID(), r.Token)
		if err != nil {
			closeAll(found)
			return nil, err
		}
		if ours {
			return found, nil
		}
	}
	closeAll(found)
	return nil, err
}

func closeAll(processes []*Process) {
	for _, p := range processes {
		p.Close()
	}
}

// openSession opens the live members of session sid, which must be known to be the one that is meant.
func openSession(sid int) ([]*Process, error) {
	return openAll(func(pid int) (bool, error) { return pid != os.Getpid() && sessionOf(pid) == sid, nil })
}

// withDescendants adds to found the children that have the token, their children, and so on.
func withDescendants(found []*Process, token string) ([]*Process, error) {
	known := map[int]bool{os.Getpid(): true}
	for _, p := range found {
		known[p.PID()] = true
	}
	for i := 0; i < len(found); i++ {
		children, err := childrenOf(found[i].PID())
		if err != nil {
			closeAll(found)
			return nil, err
		}
		for _, pid := range children {
			if known[pid] {
				continue
			}
			known[pid] = true
			child, err := openWanted(pid, func(pid int) (bool, error) { return hasToken(pid, token) })
			if err != nil {
				closeAll(found)
				return nil, err
			}
			if child != nil {
				found = append(found, child)
			}
		}
	}
	return found, nil
}

// openAll opens the live processes that are wanted, all or, with an error, none.
func openAll(wanted func(pid int) (bool, error)) ([]*Process, error) {
	pids, err := processIDs()
	if err != nil {
		return nil, err
	}
	var found []*Process
	for _, pid := range pids {
		p, err := openWanted(pid, wanted)
		if err != nil {
			closeAll(found)
			return nil, err
		}
		if p != nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// openWanted opens the process pid if it is wanted; nil if not, or if it has ended.
func openWanted(pid int, wanted func(pid int) (bool, error)) (*Process, error) {
	if ok, err := wanted(pid); err != nil || !ok {
		return nil, err
	}
	p, err := openAny(pid)
	if errors.Is(err, ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if ok, err := wanted(pid); err != nil || !ok { // asked again now that the handle holds the process
		p.Close()
		return nil, err
	}
	return p, nil
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
// live to add the program's identity. It gives ErrGone where no process has the record's token; another error says that it cannot
// be told.
func (r Record) Adopt() (Identity, error) {
	pids, err := processIDs()
	if err != nil {
		return Identity{}, err
	}
	for _, pid := range pids {
		ours, err := hasToken(pid, r.Token)
		if err != nil {
			return Identity{}, err
		}
		if !ours {
			continue
		}
		for _, candidate := range []int{sessionOf(pid), pid} { // its leader, if that has the token too
			id, err := identifyWith(candidate, r.Token)
			if !errors.Is(err, ErrGone) {
				return id, err
			}
		}
	}
	return Identity{}, ErrGone
}

// identifyWith is Identify for a process that must have the token.
func identifyWith(pid int, token string) (Identity, error) {
	id, err := identify(pid)
	if err != nil {
		return Identity{}, err
	}
	ours, err := hasToken(pid, token)
	if err == nil && !ours {
		err = ErrGone
	}
	return id, err
}

func hasToken(pid int, token string) (bool, error) {
	if pid == os.Getpid() {
		return false, nil
	}
	environ, err := environOf(pid)
	if err != nil {
		return false, err
	}
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, TokenVariable+"="); ok {
			return value == token, nil
		}
	}
	return false, nil
}
