//go:build e2e

package e2epackages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const oldVersion = "0.0.9"

// packages are those that the tests install: of both architectures as "make packages" makes them, with the version of the
// checkout, and an older one of this machine's. All are below top.
var packages struct{ top, dir, version, old string }

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "only root can install packages")
		return 1
	}
	top, err := os.MkdirTemp("", "tunhook-packages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(top)
	packages.top, packages.dir, packages.old = top, filepath.Join(top, "artifacts", "packages"), filepath.Join(top, "old")
	if err := makePackages(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// makePackages makes those of the checkout, the first ones as the README says.
func makePackages() error {
	version := exec.Command("scripts/version")
	made := exec.Command("make", "packages", "ARTIFACTS="+filepath.Dir(packages.dir))
	old := exec.Command("scripts/packages", packages.old, "amd64")
	// Of a make that has called this test: it was told of other versions and places.
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKEFLAGS=") || strings.HasPrefix(v, "MAKEOVERRIDES=") || strings.HasPrefix(v, "VERSION=")
	})
	for _, cmd := range []*exec.Cmd{version, made, old} {
		cmd.Dir, cmd.Env = "../..", environ
	}
	old.Env = append(environ, "VERSION="+oldVersion)
	said, err := version.Output()
	if err != nil {
		return fmt.Errorf("%v: %w", version, err)
	}
	packages.version = strings.TrimSpace(string(said))
	for _, cmd := range []*exec.Cmd{made, old} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	return nil
}

// packaged is a version as Debian and RPM spell it, with a tilde before what comes before it, and with the number of the package.
func packaged(version string) string { return strings.Replace(version, "-", "~", 1) + "-1" }

// freshCheckout is one elsewhere, with what is not committed yet.
func freshCheckout(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "elsewhere")
	output(t, "git", "clone", "--quiet", "../..", dir)
	output(t, "sh", "-c", `git -C ../.. diff HEAD --binary | git -C "$0" apply --allow-empty`, dir)
	return dir
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
