package autostart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Systemd is the systemd user manager, asked through systemctl(1).
type Systemd struct {
	// Run runs systemctl with these arguments, besides those that every call has, and gives its standard output. The error is a
	// *SystemdError.
	Run func(ctx context.Context, args ...string) (stdout []byte, err error)
}

// SystemdError says what systemctl failed at.
type SystemdError struct {
	Args   []string
	Reason string // what it said, on one line
	Err    error
}

func (e *SystemdError) Error() string {
	return fmt.Sprintf("systemctl --user %s: %s", strings.Join(e.Args, " "), e.Reason)
}

func (e *SystemdError) Unwrap() error { return e.Err }

// patience bounds one call of systemctl. Starting and stopping wait for the units: a listener has its tunnel's program to end.
const patience = time.Minute

// Systemctl is the manager that the program systemctl asks; environ is its environment. The path comes from the caller, "" where
// there is no such program. It inherits the lock, which may be nil: where the caller is killed while it runs, nobody else shall get
// the lock before it has ended.
func Systemctl(path string, environ []string, lock *os.File) Systemd {
	return Systemd{func(ctx context.Context, args ...string) ([]byte, error) {
		if path == "" {
			return nil, &SystemdError{args, "there is no systemctl on PATH", exec.ErrNotFound}
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append([]string{"--user", "--no-pager", "--no-ask-password"}, args...)...)
		cmd.Env = append(slices.Clone(environ), "LC_ALL=C", "SYSTEMD_COLORS=0")
		if lock != nil {
			cmd.ExtraFiles = []*os.File{lock}
		}
		cmd.WaitDelay = time.Second // what it has started may keep its output open
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if err == nil {
			return stdout.Bytes(), nil
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if said == "" {
			said = err.Error()
		}
		return nil, &SystemdError{args, strings.ToValidUTF8(said, "?"), err}
	}}
}

// answerPatience bounds a question, above all whether a manager is there: it answers in milliseconds or, being stuck, not at all;
// but on a busy machine it takes a while to start systemctl.
const answerPatience = 20 * time.Second

// Environment gives the names of the variables that the manager passes on to what it starts. An error says that no manager answers.
func (s Systemd) Environment(ctx context.Context) ([]string, error) {
	names, err := s.Variables(ctx)
	for i, variable := range names {
		names[i], _, _ = strings.Cut(variable, "=")
	}
	return names, err
}

// Variables gives those variables as NAME=VALUE. A value with special characters is quoted for a shell, and begins with $' then.
func (s Systemd) Variables(ctx context.Context) ([]string, error) {
	out, err := s.ask(ctx, "show-environment")
	if err != nil {
		return nil, err
	}
	var variables []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "=") {
			variables = append(variables, strings.TrimSuffix(line, "\n"))
		}
	}
	return variables, nil
}

// Looks tells by an error that the manager does not look for units in dir: it was started with an environment of its own.
func (s Systemd) Looks(ctx context.Context, dir string) error {
	out, err := s.ask(ctx, "show", "--property=UnitPath", "--value")
	if err == nil && !strings.Contains(" "+strings.TrimSpace(string(out))+" ", " "+dir+" ") {
		return &FileError{dir, "is not where the systemd user manager looks for units", "unset XDG_CONFIG_HOME, or set it for that manager too"}
	}
	return err
}

// Active is the ActiveState of a socket that listens, and of a service that runs; Failed that of one that has to be reset.
const (
	Active   = "active"
	Inactive = "inactive"
	Failed   = "failed"
)

// Unit is what the manager knows of a unit.
type Unit struct {
	Loaded bool   // its file is there, and as it was when the manager read it
	Stale  bool   // the manager knows it as it was before its file was changed or removed
	Active string // ActiveState of org.freedesktop.systemd1.Unit: Active, Inactive, Failed, "activating" …
}

// Units tells about units, in that order.
func (s Systemd) Units(ctx context.Context, names ...string) ([]Unit, error) {
	out, err := s.ask(ctx, append([]string{"show", "--property=Id,LoadState,ActiveState,NeedDaemonReload"}, names...)...)
	if err != nil {
		return nil, err
	}
	units := make([]Unit, len(names))
	for text := range strings.SplitSeq(string(out), "\n\n") {
		values := map[string]string{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			values[name] = value
		}
		if i := slices.Index(names, values["Id"]); i >= 0 {
			loaded, stale := values["LoadState"] == "loaded", values["NeedDaemonReload"] == "yes"
			units[i] = Unit{Loaded: loaded && !stale, Stale: loaded && stale, Active: values["ActiveState"]}
		}
	}
	return units, nil
}

// Reload makes the manager read its units anew.
func (s Systemd) Reload(ctx context.Context) error { return s.do(ctx, "daemon-reload") }

// Start starts a unit.
func (s Systemd) Start(ctx context.Context, unit string) error { return s.do(ctx, "start", unit) }

// Stop stops units, one after the other, and waits until they have ended.
func (s Systemd) Stop(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := unlessUnknown(s.do(ctx, "stop", name)); err != nil {
			return err
		}
	}
	return nil
}

// ResetFailed makes the manager forget that units have failed; it keeps those that it has no file of until then.
func (s Systemd) ResetFailed(ctx context.Context, names ...string) error {
	return unlessUnknown(s.do(ctx, append([]string{"reset-failed"}, names...)...))
}

// unlessUnknown leaves out the error that the manager does not know a unit.
func unlessUnknown(err error) error {
	var failed *SystemdError
	if errors.As(err, &failed) && strings.HasSuffix(failed.Reason, " not loaded.") {
		return nil
	}
	return err
}

func (s Systemd) ask(ctx context.Context, args ...string) (stdout []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	return s.Run(ctx, args...)
}

func (s Systemd) do(ctx context.Context, args ...string) error {
	_, err := s.Run(ctx, args...)
	return err
}
