package process

import (
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
)

// TokenVariable is the environment variable that carries a token into the processes of its tunnel. An empty one says that a process
// belongs to no tunnel, whoever has started it: a browser, a keeper.
const TokenVariable = "TUNHOOK_TOKEN"

// NewToken returns a random token of 128 bits or more, in letters and digits.
func NewToken() string { return rand.Text() }

// Session is a tunnel program with the processes that came from it, and are the tunnel.
//
// They are the session that the program leads, and who has the token and serves the tunnel's address, with kin that has it too:
// ancestors, and members of its session; and all living descendants of these, whatever they have made of their session and
// environment, since each is provably the child of one that is the tunnel. Only what tunhook itself has started for somebody else is
// not, with another token or an empty one.
//
// After the program has ended its session is only a number, which is the tunnel's if one of those in it has the token.
//
// A process that has the token and left session and parent behind, and does not serve the address, is a daemon of the user's that
// happened to be started there, as gpg-agent by ssh. It is not the tunnel.
type Session struct {
	Leader Identity // the tunnel program, which leads a session; zero where it is not known
	Token  string   // what the environments of its processes hold as TokenVariable
}

// Members opens every live process of the tunnel except the calling one. Serves tells of a process whether it serves the tunnel's
// address, nil where nobody does. The caller closes them. An error says that they cannot be told.
func (s Session) Members(serves func(pid int) bool) ([]*Process, error) {
	if s.Leader == (Identity{}) {
		adopted, err := s.Adopt()
		if errors.Is(err, ErrGone) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		s.Leader = adopted
	}
	found, err := s.openProgram()
	if errors.Is(err, ErrGone) {
		found, err = s.openLeft()
	}
	if err == nil {
		found, err = s.withDescendants(found)
	}
	isServer := func(p *Process) bool { return serves(p.PID()) }
	if err != nil || serves == nil || slices.ContainsFunc(found, isServer) {
		return found, err
	}
	servers, err := s.openServers(serves)
	found = distinct(append(found, servers...))
	if err != nil {
		closeAll(found)
		return nil, err
	}
	return s.withDescendants(found)
}

// openProgram opens the session of a program that lives. The error is ErrGone where it does not.
func (s Session) openProgram() ([]*Process, error) {
	program, err := Open(s.Leader)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	found, err := openSession(sessionOf(program.PID())) // not its own where Adopt found no leader
	if err == nil && program.Wait(0) {                  // while it lived the number was its own
		closeAll(found)
		return nil, ErrGone
	}
	return found, err
}

// openLeft opens what is left in the session of a program that has ended, if one of them has the token. It looks at no environment
// but theirs, so it is quick among thousands of processes.
func (s Session) openLeft() ([]*Process, error) {
	if !s.Leader.Plausible() || takenOver(s.Leader) {
		return nil, nil // a stranger has the number by now: nobody was left
	}
	found, err := openSession(s.Leader.PID)
	for _, p := range found {
		whose, err := s.whose(p.PID())
		if err != nil {
			closeAll(found)
			return nil, err
		}
		if whose == ours {
			return found, nil
		}
	}
	closeAll(found)
	return nil, err
}

// openServers opens the processes with the token that serve the tunnel's address, and their kin.
func (s Session) openServers(serves func(pid int) bool) ([]*Process, error) {
	pids, err := processIDs()
	if err != nil {
		return nil, err
	}
	carriers := map[int]bool{}
	for _, pid := range pids {
		whose, err := s.whose(pid)
		if err != nil {
			return nil, err
		}
		if whose == ours {
			carriers[pid] = true
		}
	}
	kin, sessions := map[int]bool{}, map[int]bool{}
	for pid := range carriers {
		if !serves(pid) {
			continue
		}
		sessions[sessionOf(pid)] = true
		for p := pid; carriers[p] && !kin[p]; p = parentOf(p) {
			kin[p] = true
		}
	}
	if len(kin) == 0 {
		return nil, nil
	}
	return openAll(func(pid int) (bool, error) {
		if !kin[pid] && !(carriers[pid] && sessions[sessionOf(pid)]) {
			return false, nil
		}
		whose, err := s.whose(pid) // asked again now that a handle holds the process
		return whose == ours, err
	})
}

func closeAll(processes []*Process) {
	for _, p := range processes {
		p.Close()
	}
}

// openSession opens the live members of session sid, which must be known to be the one that is meant.
func openSession(sid int) ([]*Process, error) {
	return openAll(func(pid int) (bool, error) { return sessionOf(pid) == sid && pid != os.Getpid(), nil })
}

// withDescendants adds to found their children, the children of those, and so on. With an error it closes them all.
func (s Session) withDescendants(found []*Process) ([]*Process, error) {
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
			child, err := openWanted(pid, func(pid int) (bool, error) { return s.handedOn(found[i], pid) })
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

// handedOn tells whether pid is a child of the member parent, and a member too.
func (s Session) handedOn(parent *Process, pid int) (bool, error) {
	if p := parentOf(pid); p != parent.PID() && p != 0 || parent.Wait(0) { // 0: it is hidden, or has ended
		return false, nil
	}
	whose, err := s.whose(pid)
	if whose == unknown && sessionOf(pid) != sessionOf(parent.PID()) {
		return !isSelf(parent.PID()), err // what cannot be looked into may be a browser that a tunhook has opened a page with
	}
	return whose != others, err
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
// is the oldest process that has the token, or the leader of its session if that has the token too: all others come from it. It gives
// ErrGone where no process has the token; another error says that it cannot be told.
func (s Session) Adopt() (Identity, error) {
	pids, err := processIDs()
	if err != nil {
		return Identity{}, err
	}
	var oldest Identity
	for _, pid := range pids {
		id, err := s.identifyOurs(pid)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return Identity{}, err
		}
		if oldest.PID == 0 || id.before(oldest) {
			oldest = id
		}
	}
	if oldest.PID == 0 {
		return Identity{}, ErrGone
	}
	leader, err := s.identifyOurs(sessionOf(oldest.PID))
	if errors.Is(err, ErrGone) {
		return oldest, nil
	}
	return leader, err
}

// before tells which of two processes started first, as far as the clock tells.
func (id Identity) before(other Identity) bool {
	return id.StartTicks < other.StartTicks || id.StartTicks == other.StartTicks && id.PID < other.PID
}

// identifyOurs is Identify for a process that must have the token.
func (s Session) identifyOurs(pid int) (Identity, error) {
	if err := s.mustBeOurs(pid); err != nil {
		return Identity{}, err
	}
	id, err := identify(pid)
	if err == nil {
		err = s.mustBeOurs(pid)
	}
	return id, err
}

// mustBeOurs gives ErrGone for a process without the token.
func (s Session) mustBeOurs(pid int) error {
	whose, err := s.whose(pid)
	if err == nil && whose != ours {
		err = ErrGone
	}
	return err
}

// ownership is what a process's environment says of whose it is.
type ownership int

const (
	unmarked ownership = iota // it has no token
	ours
	others  // another tunnel's, or no tunnel's
	unknown // we may not look
)

func (s Session) whose(pid int) (ownership, error) {
	if pid == os.Getpid() {
		return others, nil
	}
	environ, err := environOf(pid)
	if errors.Is(err, os.ErrPermission) {
		return unknown, nil
	}
	if err != nil {
		return unmarked, err
	}
	for _, v := range environ {
		token, ok := strings.CutPrefix(v, TokenVariable+"=")
		switch {
		case !ok:
		case token != "" && token == s.Token:
			return ours, nil
		default:
			return others, nil
		}
	}
	return unmarked, nil
}
