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
// The next one's name may end with ":bare" (it gets no token), ":session" (it gets a session), or ":away" (both).
func growTree(names []string) error {
	fmt.Println(names[0], os.Getpid())
	if len(names) > 1 {
		next, how, _ := strings.Cut(names[1], ":")
		cmd := exec.Command("/proc/self/exe")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = processtest.Environ("tree", append([]string{next}, names[2:]...)...)
		if how != "bare" && how != "away" {
			cmd.Env = append(cmd.Env, TokenVariable+"="+os.Getenv(TokenVariable))
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: how == "session" || how == "away"}
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

func members(t *testing.T, s Session) []*Process { return told(t, s.Members) }
func orphans(t *testing.T, s Session) []*Process { return told(t, s.Orphans) }

func told(t *testing.T, look func() ([]*Process, error)) []*Process {
	t.Helper()
	found, err := look()
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

func TestMembersAreTheSessionWhileTheProgramLives(t *testing.T) {
	t.Parallel()
	token := NewToken()
	stranger := startTree(t, NewToken(), "stranger")
	tr := startTree(t, token, "leader", "child:bare", "grandchild:bare")
	s := tr.session(t, token)
	tr.check(t, "all", members(t, s), "child", "grandchild", "leader")
	tr.end(t, "child")
	tr.check(t, "without the child", members(t, s), "grandchild", "leader")
	if !stranger.session(t, "").Leader.Alive() {
		t.Error("the stranger has ended")
	}
}

func TestMembersAreDescendantsInOtherSessionsToo(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child:bare", "daemon:session", "its-child", "browser:away", "its-tab:bare")
	s := tr.session(t, token)
	tr.check(t, "with the token", members(t, s), "child", "leader") // the child has none to hand on
	tr = startTree(t, token, "leader", "child", "daemon:session", "its-child", "browser:away", "its-tab:bare")
	s = tr.session(t, token)
	tr.check(t, "all but those without the token", members(t, s), "child", "daemon", "its-child", "leader")
}

func TestMembersOfADeadProgramNeedTheToken(t *testing.T) {
	t.Parallel()
	token := NewToken()
	startTree(t, "", "stranger without a token")
	startTree(t, NewToken(), "stranger with another")
	startTree(t, token+"X", "stranger with a longer one")
	tr := startTree(t, token, "leader", "child", "grandchild:bare")
	s := tr.session(t, token)
	tr.end(t, "leader")
	tr.check(t, "the session of one that has the token", members(t, s), "child", "grandchild")
	tr.check(t, "orphans", orphans(t, s), "child", "grandchild")
	tr.end(t, "child")
	tr.check(t, "a session without the token proves nothing", members(t, s))
	tr.check(t, "orphans", orphans(t, s))
}

func TestMembersOfADeadProgramAreFoundInOtherSessions(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child", "daemon:session", "its-child")
	s := tr.session(t, token)
	tr.end(t, "leader")
	tr.check(t, "all", members(t, s), "child", "daemon", "its-child")
	tr.check(t, "orphans", orphans(t, s), "child")
	tr.end(t, "child")
	tr.check(t, "the other session", members(t, s), "daemon", "its-child")
	s.Leader = Identity{}
	tr.check(t, "by a record that names no leader yet", members(t, s), "daemon", "its-child")
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
