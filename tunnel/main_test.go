package tunnel

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// roleVariable makes the test binary act as one of roles instead of running tests.
const roleVariable = "TUNNEL_TEST_ROLE"

// deadline is how long a test waits for what must happen.
const deadline = time.Minute

func TestMain(m *testing.M) {
	words := strings.Fields(os.Getenv(roleVariable))
	if len(words) == 0 {
		os.Exit(m.Run())
	}
	time.AfterFunc(10*deadline, func() { os.Exit(3) }) // whatever becomes of the test
	if err := roles[words[0]](words[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roleEnviron is an environment in which the test binary plays a role.
func roleEnviron(words ...string) []string {
	environ := []string{"GORACE=atexit_sleep_ms=0"} // by default a program built with -race takes a second to end
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, roleVariable+"=") {
			environ = append(environ, v)
		}
	}
	return append(environ, roleVariable+"="+strings.Join(words, " "))
}

// helper is the test binary in a role.
type helper struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// startHelper starts the test binary in a role. It is killed and reaped when the test ends at the latest.
func startHelper(t *testing.T, words ...string) *helper {
	t.Helper()
	cmd := exec.Command(self(t))
	cmd.Env, cmd.Stderr = roleEnviron(words...), os.Stderr
	return startCommand(t, cmd)
}

func startCommand(t *testing.T, cmd *exec.Cmd) *helper {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd, bufio.NewScanner(out)}
	t.Cleanup(h.kill)
	return h
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// identified is the session of the program that has that pid.
func identified(t *testing.T, pid int) process.Session {
	t.Helper()
	id, err := process.Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	return process.Session{Leader: id}
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// line waits for the next line that the helper writes; a helper always writes one or ends.
func (h *helper) line(t *testing.T) string {
	t.Helper()
	if !h.lines.Scan() {
		t.Fatalf("the helper ended: %v", h.lines.Err())
	}
	if text := h.lines.Text(); !strings.HasPrefix(text, "error:") {
		return text
	}
	t.Fatalf("the helper failed: %s", h.lines.Text())
	return ""
}
