package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestDirectoriesThatCannotBeTrustedAreRefused: the message names the directory and the way out; nothing is made anywhere.
func TestDirectoriesThatCannotBeTrustedAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(w *world) *world
		words []string
	}{
		"runtime directory missing": {func(w *world) *world {
			check(w.t, os.Remove(w.path("run")))
			return w
		}, []string{"/run does not exist: ", "create it with mode 0700"}},
		"runtime directory open to others": {func(w *world) *world {
			check(w.t, os.Chmod(w.path("run"), 0o777))
			return w
		}, []string{"/run has mode 0777: others must not reach it: chmod 0700 "}},
		"runtime directory a link": {func(w *world) *world {
			check(w.t, os.Rename(w.path("run"), w.path("real")))
			check(w.t, os.Symlink("real", w.path("run")))
			return w
		}, []string{"/run is a symbolic link: "}},
		"runtime directory a file": {func(w *world) *world {
			check(w.t, os.Remove(w.path("run")))
			check(w.t, os.WriteFile(w.path("run"), nil, 0o700))
			return w
		}, []string{"/run is not a directory: "}},
		"runtime directory somebody else's": {func(w *world) *world {
			if os.Geteuid() != 0 {
				return w.with("XDG_RUNTIME_DIR=/root")
			}
			check(w.t, os.Chown(w.path("run"), 65534, 65534))
			return w
		}, []string{"belongs to uid ", "not to you", "run tunhook as that user"}},
		"runtime directory unwritable": {func(w *world) *world {
			check(w.t, os.Mkdir(w.runDir(), 0o700))
			check(w.t, os.Chmod(w.runDir(), 0o500))
			return w
		}, []string{"/run/tunhook has mode 0500: ", "chmod 0700 "}},
		"directory of records open to others": {func(w *world) *world {
			check(w.t, os.Mkdir(w.runDir(), 0o700))
			check(w.t, os.Chmod(w.runDir(), 0o755))
			return w
		}, []string{"/run/tunhook has mode 0755: others must not reach it: chmod 0700 "}},
		"directory of records a link": {func(w *world) *world {
			check(w.t, os.Symlink(w.path("home"), w.runDir()))
			return w
		}, []string{"/run/tunhook is a symbolic link: "}},
		"directory of records a file": {func(w *world) *world {
			check(w.t, os.WriteFile(w.runDir(), nil, 0o600))
			return w
		}, []string{"/run/tunhook is not a directory: move it away"}},
		"XDG_RUNTIME_DIR relative": {func(w *world) *world {
			return w.with("XDG_RUNTIME_DIR=run")
		}, []string{`XDG_RUNTIME_DIR is "run", which is not an absolute path: correct it, or unset it`}},
		"XDG_STATE_HOME relative": {func(w *world) *world {
			return w.with("XDG_STATE_HOME=state")
		}, []string{`XDG_STATE_HOME is "state", which is not an absolute path`}},
		"XDG_CONFIG_HOME relative": {func(w *world) *world {
			return w.with("XDG_CONFIG_HOME=./config")
		}, []string{`XDG_CONFIG_HOME is "./config", which is not an absolute path`}},
		"HOME relative": {func(w *world) *world {
			return w.with("HOME=home")
		}, []string{`HOME is "home", which is not an absolute path: set it to your home directory`}},
		"HOME unset": {func(w *world) *world {
			return w.without("HOME")
		}, []string{"HOME is not set", "set HOME to your home directory"}},
		"HOME empty": {func(w *world) *world {
			return w.with("HOME=")
		}, []string{"HOME is not set", "set HOME to your home directory"}},
		"HOME unset, no runtime directory": {func(w *world) *world {
			return w.without("HOME", "XDG_RUNTIME_DIR")
		}, []string{"HOME is not set"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tc.spoil(newConfinedWorld(t))
			port := port(t)
			for _, args := range [][]string{{"start"}, {"run"}, {"stop"}, {"stop", "--all"}, {"status"}, {"wait", "--timeout", "1s"}, {"logs"}} {
				if !slices.Contains(args, "--all") {
					args = append(args, "relay://127.0.0.1:9", port)
				}
				if args[0] == "run" {
					args = append(args, "--", "true")
				}
				r := w.finish(w.confine(unlimited, args...))
				if r.status != exitUnexpected && r.status != exitUsage && r.status != exitRunFailed || r.stdout != "" || !isOneMessage(r.stderr) {
					t.Errorf("tunhook %q: %v", args, r)
				}
				for _, words := range tc.words {
					if !strings.Contains(r.stderr, words) {
						t.Errorf("tunhook %q says %q, which lacks %q", args, r.stderr, words)
					}
				}
			}
			if made := files(w.dir); len(made) > 1 { // the file in the place of a directory
				t.Errorf("files were made: %q", made)
			}
		})
	}
}

// TestUnwritableDirectoriesAreNamed: what must be written cannot be, and the way out is said.
func TestUnwritableDirectoriesAreNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(w *world) *world
		words string
	}{
		"home": {func(w *world) *world {
			w.protect("home")
			return w
		}, "/home"},
		"logs": {func(w *world) *world {
			check(w.t, os.MkdirAll(w.path("home/.local/state/tunhook/log"), 0o700))
			w.protect("home/.local/state/tunhook")
			w.protect("home/.local/state/tunhook/log")
			return w
		}, "/home/.local/state/tunhook/log has mode 0500"},
		"no runtime directory": {func(w *world) *world {
			w.protect("home")
			return w.with("XDG_RUNTIME_DIR=", "XDG_STATE_HOME="+w.path("home/state"))
		}, "/home/state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tc.spoil(newConfinedWorld(t))
			if name == "no runtime directory" && hasRuntimeDir() {
				t.Skip("this user has a runtime directory")
			}
			r := w.finish(w.confine(unlimited, "start", "relay://127.0.0.1:9", port(t)))
			if r.status != exitUnexpected || !isOneMessage(r.stderr) || !strings.Contains(r.stderr, tc.words) {
				t.Errorf("%v, want one line that holds %q", r, tc.words)
			}
			w.nothingLeft()
		})
	}
}

// protect makes a directory unwritable until the test is over, after which an ordinary user, too, must be able to remove it.
func (w *world) protect(dir string) {
	w.t.Helper()
	check(w.t, os.Chmod(w.path(dir), 0o500))
	w.t.Cleanup(func() { check(w.t, os.Chmod(w.path(dir), 0o700)) })
}

// hasRuntimeDir tells whether this user has the usual runtime directory, which counts although no variable names it.
func hasRuntimeDir() bool { return isOurs(fmt.Sprintf("/run/user/%d", os.Geteuid())) }

func TestWithoutRuntimeDirectoryTheStateDirectoryServes(t *testing.T) {
	t.Parallel()
	if hasRuntimeDir() {
		t.Skip("this user has a runtime directory")
	}
	w := newWorld(t).without("XDG_RUNTIME_DIR")
	port := port(t)
	w.must("start", "relay://127.0.0.1:9", port)
	onlyMatch(t, w.path("home/.local/state/tunhook/run/*.json"))
	w.must("stop", "relay://127.0.0.1:9", port)
	w.nothingLeft()
}

// TestFilesAreForTheUserAlone holds whatever the umask is.
func TestFilesAreForTheUserAlone(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	start := w.command("start", "relay://127.0.0.1:9", port)
	start.Args = []string{"sh", "-c", `umask 0; exec "$0" "$@"`, start.Path, "start", "relay://127.0.0.1:9", port}
	start.Path = "/bin/sh"
	if r := w.finish(start); r.status != 0 {
		t.Fatal(r)
	}
	for path, want := range map[string]os.FileMode{
		w.runDir():                              os.ModeDir | 0o700,
		w.recordFile():                          0o600,
		w.record().Log:                          0o600,
		w.path("home/.local/state/tunhook/log"): os.ModeDir | 0o700,
	} {
		info, err := os.Lstat(path)
		check(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	w.must("stop", "relay://127.0.0.1:9", port)
}

// TestFullDiskLeavesNothingBehind fills the disk at many a byte of what a start writes: the lock, the log, and the record
// before and after the launch.
func TestFullDiskLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w, port := newConfinedWorld(t), port(t)
	failed, succeeded := 0, 0
	for limit := 0; limit < 1200; limit += 19 {
		r := w.finish(w.confine(limit, "start", "relay://127.0.0.1:9", port))
		switch {
		case r.status == 0:
			succeeded++
			w.must("stop", "relay://127.0.0.1:9", port)
		case r.status == exitUnexpected && r.stdout == "" && isOneMessage(r.stderr) && strings.Contains(r.stderr, w.dir):
			failed++
		default:
			t.Errorf("with %d bytes: %v", limit, r)
		}
		w.nothingLeft()
		check(t, os.RemoveAll(w.path("home/.local"))) // the log, which would count
	}
	if failed < 20 || succeeded < 5 {
		t.Errorf("%d starts failed and %d succeeded: the limits do not cover what a start writes", failed, succeeded)
	}
}

// TestFullDiskKeepsTheRecord: a record that cannot be changed is as it was, and the tunnel can be stopped later.
func TestFullDiskKeepsTheRecord(t *testing.T) {
	t.Parallel()
	w, port := newConfinedWorld(t), port(t)
	w.must("start", "relay://127.0.0.1:9", port)
	before := w.record()
	for _, limit := range []int{0, 20, 500} {
		w.finish(w.confine(limit, "run", "relay://127.0.0.1:9", port, "--", "true"))
		if after := w.record(); after.Token != before.Token || after.Tunnel != before.Tunnel {
			t.Errorf("with %d bytes the record became %+v", limit, after)
		}
	}
	w.must("stop", "relay://127.0.0.1:9", port)
	w.nothingLeft()
}
