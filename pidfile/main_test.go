package pidfile

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// roleVariable makes the test binary act as one of roles instead of running tests.
const roleVariable = "PIDFILE_TEST_ROLE"

// deadline is how long a test waits for what must happen.
const deadline = 20 * time.Second

func TestMain(m *testing.M) {
	words := strings.Fields(os.Getenv(roleVariable))
	if len(words) == 0 {
		os.Exit(m.Run())
	}
	time.AfterFunc(2*deadline, func() { os.Exit(3) }) // whatever becomes of the test
	role := roles[words[0]]
	if role == nil {
		role = systemRoles[words[0]]
	}
	if err := role(words[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helperCommand is this test binary in a role, with no token in its environment.
func helperCommand(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = roleEnviron(role, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

func roleEnviron(role string, args ...string) []string {
	environ := []string{"GORACE=atexit_sleep_ms=0"} // by default a program built with -race takes a second to end
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, TokenVariable+"=") && !strings.HasPrefix(v, roleVariable+"=") {
			environ = append(environ, v)
		}
	}
	if role == "" {
		return environ
	}
	return append(environ, roleVariable+"="+strings.Join(append([]string{role}, args...), " "))
}

// helper is a running helper process. It ends when its standard input does.
type helper struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner
}

// startHelper starts cmd, which is killed and reaped when the test ends at the latest.
func startHelper(t *testing.T, cmd *exec.Cmd) *helper {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd, in, bufio.NewScanner(out)}
	t.Cleanup(h.kill)
	return h
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

// kill ends and reaps the process.
func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	h.stdin.Close()
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

// untilEOF keeps a helper alive for as long as the test holds the other end of its standard input.
func untilEOF() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// eventually waits for a condition with a deadline.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}
