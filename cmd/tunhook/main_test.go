package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestMain makes the test binary into each program that the tests run: by the name that it is called with.
func TestMain(m *testing.M) {
	testscript.Main(withRelease{m}, map[string]func(){
		"tunhook":  main,
		"client":   func() { os.Exit(client(os.Args[1:])) },
		"confined": func() { os.Exit(confined(os.Args[1:])) },
		"unhandy":  func() { os.Exit(unhandy(os.Args[1:])) },
		"pomerium-cli": func() {
			os.Exit(tunneltest.PomeriumCLI(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
		},
	})
}

// withRelease builds tunhook as it is released before it runs the tests: scripts use the test binary, which has the race
// detector in it, and the tests that start hundreds of processes the real thing.
type withRelease struct{ m *testing.M }

func (w withRelease) Run() int {
	dir, _, _ := strings.Cut(os.Getenv("PATH"), string(filepath.ListSeparator)) // where testscript.Main put the programs
	build := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(dir, releaseDir, "tunhook"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	return w.m.Run()
}

// releaseDir lies in the directory of the programs, which is removed after the tests.
const releaseDir = "release"

// programDir holds the programs of TestMain.
func programDir(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("tunhook")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}
