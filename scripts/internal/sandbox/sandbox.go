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
	h := &Home{Dir: dir, tunhook: tunhook}
	h.Environ = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "PATH=")
	})
	h.Environ = append(h.Environ, "HOME="+dir, "XDG_RUNTIME_DIR="+h.Path("run"), "PATH="+h.Path("bin")+":"+os.Getenv("PATH"))
	for _, sub := range []string{"run", "bin"} {
		if err := os.Mkdir(h.Path(sub), 0o700); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return h, nil
}

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
	return errors.Join(err, os.RemoveAll(h.Dir))
}
