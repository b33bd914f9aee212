package tunneltest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// realVariable names the program that the stand-in becomes.
const realVariable = "TUNNELTEST_REAL"

// generationsVariable is the one fault that changes on the way to a child.
const generationsVariable = "TUNNELTEST_GENERATIONS"

// faults are the misbehaviours that PomeriumCLI documents, as read from its environment.
type faults struct {
	exit        bool
	exitStatus  int
	exitText    string
	delay       time.Duration
	await       string
	listen      string
	real        string
	ignoreTerm  bool
	generations int
}

func parseFaults(environ []string) (f faults, err error) {
	if value := lookup(environ, "TUNNELTEST_EXIT"); value != "" {
		status, text, _ := strings.Cut(value, " ")
		f.exit = true
		if text != "" {
			f.exitText = text + "\n"
		}
		if f.exitStatus, err = strconv.Atoi(status); err != nil {
			return f, fmt.Errorf("TUNNELTEST_EXIT: %w", err)
		}
	}
	if value := lookup(environ, "TUNNELTEST_DELAY"); value != "" {
		if f.delay, err = time.ParseDuration(value); err != nil {
			return f, fmt.Errorf("TUNNELTEST_DELAY: %w", err)
		}
	}
	if value := lookup(environ, generationsVariable); value != "" {
		if f.generations, err = strconv.Atoi(value); err != nil {
			return f, fmt.Errorf("%s: %w", generationsVariable, err)
		}
	}
	f.await = lookup(environ, "TUNNELTEST_AWAIT")
	f.listen = lookup(environ, "TUNNELTEST_LISTEN")
	f.real = lookup(environ, realVariable)
	f.ignoreTerm = lookup(environ, "TUNNELTEST_IGNORE_TERM") != ""
	return f, nil
}

// wait returns when it is time to listen; ok is false where ctx is done before.
func (f faults) wait(ctx context.Context) (ok bool) {
	for pause := f.delay; ; pause = 5 * time.Millisecond {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
		if f.await == "" {
			return true
		}
		if _, err := os.Stat(f.await); err == nil {
			return true
		}
	}
}

// become executes the real program in place of this one.
func (f faults) become(args, environ []string) error {
	if i := slices.Index(args, "--listen"); f.listen != "" && i >= 0 && i+1 < len(args) {
		args = slices.Clone(args)
		args[i+1] = f.listen
	}
	return fmt.Errorf("%s: %w", f.real, syscall.Exec(f.real, append([]string{os.Args[0]}, args...), environ))
}

// lookup finds a variable in environ, the last one where there are several, as os/exec passes them on.
func lookup(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if value, found := strings.CutPrefix(environ[i], name+"="); found {
			return value
		}
	}
	return ""
}

// beget runs the program again as a child, with as many generations to follow, and waits for it. When ctx is done it leaves
// the child behind, as launchers do that were not written to be signalled.
func beget(ctx context.Context, args, environ []string, stdout, stderr io.Writer, events *eventLog, generations int) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	child := &exec.Cmd{
		Path:   self,
		Args:   append([]string{os.Args[0]}, args...),
		Env:    append(environ[:len(environ):len(environ)], fmt.Sprintf("%s=%d", generationsVariable, generations)),
		Stdout: stdout,
		Stderr: stderr,
	}
	if err := child.Start(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	events.info("started child", "pid", strconv.Itoa(child.Process.Pid))
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case <-ended:
		return child.ProcessState.ExitCode()
	case <-ctx.Done():
		return 0
	}
}
