//go:build e2e

package e2epackages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	oldVersion = "0.0.9"
	newVersion = "0.1.0-rc.1"
)

// packages are those that the tests install: of both architectures, and an older one of this machine's.
var packages struct{ dir, old string }

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "only root can install packages")
		return 1
	}
	dir, err := os.MkdirTemp("", "tunhook-packages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	packages.dir, packages.old = filepath.Join(dir, "new"), filepath.Join(dir, "old")
	for _, build := range [][]string{{newVersion, packages.dir}, {oldVersion, packages.old, "amd64"}} {
		if err := makePackages("../..", build[0], build[1:]...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// makePackages makes those of a checkout.
func makePackages(checkout, version string, args ...string) error {
	cmd := exec.Command("scripts/packages", args...)
	cmd.Dir = checkout
	cmd.Env = append(os.Environ(), "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output runs a program, which has to succeed, and returns what it prints.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return strings.TrimSpace(string(out))
}

// theOne is the one file of that pattern in a directory.
func theOne(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	check(t, err)
	if len(found) != 1 {
		t.Fatalf("%s in %s: %q", pattern, dir, found)
	}
	return found[0]
}
