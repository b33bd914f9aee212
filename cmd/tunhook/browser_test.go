package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestPageIsOpenedWithoutAnyDirectory: a tunnel program may run its commands with an environment of its own.
func TestPageIsOpenedWithoutAnyDirectory(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	bin := filepath.Join(a.dir, "browsers")
	check(t, os.Mkdir(bin, 0o700))
	check(t, tunneltest.WriteProgram(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\necho \"opened $1\"; exit 7\n")))
	check(t, os.Symlink(a.program, filepath.Join(a.dir, "xdg-open")))
	open := func(environ ...string) ended {
		return a.finish(&exec.Cmd{
			Path: filepath.Join(a.dir, "xdg-open"), Args: []string{"xdg-open", "https://sign.in/"}, Env: environ, Dir: "/",
		})
	}
	path := "PATH=" + bin + ":/usr/bin:/bin"
	if e := open(path); e.status != 7 || e.stdout != "opened https://sign.in/\n" || e.stderr != "" {
		t.Errorf("%+v, want what the real one does", e)
	}
	e := open(path, "TUNHOOK_OPENING=firefox:xdg-open")
	if e.status != 126 || e.stdout != "" || strings.Count(e.stderr, "\n") != 1 || !strings.Contains(e.stderr, "on PATH") {
		t.Errorf("called by itself: %+v, want one line with the way out", e)
	}
}
