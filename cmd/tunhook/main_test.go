package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary into each program that the tests run: by the name that it is called with.
func TestMain(m *testing.M) {
	testscript.Main(withPrograms{m}, map[string]func(){
		"client":   func() { os.Exit(client(os.Args[1:])) },
		"confined": func() { os.Exit(confined(os.Args[1:])) },
		"unhandy":  func() { os.Exit(unhandy(os.Args[1:])) },
	})
}

// withPrograms builds tunhook as it is released, and the stand-in for pomerium-cli, before it runs the tests. With the race detector
// in it, as the test binary has, a process takes several times as long to start, and here thousands are.
type withPrograms struct{ m *testing.M }

func (w withPrograms) Run() int {
	dir, _, _ := strings.Cut(os.Getenv("PATH"), string(filepath.ListSeparator)) // where testscript.Main put the programs
	for name, pkg := range map[string]string{"tunhook": ".", "pomerium-cli": "../../tunnel/tunneltest/pomerium-cli"} {
		build := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
			return 1
		}
	}
	return w.m.Run()
}

// programDir holds the programs that the tests run.
func programDir(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("tunhook")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}
