//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// binVariable names a directory that has the programs already, for where there is no Go.
const binVariable = "TUNHOOK_E2E_BIN"

// Each program is built once a run, when a test first asks for it.
var (
	buildDir      = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "e2e-build-") })
	buildTunhook  = builder("../../cmd/tunhook")
	buildPomerium = builder("../../tunnel/tunneltest/pomerium-cli")
	buildPlugin   = builder("../../tunnel/tunneltest/session-manager-plugin")
	buildPackage  = sync.OnceValues(makePackage)
)

// tunhookBinary returns the path of a tunhook built from this tree.
func tunhookBinary(t testing.TB) string {
	t.Helper()
	return built(t, buildTunhook)
}

// pomeriumBinary returns the path of the stand-in for pomerium-cli.
func pomeriumBinary(t testing.TB) string {
	t.Helper()
	return built(t, buildPomerium)
}

// sessionManagerPlugin returns the path of the stand-in for what aws runs.
func sessionManagerPlugin(t testing.TB) string {
	t.Helper()
	return built(t, buildPlugin)
}

// makePackage makes the deb as scripts/packages does, for this machine.
func makePackage() (string, error) {
	if dir := os.Getenv(binVariable); dir != "" {
		return filepath.Join(dir, "tunhook.deb"), nil
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("../packages", dir, runtime.GOARCH)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, output)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "tunhook_*_"+runtime.GOARCH+".deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("%v has made %q, want one", cmd, debs)
	}
	return debs[0], nil
}

func built(t testing.TB, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// builder returns a function that builds a package once. Without cgo the program is
// static, and so runs in a sandbox that has no C library.
func builder(pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		if dir := os.Getenv(binVariable); dir != "" {
			return filepath.Join(dir, filepath.Base(pkg)), nil
		}
		dir, err := buildDir()
		if err != nil {
			return "", err
		}
		// Users other than the one that runs the tests start it too.
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
		path := filepath.Join(dir, filepath.Base(pkg))
		cmd := exec.Command("go", "build", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, output)
		}
		return path, nil
	})
}

// installTunhook puts tunhook where people put programs of their own, in ~/.local/bin,
// which a sandbox sees too, and returns its path.
func (u *user) installTunhook() string {
	u.t.Helper()
	path := u.path(".local", "bin", "tunhook")
	u.mkdir(filepath.Dir(path))
	u.must("/usr/bin/cp", tunhookBinary(u.t), path)
	return path
}
