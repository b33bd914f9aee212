package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// StepError says which of the commands has failed that run before a tunnel program or after its tunnel.
type StepError struct {
	When string // "before" or "after"
	Step []string
	Err  error // a *tunnel.ProgramError, or how it has ended
}

func (e *StepError) Error() string {
	var missing *tunnel.ProgramError
	if errors.As(e.Err, &missing) {
		return fmt.Sprintf("%s: %v", e.When, e.Err)
	}
	return fmt.Sprintf("%s: %s failed (%v)", e.When, strings.Join(e.Step, " "), e.Err)
}

// ErrStep says that a command before a tunnel program has failed, so that that was not launched.
var ErrStep = errors.New("a command before the tunnel program has failed")

// beforeVariable is the environment variable that tells what to run before the tunnel program. A command line anybody may read.
const beforeVariable = "TUNHOOK_BEFORE"

// undoVariable tells what to run when one of them fails because what it brings up is up still: that takes it down. Only then, since it
// may serve others, too.
const undoVariable = "TUNHOOK_BEFORE_UNDO"

// beforeCommand is the argument that makes tunhook run the commands before a tunnel program, and then that.
const beforeCommand = "before"

// stepFailed is how the line in the log begins that says which of them has failed.
const stepFailed = "tunhook: before: "

// withBefore puts tunhook itself in front of a tunnel program that has commands before it. It runs them, and executes the program
// in its own place: so they are part of the tunnel from the beginning, which a stop ends, no lock is held, and nothing of
// ours is left when the program runs.
func (tx *transaction) withBefore(argv, environ []string) ([]string, []string, error) {
	if len(tx.before) == 0 {
		return argv, environ, nil
	}
	before, err1 := json.Marshal(tx.before)
	undo, err2 := json.Marshal(tx.undo)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	environ = append(environ, beforeVariable+"="+string(before), undoVariable+"="+string(undo))
	tx.before, tx.undo = nil, nil
	return append([]string{tx.Self, beforeCommand, "--"}, argv...), environ, nil
}

// stepsAgain has the commands run that come before a tunnel program, although they have run for the tunnel before.
func (tx *transaction) stepsAgain(route tunnel.Route) {
	public := tx.rec.Public()
	tx.before, tx.undo = route.Before(public, tx.Self), route.After(public, tx.Self)
}

// Before runs the commands before a tunnel program, which it is told through its environment, and then executes that: it returns
// only with an error, a *StepError where a command has failed. What they print goes to the log.
func (h *Env) Before(ctx context.Context, argv []string, log *os.File) error {
	var steps, undo tunnel.Steps
	if err := json.Unmarshal([]byte(tunnel.Getenv(h.Environ, beforeVariable)), &steps); err != nil {
		return fmt.Errorf("before: %s does not say what to run: %w", beforeVariable, err)
	}
	_ = json.Unmarshal([]byte(tunnel.Getenv(h.Environ, undoVariable)), &undo) // a tunhook that was before this one has none
	signal.Ignore(tunnel.IgnoredByLaunch)                                     // as it was when this process was launched
	environ := withToken(h.Environ, tunnel.Getenv(h.Environ, process.TokenVariable))
	if socket := tunnel.Getenv(h.Environ, askVariable); socket != "" {
		environ = append(environ, askVariable+"="+socket)
	}
	run := func() error {
		for _, step := range steps {
			if err := runStep(ctx, "before", step, environ, log); err != nil {
				return err
			}
		}
		return nil
	}
	err := run()
	switch {
	case err == nil || len(undo) == 0 || ctx.Err() != nil:
	case h.othersNeedSteps(tunnel.Getenv(h.Environ, process.TokenVariable)):
		fmt.Fprintf(log, "%v: another tunnel may need what is up, so that stays, and the program is launched\n", err)
		err = nil
	default:
		fmt.Fprintf(log, "%v: what is up still is taken down first\n", err)
		_ = runAll(ctx, undo, environ, log) // what is down already counts for nothing
		err = run()
	}
	if err != nil {
		return err
	}
	if err := h.noteAround(ctx, tunnel.Getenv(h.Environ, process.TokenVariable)); err != nil {
		fmt.Fprintf(log, "before: %v\n", err) // at worst the tunnel is taken for dead, and replaced once
	}
	if held := tunnel.Getenv(h.Environ, pageVariable); held != "" { // for their pages nobody waits in vain
		environ = append(environ, pageVariable+"="+held)
	}
	return &StepError{"before", argv, syscall.Exec(argv[0], argv, environ)}
}

// othersNeedSteps tells whether another tunnel than that with the token has had commands before it, and lives: a VPN may be common to
// them, and nobody's session is cut for another one's.
func (h *Env) othersNeedSteps(token string) bool {
	dir, err := h.records(false)
	if err != nil {
		return false
	}
	entries, err := dir.List()
	return err != nil || slices.ContainsFunc(entries, func(e pidfile.Entry) bool {
		return e.Err == nil && e.Record.After && e.Record.Token != token && running(e.Record)
	})
}

// noteAround notes once more what the machine is like, for the tunnel with that token: a VPN that has come up may have taken the default
// route, or have got another address than the last time.
func (h *Env) noteAround(ctx context.Context, token string) error {
	dir, err := h.records(false)
	if err != nil {
		return err
	}
	entries, err := dir.List()
	for _, e := range entries {
		if e.Err == nil && e.Record.Token == token {
			_, err = h.update(ctx, dir, e.Record.Key(), token, func(tx *transaction) error {
				tx.lookAround()
				return nil
			})
		}
	}
	return err
}

// stepGrace is the time that a command has to end which nobody wants to wait for any more.
const stepGrace = 5 * time.Second

func runStep(ctx context.Context, when string, step, environ []string, log *os.File) error {
	path, err := tunnel.FindProgram(step[0], tunnel.Getenv(environ, "PATH"))
	if err != nil {
		return &StepError{when, step, err}
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = step, environ, "/", log, log
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, stepGrace
	if err := cmd.Run(); err != nil {
		return &StepError{when, step, err}
	}
	return nil
}

// after runs the commands that were to run when the record's tunnel has ended, which it has, once: whoever ends it at the same time
// waits for the one that runs them. Each of them runs, whatever became of the one before; the error is *StepErrors.
func (h *Env) after(ctx context.Context, dir pidfile.Dir, rec pidfile.Record) error {
	if !rec.After {
		return nil
	}
	self, err := process.Self()
	if err != nil {
		return err
	}
	for {
		found, err := h.update(ctx, dir, rec.Key(), rec.Token, func(tx *transaction) error {
			if !tx.rec.Cleaner.Alive() {
				tx.rec.Cleaner = self
			}
			rec = tx.rec
			return nil
		})
		if err != nil || !found {
			return err
		}
		if rec.Cleaner == self {
			return h.runAfter(ctx, rec)
		}
		if other, err := process.Open(rec.Cleaner); err == nil {
			other.Wait(waitPause)
			other.Close()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (h *Env) runAfter(ctx context.Context, rec pidfile.Record) error {
	t, err := h.target(rec.Route, rec.Listen)
	if err != nil {
		return fmt.Errorf("after: it is not known any more what is to run: %w", err)
	}
	log, err := logOrNowhere(rec)
	if err != nil {
		return err
	}
	defer log.Close()
	return runAll(ctx, t.route.After(rec.Public(), h.Self), withToken(h.Environ, ""), log)
}

// runAll runs commands that take something down: each of them, whatever becomes of the others.
func runAll(ctx context.Context, steps tunnel.Steps, environ []string, log *os.File) error {
	var failed []error
	for _, step := range steps {
		if err := runStep(ctx, "after", step, environ, log); err != nil {
			fmt.Fprintf(log, "tunhook: %v\n", err)
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// step tells whether it was a command before the tunnel program that has failed, and says so then.
func (e *FailedError) step() bool {
	last := len(e.Lines) - 1
	if last < 0 {
		return false
	}
	step, ok := strings.CutPrefix(e.Lines[last], stepFailed)
	if ok {
		e.Err, e.Reason, e.Lines = ErrStep, "was not started: before it, "+step, e.Lines[:last]
	}
	return ok
}
