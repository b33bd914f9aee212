//go:build e2e

package e2epackages

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// root is a bare root of a release of Debian, with a shell of root's in it that one command after the other is given to.
type root struct {
	t     *testing.T
	stdin io.Writer
	out   *bufio.Reader
}

// newRoot starts one, which sees a directory as /packages and is gone at the end of the test.
func newRoot(t *testing.T, release, packages string) *root {
	t.Helper()
	cmd := exec.Command("../e2e-bare-root", release, packages)
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = t.Output()
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // with the status of the last command
	})
	r := &root{t: t, stdin: stdin, out: bufio.NewReader(stdout)}
	r.run("true") // after which the root is there
	return r
}

const finished = "-- finished with status "

// try runs a command of the shell's, and returns what it prints and its status.
func (r *root) try(command string) (output string, status int) {
	r.t.Helper()
	_, err := fmt.Fprintf(r.stdin, "{ %s\n} </dev/null 2>&1; status=$?; echo; echo %q$status\n", command, finished)
	check(r.t, err)
	var b strings.Builder
	for {
		line, err := r.out.ReadString('\n')
		if err != nil {
			r.t.Fatalf("%s: the root is gone: %v\n%s", command, err, &b)
		}
		if s, ok := strings.CutPrefix(line, finished); ok {
			status, err = strconv.Atoi(strings.TrimSpace(s))
			check(r.t, err)
			return strings.TrimSpace(b.String()), status
		}
		b.WriteString(line)
	}
}

// run runs a command that has to succeed.
func (r *root) run(command string) string {
	r.t.Helper()
	out, status := r.try(command)
	if status != 0 {
		r.t.Fatalf("%s: status %d\n%s", command, status, out)
	}
	return out
}

// as makes a command into one that a user runs, who has logged in.
func as(user, command string) string {
	return "runuser --login " + user + " --command '" + command + "'"
}
