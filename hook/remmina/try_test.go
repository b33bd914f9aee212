package remmina

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// opens is a Remmina that opens the profile it is given: "hook" stands for running its command, as g_shell_parse_argv(3) takes it
// apart, and "connect" for connecting to its server.
const opens = `#!/bin/bash
[ "$1" = -c ] || exit 1
value() { sed -n "s/^$1=//p" "$profile" | sed 's/\\\\/\\/g'; }
profile=$2
hook() { eval "$(value precommand)"; }
connect() { server=$(value server); exec 3<>"/dev/tcp/${server%:*}/${server#*:}"; }
`

// trial is a machine with that Remmina, in the temporary directory of which nothing is to be left.
func trial(t *testing.T, script string) Machine {
	t.Helper()
	root := t.TempDir()
	place(t, root, "bin/remmina", opens+script)
	tmp := filepath.Join(root, "t m$p'")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v, %v", left, err)
		}
	})
	environ := []string{"PATH=/usr/bin:/bin", "HOME=" + root, "OUT=" + filepath.Join(root, "out")}
	return Machine{Root: root, Path: filepath.Join(root, "bin"), Environ: environ, Patience: tunneltest.Patience}
}

func TestTryTellsWhetherARemminaRunsCommands(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		runs   bool
		err    error
	}{
		"runs":                     {"hook; connect; sleep 300", true, nil},
		"runs none":                {"connect; sleep 300", false, nil},
		"runs, and cannot connect": {"hook; exit 1", true, nil},
		"ends":                     {"exit 0", false, ErrUntold},
	} {
		t.Run(name, func(t *testing.T) {
			runs, err := trial(t, tc.script).Try(t.Context())
			if runs != tc.runs || !errors.Is(err, tc.err) {
				t.Errorf("%v, %v", runs, err)
			}
		})
	}
	m := trial(t, "sleep 300")
	m.Patience = time.Second
	if runs, err := m.Try(t.Context()); runs || !errors.Is(err, ErrUntold) {
		t.Errorf("one that hangs: %v, %v", runs, err)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	m = trial(t, `echo $$ >"$OUT"; exec sleep 300`)
	pid := filepath.Join(m.Root, "out")
	go func() {
		for began := time.Now(); interrupted.Err() == nil; tunneltest.Pause(began) {
			if text, _ := os.ReadFile(pid); strings.HasSuffix(string(text), "\n") {
				interrupt()
			}
		}
	}()
	if runs, err := m.Try(interrupted); runs || interrupted.Err() == nil {
		t.Errorf("one that is interrupted: %v, %v", runs, err)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(text))); err == nil {
		t.Error("one that is interrupted lives on")
	}
	m.Path = ""
	if _, err := m.Try(t.Context()); !errors.Is(err, ErrNotNative) {
		t.Errorf("none: %v", err)
	}
}

// TestTryKeepsOffTheSession of the user's: it has the display, and neither the bus nor the files.
func TestTryKeepsOffTheSession(t *testing.T) {
	m := trial(t, `env >"$OUT"; touch "$HOME/.Xauthority" "$XDG_CONFIG_HOME/written"; hook; connect; sleep 300`)
	root := m.Root
	m.Environ = append(m.Environ, "DISPLAY=:7", "WAYLAND_DISPLAY=wayland-0", "XDG_RUNTIME_DIR="+root+"/run",
		"XDG_CONFIG_HOME="+root+"/config", "DBUS_SESSION_BUS_ADDRESS=unix:path="+root+"/run/bus")
	if runs, err := m.Try(t.Context()); !runs || err != nil {
		t.Fatalf("%v, %v", runs, err)
	}
	text, err := os.ReadFile(filepath.Join(root, "out"))
	if err != nil {
		t.Fatal(err)
	}
	environ := strings.Split(string(text), "\n")
	for _, want := range []string{"DISPLAY=:7", "WAYLAND_DISPLAY=" + root + "/run/wayland-0", "XAUTHORITY=" + root + "/.Xauthority"} {
		if !slices.Contains(environ, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
		at := slices.IndexFunc(environ, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		if at < 0 || !strings.Contains(environ[at], "/tunhook-remmina-") {
			t.Errorf("%s is not of its own: %q", name, environ)
		}
	}
	for _, path := range []string{".Xauthority", "config", "run"} {
		if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
			t.Errorf("%s was made", path)
		}
	}
}
