// Package sandbox gives tunhook a home of its own, in which it sees none of the user's tunnels and configuration, and which
// leaves nothing behind.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// patience bounds each command, none of which takes more than a few seconds.
const patience = 30 * time.Second

// Home is a home directory with a runtime directory, and a bin directory that comes first on PATH.
type Home struct {
	Dir     string
	Runtime string // XDG_RUNTIME_DIR
	Environ []string
	tunhook string
}

// New makes a home for the tunhook program at the path tunhook.
func New(tunhook string) (*Home, error) {
	tunhook, err := filepath.Abs(tunhook)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(tunhook); err != nil {
		return nil, fmt.Errorf("%w: make build", err)
	}
	dir, err := os.MkdirTemp("", "tunhook-")
	if err != nil {
		return nil, err
	}
	runtime, err := makeRuntime(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	h := &Home{Dir: dir, Runtime: runtime, tunhook: tunhook}
	h.Environ = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "PATH=")
	})
	h.Environ = append(h.Environ, "HOME="+dir, "XDG_RUNTIME_DIR="+h.Runtime, "PATH="+h.Path("bin")+":"+os.Getenv("PATH"))
	if err := os.Mkdir(h.Path("bin"), 0o700); err != nil {
		return nil, errors.Join(err, h.remove())
	}
	return h, nil
}

// makeRuntime makes a runtime directory on a tmpfs, where users have theirs, if this machine has one that anybody can use.
func makeRuntime(home string) (string, error) {
	if runtime, err := os.MkdirTemp("/dev/shm", "tunhook-"); err == nil {
		return runtime, nil
	}
	runtime := filepath.Join(home, "run")
	return runtime, os.Mkdir(runtime, 0o700)
}

func (h *Home) remove() error { return errors.Join(os.RemoveAll(h.Runtime), os.RemoveAll(h.Dir)) }

// Path is a path in the home directory.
func (h *Home) Path(elem ...string) string { return filepath.Join(append([]string{h.Dir}, elem...)...) }

// Write writes a file in the home directory, with the directories it needs, and returns its path.
func (h *Home) Write(name, content string, mode os.FileMode) (string, error) {
	path := h.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(content), mode)
}

// With is the same home with other environment variables, each NAME=VALUE.
func (h *Home) With(variables ...string) *Home {
	other := *h
	other.Environ = append(slices.Clone(h.Environ), variables...)
	return &other
}

// Command prepares a program of this home: its output is lost unless the caller wants it.
func (h *Home) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = h.Environ, h.Dir
	return cmd
}

// Tunhook runs tunhook and returns what it printed on stdout. The error has what it said on stderr.
func (h *Home) Tunhook(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := h.Command(ctx, h.tunhook, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("tunhook %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// Close ends every tunnel of this home and removes it.
func (h *Home) Close() error {
	_, err := h.Tunhook(context.Background(), "stop", "--all")
	return errors.Join(err, h.remove())
}
