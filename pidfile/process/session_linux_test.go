package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
)

// growTree is a process of a line of processes: it starts the next one, in a process group of its own, and says who it is.
// The next one's name may end with ":bare" (it gets no token), ":session" (it gets a session), ":away" (both), ":page" (it gets a
// session, and the token of nobody), or ":other" (it gets a session, and another tunnel's token).
func growTree(names []string) error {
	fmt.Println(names[0], os.Getpid())
	if len(names) > 1 {
		next, how, _ := strings.Cut(names[1], ":")
		cmd := exec.Command("/proc/self/exe")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = processtest.Environ("tree", append([]string{next}, names[2:]...)...)
		token := TokenVariable + "=" + os.Getenv(TokenVariable)
		switch how {
		case "", "session":
			cmd.Env = append(cmd.Env, token)
		case "page":
			cmd.Env = append(cmd.Env, TokenVariable+"=")
		case "other":
			cmd.Env = append(cmd.Env, token+"X")
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: how != "" && how != "bare"}
		cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	return processtest.UntilEOF()
}

// tree is a running line of processes, the first of them the leader of a session.
type tree struct {
	*processtest.Helper
	pids map[string]int
}

func startTree(t *testing.T, token string, names ...string) tree {
	t.Helper()
	cmd := inSession(processtest.Command(t, "tree", names...))
	if token != "" {
		cmd.Env = append(cmd.Env, TokenVariable+"="+token)
	}
	tr := tree{processtest.Start(t, cmd), map[string]int{}}
	for range names {
		var name string
		var pid int
		if line := tr.Line(t); len(strings.Fields(line)) == 2 {
			_, _ = fmt.Sscan(line, &name, &pid)
		}
		tr.pids[name] = pid
	}
	return tr
}

// end ends one process of the tree and leaves the others.
func (tr tree) end(t *testing.T, name string) {
	t.Helper()
	id, err := Identify(tr.pids[name])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(id.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if id.PID == tr.PID() {
		_, _ = tr.Cmd.Process.Wait()
	}
	processtest.Eventually(t, name+" ends", func() bool { return !id.Alive() })
}

// names gives the names of the processes, "?" for a stranger, and closes the handles.
func (tr tree) names(found []*Process) []string {
	names := []string{}
	for _, p := range found {
		name := "?"
		for n, pid := range tr.pids {
			if pid == p.PID() {
				name = n
			}
		}
		names = append(names, name)
		p.Close()
	}
	slices.Sort(names)
	return names
}

func (tr tree) check(t *testing.T, what string, found []*Process, want ...string) {
	t.Helper()
	if got := tr.names(found); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func members(t *testing.T, s Session) []*Process {
	t.Helper()
	found, err := s.Members(nil)
	if err != nil {
		t.Error(err)
	}
	return found
}

// session is what a record of the tree's tunnel names.
func (tr tree) session(t *testing.T, token string) Session {
	t.Helper()
	id, err := Identify(tr.PID())
	if err != nil {
		t.Fatal(err)
	}
	return Session{Leader: id, Token: token}
}

// TestWhichProcessesAreTheTunnel is the rule that Session states, row by row.
func TestWhichProcessesAreTheTunnel(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		tree, ended []string // the line of processes, and those of them that end before the look
		serves      string   // who serves the address
		want        []string
	}{
		"the session, with the token or without": {
			tree: []string{"leader", "child:bare", "grandchild:bare"},
			want: []string{"leader", "child", "grandchild"},
		},
		"the session goes on although a parent has ended": {
			tree: []string{"leader", "child", "grandchild:bare"}, ended: []string{"child"},
			want: []string{"leader", "grandchild"},
		},
		"living descendants with sessions of their own": {
			tree: []string{"leader", "child:session", "its-child"},
			want: []string{"leader", "child", "its-child"},
		},
		"and without the token": {
			tree: []string{"leader", "child:away", "its-child:bare", "last:away"},
			want: []string{"leader", "child", "its-child", "last"},
		},
		"a page that tunhook has opened, with its tabs": {
			tree: []string{"leader", "opener", "browser:page", "tab:bare"},
			want: []string{"leader", "opener"},
		},
		"another tunnel": {
			tree: []string{"leader", "script", "program:other", "its-child"},
			want: []string{"leader", "script"},
		},
		"a daemon that has left session and parent": {
			tree: []string{"leader", "middle", "daemon:session", "its-child"}, ended: []string{"middle"},
			want: []string{"leader"},
		},
		"a daemon that has left session and parent, and serves the address": {
			tree: []string{"leader", "middle", "daemon:session", "its-child:away"}, ended: []string{"middle"}, serves: "daemon",
			want: []string{"leader", "daemon", "its-child"},
		},
		"a daemon beside a program that serves the address": {
			tree: []string{"leader", "middle", "daemon:session", "its-child"}, ended: []string{"middle"}, serves: "leader",
			want: []string{"leader"},
		},
		"a dead program's session": {
			tree: []string{"leader", "child", "grandchild:bare"}, ended: []string{"leader"},
			want: []string{"child", "grandchild"},
		},
		"a dead program's session without the token": {
			tree: []string{"leader", "child", "grandchild:bare"}, ended: []string{"leader", "child"},
		},
		"a dead program's session, and its descendants": {
			tree: []string{"leader", "child", "worker:away", "its-child:bare"}, ended: []string{"leader"},
			want: []string{"child", "worker", "its-child"},
		},
		"a dead program's page": {
			tree: []string{"leader", "opener", "browser:page"}, ended: []string{"leader"},
			want: []string{"opener"},
		},
		"a dead program's daemon": {
			tree: []string{"leader", "middle", "daemon:session", "its-child"}, ended: []string{"middle", "leader"},
		},
		"a dead program's daemon that is its child": {
			tree: []string{"leader", "daemon:session", "its-child"}, ended: []string{"leader"},
		},
		"a dead program's daemon that serves the address": {
			tree: []string{"leader", "middle", "daemon:session", "its-child:away"}, ended: []string{"middle", "leader"}, serves: "daemon",
			want: []string{"daemon", "its-child"},
		},
		"a dead program's daemon whose child serves the address": {
			tree: []string{"leader", "daemon:session", "worker:session"}, ended: []string{"leader"}, serves: "worker",
			want: []string{"daemon", "worker"},
		},
		"a dead program's daemon of several, one of which serves the address": {
			tree: []string{"leader", "daemon:session", "middle", "worker", "idle"}, ended: []string{"leader", "middle"}, serves: "worker",
			want: []string{"daemon", "worker", "idle"},
		},
		"a server without the token": {
			tree: []string{"leader", "daemon:away"}, ended: []string{"leader"}, serves: "daemon",
		},
		"a server of another tunnel": {
			tree: []string{"leader", "daemon:other"}, ended: []string{"leader"}, serves: "daemon",
		},
		"all are gone": {
			tree: []string{"leader", "child"}, ended: []string{"child", "leader"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := NewToken()
			tr := startTree(t, token, row.tree...)
			s := tr.session(t, token)
			for _, name := range row.ended {
				tr.end(t, name)
			}
			var serves func(pid int) bool
			if row.serves != "" {
				serves = func(pid int) bool { return pid == tr.pids[row.serves] }
			}
			found, err := s.Members(serves)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(row.want)
			tr.check(t, "members", found, row.want...)
		})
	}
}

// TestStrangersAreNoMembers: their tokens differ by as little as can be.
func TestStrangersAreNoMembers(t *testing.T) {
	t.Parallel()
	token := NewToken()
	for _, other := range []string{"", NewToken(), token + "X", token[1:]} {
		stranger := startTree(t, other, "stranger", "its-child:session")
		for _, leader := range []Identity{{}, {PID: stranger.PID(), StartTicks: 1, BootID: "b"}} {
			found, err := (Session{Leader: leader, Token: token}).Members(func(int) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			stranger.check(t, "a stranger with the token "+other, found)
		}
		for _, none := range []Session{{}, {Leader: Identity{PID: stranger.PID(), StartTicks: 1, BootID: "b"}}} {
			stranger.check(t, "a session without a token", members(t, none))
		}
	}
}

func TestCallerIsNoMember(t *testing.T) {
	sid := sessionOf(os.Getpid())
	leader, err := Identify(sid)
	if err != nil {
		t.Skipf("this session's leader has ended: %v", err)
	}
	s := Session{Leader: leader, Token: NewToken()}
	for _, p := range members(t, s) {
		if p.PID() == os.Getpid() {
			t.Error("the caller would be ended too")
		}
		p.Close()
	}
}

func TestAdoptFindsTheProgramThatNoRecordNames(t *testing.T) {
	t.Parallel()
	token := NewToken()
	startTree(t, NewToken(), "stranger")
	tr := startTree(t, token, "leader", "child", "grandchild:bare")
	want := tr.session(t, token)
	s := Session{Token: token}
	if id, err := s.Adopt(); err != nil || id != want.Leader {
		t.Errorf("adopted %+v, %v; want %+v", id, err, want.Leader)
	}
	tr.Kill()
	processtest.Eventually(t, "nobody has the token", func() bool {
		_, err := s.Adopt()
		return errors.Is(err, ErrGone)
	})
}

// TestMembersOfALeaderThatIsNotKnown: the start was killed before it could record the program.
func TestMembersOfALeaderThatIsNotKnown(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child:away", "middle:session", "daemon:session")
	tr.end(t, "middle")
	tr.check(t, "all but the daemon", members(t, Session{Token: token}), "child", "leader")
}

// TestAdoptedChildrenStandForTheirSession: the start was killed before it could record the program, and the program has ended.
func TestAdoptedChildrenStandForTheirSession(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child", "grandchild:bare")
	tr.end(t, "leader")
	s := Session{Token: token}
	var err error
	if s.Leader, err = s.Adopt(); err != nil || s.Leader.PID != tr.pids["child"] {
		t.Fatalf("adopted %+v, %v; want the child %d", s.Leader, err, tr.pids["child"])
	}
	tr.check(t, "members", members(t, s), "child", "grandchild")
}

func TestAdoptFindsEveryLaunchInTheInstantOfItsExec(t *testing.T) {
	t.Parallel()
	for range 20 {
		token := NewToken()
		cmd := inSession(processtest.Command(t, "sleep"))
		cmd.Env = append(cmd.Env, TokenVariable+"="+token)
		h := processtest.Start(t, cmd) // returns when the exec has happened, before the program has run
		if id, err := (Session{Token: token}).Adopt(); err != nil || id.PID != h.PID() {
			t.Fatalf("adopted %+v, %v; want pid %d", id, err, h.PID())
		}
		h.Kill()
	}
}
