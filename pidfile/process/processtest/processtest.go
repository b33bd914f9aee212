// Package processtest is for tests that need other processes: the test binary, run once more, plays them.
package processtest

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
const roleVariable = "TUNHOOK_TEST_ROLE"

// tokenVariable is process.TokenVariable, which this package may not import: a tunnel's test must not hand its token on unasked.
const tokenVariable = "TUNHOOK_TOKEN"

// Deadline is how long a test waits for what must happen.
const Deadline = time.Minute

// Main is the TestMain of a test binary that can play those roles. A role's arguments hold no spaces. Each says on its standard
// output when it is where it shall be.
func Main(m *testing.M, roles map[string]func(args []string) error) {
	words := strings.Fields(os.Getenv(roleVariable))
	if len(words) == 0 {
		os.Exit(m.Run())
	}
	time.AfterFunc(10*Deadline, func() { os.Exit(3) }) // whatever becomes of the test
	if err := roles[words[0]](words[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Command is this test binary in a role, with no token in its environment.
func Command(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = Environ(role, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// Environ is an environment in which the test binary plays a role, or with "" runs tests.
func Environ(role string, args ...string) []string {
	environ := []string{"GORACE=atexit_sleep_ms=0"} // by default a program built with -race takes a second to end
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, tokenVariable+"=") && !strings.HasPrefix(v, roleVariable+"=") {
			environ = append(environ, v)
		}
	}
	if role == "" {
		return environ
	}
	return append(environ, roleVariable+"="+strings.Join(append([]string{role}, args...), " "))
}

// Helper is a running helper process.
type Helper struct {
	Cmd   *exec.Cmd
	Stdin io.Closer // a helper that waits by UntilEOF ends when this is closed
	lines *bufio.Scanner
}

// Start starts cmd, which is killed and reaped when the test ends at the latest.
func Start(t *testing.T, cmd *exec.Cmd) *Helper {
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
	h := &Helper{cmd, in, bufio.NewScanner(out)}
	t.Cleanup(h.Kill)
	return h
}

// PID is the helper's process id.
func (h *Helper) PID() int { return h.Cmd.Process.Pid }

// Kill ends and reaps the process.
func (h *Helper) Kill() {
	_ = h.Cmd.Process.Kill()
	h.Stdin.Close()
	_ = h.Cmd.Wait()
}

// Line waits for the next line that the helper writes; a helper always writes one or ends.
func (h *Helper) Line(t *testing.T) string {
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

// UntilEOF keeps a helper alive for as long as the test holds the other end of its standard input.
func UntilEOF() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// Eventually waits for a condition with a deadline.
func Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Deadline); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", Deadline, what)
		}
	}
}
