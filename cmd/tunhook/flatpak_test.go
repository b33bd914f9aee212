package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/hook/flatpak"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

func TestTheParentIsTheCallerOutsideASandbox(t *testing.T) {
	t.Parallel()
	want, err := process.Identify(os.Getppid())
	if err != nil {
		t.Skip(err)
	}
	for _, environ := range [][]string{nil, {"XDG_RUNTIME_DIR=" + t.TempDir()}, {"XDG_RUNTIME_DIR=relative"}, {instanceVariable + "="}} {
		c := &command{environ: environ}
		if got, err := c.parent([]string{"tunhook", "start"}); err != nil || got != want {
			t.Errorf("with %q: %v, %v, want %v", environ, got, err, want)
		}
	}
}

func TestTheParentOfAnOrphanIsGone(t *testing.T) {
	t.Parallel()
	if got, err := callerOf(1); !errors.Is(err, process.ErrGone) {
		t.Errorf("got %v, %v, want ErrGone", got, err)
	}
}

func TestTheParentIsTheSandboxThatIsNamedOrNothing(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	if err := os.MkdirAll(filepath.Join(run, ".flatpak", "4711"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, ".flatpak", "4711", ".ref"), nil, 0o600); err != nil { // nobody holds its lock
		t.Fatal(err)
	}
	for instance, gone := range map[string]bool{"4711": true, "4712": true, "../4711": false, "x": false} {
		c := &command{environ: []string{"XDG_RUNTIME_DIR=" + run, instanceVariable + "=" + instance}}
		if got, err := c.parent(nil); err == nil || errors.Is(err, flatpak.ErrGone) != gone {
			t.Errorf("instance %q: %v, %v", instance, got, err)
		}
	}
}

func TestEndWithASandboxThatIsGoneIsRefused(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.environ = append(a.environ, instanceVariable+"=4711")
	a.refused(exitUsage, "the sandbox has ended", "start", relayTo(t, tunneltest.ResponderOptions{}), a.address, "--end-with", "parent")
}

func TestFailuresToGetOnTheHostHaveTheirStatus(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		exitNoProgram:  &flatpak.ProgramError{Program: "tunhook", Err: fs.ErrNotExist},
		exitUnexpected: &flatpak.ProgramError{Program: "tunhook", Err: fs.ErrPermission},
	} {
		if got := hostStatus(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: status %d, want %d", err, got, want)
		}
	}
	refused := &flatpak.PermissionError{AppID: "org.remmina.Remmina"}
	if got := hostStatus(refused); got != exitUnexpected {
		t.Errorf("%v: status %d", refused, got)
	}
	if text, _ := explain(refused); !strings.Contains(text, "flatpak override --user --talk-name=org.freedesktop.Flatpak org.remmina.Remmina") {
		t.Errorf("no way out in %q", text)
	}
}

func TestTheHostGetsTheWorkingDirectoryWhereItHasIt(t *testing.T) {
	home := t.TempDir()
	below := filepath.Join(home, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ dir, home, want string }{
		{home, home, home},
		{below, home, below},
		{t.TempDir(), home, "/"},
		{home, below, "/"},
		{home, "", "/"},
	} {
		t.Chdir(test.dir)
		if got := (&command{environ: []string{"HOME=" + test.home}}).hostDir(); got != test.want {
			t.Errorf("in %s with home %q: %s, want %s", test.dir, test.home, got, test.want)
		}
	}
}
