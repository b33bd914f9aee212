package pidfile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// growTree is a process of a line of processes: it starts the next one, in a process group of its own, and says who it is.
// The next one's name may end with ":bare" (it gets no token), ":session" (it gets a session), or ":away" (both).
func growTree(names []string) error {
	fmt.Println(names[0], os.Getpid())
	if len(names) > 1 {
		next, how, _ := strings.Cut(names[1], ":")
		cmd := exec.Command("/proc/self/exe")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = roleEnviron("tree", append([]string{next}, names[2:]...)...)
		if how != "bare" && how != "away" {
			cmd.Env = append(cmd.Env, TokenVariable+"="+os.Getenv(TokenVariable))
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: how == "session" || how == "away"}
		cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	return untilEOF()
}

// tree is a running line of processes, the first of them the leader of a session.
type tree struct {
	*helper
	pids map[string]int
}

func startTree(t *testing.T, token string, names ...string) tree {
	t.Helper()
	cmd := inSession(helperCommand(t, "tree", names...))
	if token != "" {
		cmd.Env = append(cmd.Env, TokenVariable+"="+token)
	}
	tr := tree{startHelper(t, cmd), map[string]int{}}
	for range names {
		var name string
		var pid int
		if line := tr.line(t); len(strings.Fields(line)) == 2 {
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
	if id.PID == tr.pid() {
		_, _ = tr.cmd.Process.Wait()
	}
	eventually(t, name+" ends", func() bool { return !id.Alive() })
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

func members(t *testing.T, rec Record) []*Process { return told(t, rec.Members) }
func orphans(t *testing.T, rec Record) []*Process { return told(t, rec.Orphans) }

func told(t *testing.T, look func() ([]*Process, error)) []*Process {
	t.Helper()
	found, err := look()
	if err != nil {
		t.Error(err)
	}
	return found
}

// record is a record of the tree's tunnel.
func (tr tree) record(t *testing.T, token string) Record {
	t.Helper()
	id, err := Identify(tr.pid())
	if err != nil {
		t.Fatal(err)
	}
	return Record{Token: token, Tunnel: id}
}

func TestMembersAreTheSessionWhileTheProgramLives(t *testing.T) {
	t.Parallel()
	token := NewToken()
	stranger := startTree(t, NewToken(), "stranger")
	tr := startTree(t, token, "leader", "child:bare", "grandchild:bare")
	rec := tr.record(t, token)
	tr.check(t, "all", members(t, rec), "child", "grandchild", "leader")
	tr.end(t, "child")
	tr.check(t, "without the child", members(t, rec), "grandchild", "leader")
	if !stranger.record(t, "").Tunnel.Alive() {
		t.Error("the stranger has ended")
	}
}

func TestMembersAreDescendantsInOtherSessionsToo(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child:bare", "daemon:session", "its-child", "browser:away", "its-tab:bare")
	rec := tr.record(t, token)
	tr.check(t, "with the token", members(t, rec), "child", "leader") // the child has none to hand on
	tr = startTree(t, token, "leader", "child", "daemon:session", "its-child", "browser:away", "its-tab:bare")
	rec = tr.record(t, token)
	tr.check(t, "all but those without the token", members(t, rec), "child", "daemon", "its-child", "leader")
}

func TestMembersOfADeadProgramNeedTheToken(t *testing.T) {
	t.Parallel()
	token := NewToken()
	startTree(t, "", "stranger without a token")
	startTree(t, NewToken(), "stranger with another")
	startTree(t, token+"X", "stranger with a longer one")
	tr := startTree(t, token, "leader", "child", "grandchild:bare")
	rec := tr.record(t, token)
	tr.end(t, "leader")
	tr.check(t, "the session of one that has the token", members(t, rec), "child", "grandchild")
	tr.check(t, "orphans", orphans(t, rec), "child", "grandchild")
	tr.end(t, "child")
	tr.check(t, "a session without the token proves nothing", members(t, rec))
	tr.check(t, "orphans", orphans(t, rec))
}

func TestMembersOfADeadProgramAreFoundInOtherSessions(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child", "daemon:session", "its-child")
	rec := tr.record(t, token)
	tr.end(t, "leader")
	tr.check(t, "all", members(t, rec), "child", "daemon", "its-child")
	tr.check(t, "orphans", orphans(t, rec), "child")
	tr.end(t, "child")
	tr.check(t, "the other session", members(t, rec), "daemon", "its-child")
	rec.Tunnel = Identity{}
	tr.check(t, "by a record that has no pid yet", members(t, rec), "daemon", "its-child")
}

func TestCallerIsNoMember(t *testing.T) {
	sid := sessionOf(os.Getpid())
	leader, err := Identify(sid)
	if err != nil {
		t.Skipf("this session's leader has ended: %v", err)
	}
	rec := Record{Token: NewToken(), Tunnel: leader}
	for _, p := range members(t, rec) {
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
	want := tr.record(t, token)
	rec := Record{Token: token}
	if id, err := rec.Adopt(); err != nil || id != want.Tunnel {
		t.Errorf("adopted %+v, %v; want %+v", id, err, want.Tunnel)
	}
	tr.kill()
	eventually(t, "nobody has the token", func() bool {
		_, err := rec.Adopt()
		return errors.Is(err, ErrGone)
	})
}

// TestAdoptedChildrenStandForTheirSession: the start was killed before it could record the program, and the program has ended.
func TestAdoptedChildrenStandForTheirSession(t *testing.T) {
	t.Parallel()
	token := NewToken()
	tr := startTree(t, token, "leader", "child", "grandchild:bare")
	tr.end(t, "leader")
	rec := Record{Token: token}
	var err error
	if rec.Tunnel, err = rec.Adopt(); err != nil || rec.Tunnel.PID != tr.pids["child"] {
		t.Fatalf("adopted %+v, %v; want the child %d", rec.Tunnel, err, tr.pids["child"])
	}
	tr.check(t, "members", members(t, rec), "child", "grandchild")
}

func TestAdoptFindsEveryLaunchInTheInstantOfItsExec(t *testing.T) {
	t.Parallel()
	for range 20 {
		token := NewToken()
		cmd := inSession(helperCommand(t, "sleep"))
		cmd.Env = append(cmd.Env, TokenVariable+"="+token)
		h := startHelper(t, cmd) // returns when the exec has happened, before the program has run
		if id, err := (Record{Token: token}).Adopt(); err != nil || id.PID != h.pid() {
			t.Fatalf("adopted %+v, %v; want pid %d", id, err, h.pid())
		}
		h.kill()
	}
}
