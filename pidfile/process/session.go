package process

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
)

// TokenVariable is the environment variable that carries a token into the processes of its tunnel.
const TokenVariable = "TUNHOOK_TOKEN"

// NewToken returns a random token of 128 bits or more, in letters and digits.
func NewToken() string { return rand.Text() }

// Session is a tunnel program with the processes that came from it.
type Session struct {
	Leader Identity // the tunnel program, which leads a session; zero where it is not known
	Token  string   // what the environments of its processes hold as TokenVariable
}

// Members opens every live process of the session except the calling one: the session that the tunnel program leads, and
// those descendants in sessions of their own that have the token. Where the program itself has ended, its session number
// alone proves nothing; a process with the token in its environment does, wherever it is. The caller closes them. An error
// says that they cannot be told.
func (s Session) Members() ([]*Process, error) {
	program, err := Open(s.Leader)
	if err != nil && !errors.Is(err, ErrGone) {
		return nil, err
	}
	if err == nil {
		defer program.Close()
		found, err := openSession(sessionOf(program.PID())) // not its own where Adopt found no leader
		if err == nil && !program.Wait(0) {                 // it has lived all the while: the numbers were its own
			found, err = withDescendants(found, s.Token)
		}
		if err != nil || !program.Wait(0) {
			return found, err
		}
		closeAll(found)
	}
	orphans, err := s.Orphans()
	if err != nil {
		return nil, err
	}
	others, err := openAll(func(pid int) (bool, error) { return hasToken(pid, s.Token) })
	if err != nil {
		closeAll(orphans)
		return nil, err
	}
	return distinct(append(orphans, others...)), nil
}

// Orphans opens the processes that are left in the tunnel's session after its program has ended, if one of them has the
// token. Unlike Members it looks at no environment but theirs, so it is quick among thousands of processes. The
// caller closes them. An error says that they cannot be told.
func (s Session) Orphans() ([]*Process, error) {
	if s.Leader.PID == 0 {
		return nil, nil
	}
	found, err := openSession(s.Leader.PID)
	for _, p := range found {
		ours, err := hasToken(p.PID(), s.Token)
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

// PIDs gives the pids of Members as far as they can be told: whoever ends them needs to know more.
func (s Session) PIDs() []int {
	var pids []int
	found, _ := s.Members()
	for _, p := range found {
		pids = append(pids, p.PID())
		p.Close()
	}
	return pids
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

// Adopt looks for the leader where it is not known: whoever launched the tunnel program did not live to write down its identity. It
// gives ErrGone where no process has the token; another error says that it cannot
// be told.
func (s Session) Adopt() (Identity, error) {
	pids, err := processIDs()
	if err != nil {
		return Identity{}, err
	}
	for _, pid := range pids {
		ours, err := hasToken(pid, s.Token)
		if err != nil {
			return Identity{}, err
		}
		if !ours {
			continue
		}
		for _, candidate := range []int{sessionOf(pid), pid} { // its leader, if that has the token too
			id, err := identifyWith(candidate, s.Token)
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
	if pid == os.Getpid() || token == "" {
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
