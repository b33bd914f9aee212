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

	"golang.org/x/sys/unix"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
)

// Two users of the tests.
const (
	user     = 61900
	neighbor = 61901
)

// TestHiddenProcesses: /proc hides other users' processes, and those of one's own that are private, proc(5) on hidepid. Only root can
// make such a /proc and such users.
func TestHiddenProcesses(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make processes of other users")
	}
	for _, hidepid := range []string{"1", "2"} {
		cmd := inNamespaces(processtest.Command(t, "hide", hidepid), unix.CLONE_NEWPID|unix.CLONE_NEWNS)
		out, err := cmd.Output()
		switch {
		case err != nil && !errors.As(err, new(*exec.ExitError)):
			t.Skipf("no pid namespace may be made here: %v", err)
		case strings.HasPrefix(string(out), notHere):
			t.Skipf("hidepid=%s: %s", hidepid, out)
		case err != nil || string(out) != "proved\n":
			t.Errorf("hidepid=%s: %v: %s", hidepid, err, out)
		}
	}
}

// hide is process 1 of a new PID namespace, whose /proc hides. A process of the user's ends and another user's gets its pid; then the
// user looks.
func hide(args []string) error {
	for _, err := range []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, "hidepid="+args[0]),
	} {
		if err != nil {
			fmt.Println(notHere, "mounting /proc:", err)
			return nil
		}
	}
	token := NewToken()
	first, err := startAs(user, "sleep", TokenVariable+"="+token)
	if err != nil {
		return err
	}
	old, err := Identify(first.Process.Pid)
	if err != nil {
		return err
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	if _, err := takePid(old, neighbor); err != nil {
		fmt.Println(notHere, err)
		return nil
	}
	look := exec.Command("/proc/self/exe")
	look.Env = processtest.Environ("lookhidden", strconv.Itoa(old.PID), strconv.FormatUint(old.StartTicks, 10), old.BootID, token)
	look.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := look.Output()
	fmt.Print(string(out))
	return err
}

// lookHidden looks at a stranger that is hidden, as the user whose process had its pid before, and at a private process of its own.
func lookHidden(args []string) error {
	pid, _ := strconv.Atoi(args[0])
	ticks, _ := strconv.ParseUint(args[1], 10, 64)
	old := Identity{pid, ticks, args[2]}
	if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		return errors.New("the stranger is not hidden")
	}
	if err := checkStranger(Session{Leader: old, Token: args[3]}); err != nil {
		return err
	}
	var hidden *HiddenError
	if _, err := Identify(pid); !errors.As(err, &hidden) || !hidden.Other {
		return fmt.Errorf("the stranger identified: %v", err)
	}
	own, err := startIn("private")
	if err != nil {
		return err
	}
	defer own.Process.Kill()
	id, err := Identify(own.Process.Pid)
	for err == nil { // it makes itself private soon
		id, err = Identify(own.Process.Pid)
	}
	if !errors.As(err, &hidden) || hidden.Other {
		return fmt.Errorf("the private process identified: %+v, %v", id, err)
	}
	id = Identity{own.Process.Pid, 1, args[2]}
	if _, err := Open(id); !id.Alive() || !errors.As(err, new(*HiddenError)) {
		return fmt.Errorf("the private process counts as ended: %v", err)
	}
	fmt.Println("proved")
	return nil
}

// bePrivate asks the kernel that nobody but root may look into this process, prctl(2).
func bePrivate([]string) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return processtest.UntilEOF()
}
