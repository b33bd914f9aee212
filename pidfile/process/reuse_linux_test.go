package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
	"golang.org/x/sys/unix"
)

// notHere begins the line by which the reuse role says that it may not do here what it needs.
const notHere = "not here:"

// TestRecycledPidIsNeverSignalled forces a real reuse of a pid, in a pid namespace of its own. Where that may not be done,
// TestNoSignalReachesARecycledPid stands alone.
func TestRecycledPidIsNeverSignalled(t *testing.T) {
	t.Parallel()
	cmd := inNamespaces(processtest.Command(t, "reuse"), unix.CLONE_NEWPID|unix.CLONE_NEWNS)
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no pid namespace may be made here, so no pid is reused for real: %v", err)
	case strings.HasPrefix(string(out), notHere):
		t.Skipf("no pid can be reused for real: %s", out)
	case err != nil || string(out) != "proved\n":
		t.Errorf("%v: %s", err, out)
	}
}

// inNamespaces gives cmd new namespaces.
func inNamespaces(cmd *exec.Cmd, flags uintptr) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// TestPlaceTellsNamespacesApart asks a process in namespaces of its own. The /proc that it sees is ours.
func TestPlaceTellsNamespacesApart(t *testing.T) {
	t.Parallel()
	own, err := Here()
	if err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[uintptr]string{
		0: "", unix.CLONE_NEWPID: "PID namespace", unix.CLONE_NEWNET: "network namespace", unix.CLONE_NEWPID | unix.CLONE_NEWNET: "PID namespace",
	} {
		out, err := inNamespaces(processtest.Command(t, "here"), flags).Output()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Skipf("no namespaces may be made here: %v", err)
		}
		var there Place
		var supported bool
		if _, err := fmt.Sscan(string(out), &there.BootID, &there.PIDs, &there.Network, &there.Clock, &supported); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if got := own.Beyond(there); got != want || there.Beyond(own) != want {
			t.Errorf("flags %x: beyond a %q, want %q: %+v and %+v", flags, got, want, own, there)
		}
		if supported != (flags&unix.CLONE_NEWPID == 0) {
			t.Errorf("flags %x: supported %v", flags, supported)
		}
	}
}

func sayHere([]string) error {
	p, err := Here()
	fmt.Println(p.BootID, p.PIDs, p.Network, p.Clock, Supported() == nil)
	return err
}

// reusePid is process 1 of a new pid namespace. It records a process, ends it, gives its pid to another one, and tries to
// reach that by everything that it kept of the first.
func reusePid([]string) error {
	for _, err := range []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
	} {
		if err != nil {
			fmt.Println(notHere, "mounting /proc:", err)
			return nil
		}
	}
	token := NewToken()
	first, err := startIn("sleep", TokenVariable+"="+token)
	if err != nil {
		return err
	}
	old, err := Identify(first.Process.Pid)
	if err != nil {
		return err
	}
	handle, err := Open(old)
	if err != nil {
		return err
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	second, err := takePid(old, 0)
	if err != nil {
		fmt.Println(notHere, err)
		return nil
	}
	if err := handle.Signal(syscall.SIGKILL); !errors.Is(err, ErrGone) {
		return fmt.Errorf("signal through the old handle: %v", err)
	}
	if !handle.Wait(0) {
		return errors.New("the old handle waits for the stranger")
	}
	if err := checkStranger(Session{Leader: old, Token: token}); err != nil {
		return err
	}
	now, err := Identify(old.PID)
	if err != nil || now == old || !now.Alive() {
		return fmt.Errorf("the stranger is %+v, %v; it must live, and differ from %+v", now, err, old)
	}
	_ = second.Process.Kill()
	_ = second.Wait()
	fmt.Println("proved")
	return nil
}

// checkStranger tries to reach the process that has the program's pid by now.
func checkStranger(s Session) error {
	if s.Leader.Alive() {
		return errors.New("the old identity is alive")
	}
	if _, err := Open(s.Leader); !errors.Is(err, ErrGone) {
		return fmt.Errorf("opening the old identity: %v", err)
	}
	for _, serves := range []func(int) bool{nil, func(int) bool { return true }} {
		if found, err := s.Members(serves); err != nil || len(found) > 0 {
			return fmt.Errorf("the stranger is a member of the old tunnel: %d processes, %v", len(found), err)
		}
	}
	if id, err := s.Adopt(); !errors.Is(err, ErrGone) {
		return fmt.Errorf("the stranger was adopted: %+v, %v", id, err)
	}
	return nil
}

// startIn starts this program in a role, leading a session.
func startIn(role string, environ ...string) (*exec.Cmd, error) { return startAs(0, role, environ...) }

// startAs is startIn for that user; 0 is the calling one.
func startAs(uid uint32, role string, environ ...string) (*exec.Cmd, error) {
	cmd := inSession(exec.Command("/proc/self/exe"))
	cmd.Env = append(processtest.Environ(role), environ...)
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	if _, err := cmd.StdinPipe(); err != nil { // held open: the process lives until it is killed
		return nil, err
	}
	return cmd, cmd.Start()
}

// takePid starts processes of that user until one gets old's pid, at another tick of the clock than old did.
func takePid(old Identity, uid uint32) (*exec.Cmd, error) {
	time.Sleep(30 * time.Millisecond) // three ticks
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(old.PID-1)), 0); err != nil {
			return nil, err
		}
		cmd, err := startAs(uid, "sleep") // unless a thread of ours is faster
		if err != nil {
			return nil, err
		}
		if cmd.Process.Pid == old.PID {
			return cmd, nil
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return nil, errors.New("other processes take the pid again and again")
}
