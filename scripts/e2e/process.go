//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// patience is how long a thing may take on a busy machine. Only a test that fails waits
// that long.
const patience = time.Minute

// A process is a program that a user started and that goes on running.
type process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	log   string        // its output, among the artifacts
	ended chan struct{} // closed once it has ended and was waited for
}

// start starts a program, which is ended with the test.
func (u *user) start(argv ...string) *process {
	u.t.Helper()
	return u.startCommand(u.command(argv...))
}

// command returns a program that is ready to be started in the user's environment, in
// a process group of its own. It dies with the tests, even if these are killed.
func (u *user) command(argv ...string) *exec.Cmd {
	name, credential := argv[0], u.credential
	if u.login != nil {
		argv, credential = u.inLogin(argv), nil
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Args[0] = name
	cmd.Env = u.env()
	cmd.Dir = u.home
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
		Credential: credential,
	}
	return cmd
}

func (u *user) startCommand(cmd *exec.Cmd) *process {
	u.t.Helper()
	name := filepath.Base(cmd.Args[0])
	log, err := os.CreateTemp(u.artifacts, name+"-*.log")
	if err != nil {
		u.t.Fatal(err)
	}
	defer log.Close()
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	p := &process{t: u.t, name: name, cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the status is read from cmd.ProcessState
	}()
	u.t.Cleanup(p.cleanUp)
	return p
}

// cleanUp stops the process. If the test failed and the process was gone already, its
// last words may say why.
func (p *process) cleanUp() {
	gone := !p.alive()
	p.stop()
	if gone && p.t.Failed() {
		p.t.Logf("%s (%v) said, in %s:\n%s", p.name, p.cmd.ProcessState, p.log, p.lastOutput())
	}
}

func (p *process) lastOutput() string {
	output, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// stop ends the process by SIGTERM, or else by SIGKILL, and waits until it has ended.
func (p *process) stop() {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p.signal(signal)
		select {
		case <-p.ended:
			return
		case <-time.After(2 * time.Second):
		}
	}
	<-p.ended
}

// signal signals the process, unless it has ended.
func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("cannot send %v to %s: %v", signal, p.name, err)
	}
}

// alive reports whether the process has not ended.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// wait returns the status that the process exits with, 128+N where a signal N ends it.
func (p *process) wait(timeout time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return exitStatus(p.cmd.ProcessState)
	case <-time.After(timeout):
		p.t.Fatalf("%s is still running after %v", p.name, timeout)
		return -1
	}
}

func exitStatus(state *os.ProcessState) int {
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// A result is what a program that has ended leaves behind.
type result struct {
	status         int // 128+N where a signal N ended it
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("status %d after %v\nstdout: %s\nstderr: %s",
		r.status, r.took.Round(time.Millisecond), r.stdout, r.stderr)
}

// run runs a program to its end, at most for two minutes. Its output goes to files, so
// that a child it leaves behind does not hold up the test.
func (u *user) run(argv ...string) result {
	u.t.Helper()
	cmd := u.command(argv...)
	stdout, stderr := u.scratch(), u.scratch()
	defer stdout.Close()
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	started := time.Now()
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	overdue := time.AfterFunc(2*time.Minute, func() {
		u.t.Errorf("killed, because it ran for over two minutes: %q", argv)
		_ = cmd.Process.Kill()
	})
	defer overdue.Stop()
	_ = cmd.Wait() // the status is read from cmd.ProcessState
	return result{
		status: exitStatus(cmd.ProcessState),
		stdout: u.read(stdout.Name()),
		stderr: u.read(stderr.Name()),
		took:   time.Since(started),
	}
}

// must runs a program that has to succeed and returns what it printed.
func (u *user) must(argv ...string) string {
	u.t.Helper()
	got := u.run(argv...)
	if got.status != 0 {
		u.t.Fatalf("%q: %v", argv, got)
	}
	return got.stdout
}

func (u *user) scratch() *os.File {
	u.t.Helper()
	file, err := os.CreateTemp(u.dir, "output-")
	if err != nil {
		u.t.Fatal(err)
	}
	return file
}

// eventually waits until a condition holds, and fails the test where that takes longer
// than the timeout, which is patience where nothing else is part of it.
func eventually(t testing.TB, timeout time.Duration, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); tunneltest.Pause(began) {
		if time.Since(began) > timeout {
			t.Fatalf("after %v still not: %s", timeout, what)
		}
	}
}
