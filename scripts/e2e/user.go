//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// markerVariable is in the environment of everything that a test starts. It names the
// user, so that whatever has detached itself can still be told from other runs' programs.
const markerVariable = "TUNHOOK_E2E_USER"

// A user is somebody with a home of their own, as if just logged in to a machine that
// nobody has configured. What they leave running is ended with the test.
type user struct {
	t          testing.TB
	dir        string // everything below is theirs; short, because sockets live there
	home       string
	runtimeDir string // XDG_RUNTIME_DIR
	binDir     string // first on their PATH
	credential *syscall.Credential
	extraEnv   []string
	login      *login // while a systemd of theirs runs
	artifacts  string // where their programs' output and the screenshots go
}

// newUser returns a user with the uid that the tests run as.
func newUser(t testing.TB) *user {
	t.Helper()
	return addUser(t, nil)
}

// newOrdinaryUser returns a user without privileges: Debian's nobody, who has no
// processes and no files, so that nothing has to be added to the machine's users.
func newOrdinaryUser(t testing.TB) *user {
	t.Helper()
	const nobody = 65534
	return newUserOf(t, nobody, nobody)
}

// newOtherUser returns another user without privileges: Debian's games, of whom the same
// is true. The ids are fixed (base-passwd).
func newOtherUser(t testing.TB) *user {
	t.Helper()
	const gamesUser, gamesGroup = 5, 60
	return newUserOf(t, gamesUser, gamesGroup)
}

// newUserOf returns a user with an account's ids; as far as the tests may, which are run
// by an ordinary user at times.
func newUserOf(t testing.TB, uid, gid uint32) *user {
	t.Helper()
	if os.Getuid() != 0 {
		return newUser(t)
	}
	return addUser(t, &syscall.Credential{Uid: uid, Gid: gid})
}

func addUser(t testing.TB, credential *syscall.Credential) *user {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	u := &user{
		t:          t,
		dir:        dir,
		home:       filepath.Join(dir, "home"),
		runtimeDir: filepath.Join(dir, "run"),
		binDir:     filepath.Join(dir, "bin"),
		credential: credential,
		artifacts:  artifactDir(t),
	}
	t.Cleanup(u.remove)
	u.own(dir)
	for _, private := range []string{u.home, u.runtimeDir, u.binDir} {
		u.mkdir(private)
	}
	return u
}

// remove ends what the user left running and removes their files. Where the test failed,
// tunhook's records and logs are kept.
func (u *user) remove() {
	if u.t.Failed() {
		u.keep(filepath.Join(u.runtimeDir, "tunhook"))
		u.keep(u.path(".local", "state", "tunhook", "log"))
	}
	u.endLeftovers()
	u.unmount()
	if err := os.RemoveAll(u.dir); err != nil {
		u.t.Errorf("cannot remove a test's files: %v", err)
	}
}

// unmount takes away what is mounted below the user's directory: FreeRDP mounts a
// clipboard, which stays when it is killed.
func (u *user) unmount() {
	const mountPoint = 4 // of the columns of proc_pid_mountinfo(5)
	for line := range strings.Lines(u.read("/proc/self/mountinfo")) {
		if at := strings.Fields(line)[mountPoint]; strings.HasPrefix(at, u.dir+"/") {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				u.t.Errorf("cannot unmount %s: %v", at, err)
			}
		}
	}
}

// keep copies a directory to the artifacts, if there is one.
func (u *user) keep(dir string) {
	to := filepath.Join(u.artifacts, filepath.Base(u.dir)+"-"+filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil && !os.IsNotExist(err) {
		u.t.Logf("not kept: %v", err)
	}
}

// env returns the user's whole environment: nothing of the tests' own gets through.
func (u *user) env() []string {
	return append([]string{
		"HOME=" + u.home,
		"XDG_RUNTIME_DIR=" + u.runtimeDir,
		"PATH=" + u.binDir + ":/usr/bin:/bin",
		"LANG=C.UTF-8",
		"SHELL=/bin/sh",
		markerVariable + "=" + u.dir,
	}, u.extraEnv...)
}

// path returns a path below the user's home.
func (u *user) path(elem ...string) string {
	return filepath.Join(append([]string{u.home}, elem...)...)
}

// write writes a private file of the user's, an executable one where it begins
// with "#!", and makes the directories that lead to it.
func (u *user) write(path, content string) {
	u.t.Helper()
	u.mkdir(filepath.Dir(path))
	write := func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }
	if strings.HasPrefix(content, "#!") {
		write = tunneltest.WriteProgram
	}
	if err := write(path, []byte(content)); err != nil {
		u.t.Fatal(err)
	}
	u.own(path)
}

// read returns what a file holds, "" where there is none.
func (u *user) read(path string) string {
	u.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		u.t.Fatal(err)
	}
	return string(content)
}

// mkdir makes a private directory of the user's, and those above it.
func (u *user) mkdir(dir string) {
	u.t.Helper()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	u.mkdir(filepath.Dir(dir))
	if err := os.Mkdir(dir, 0o700); err != nil {
		u.t.Fatal(err)
	}
	u.own(dir)
}

func (u *user) own(path string) {
	u.t.Helper()
	if u.credential == nil {
		return
	}
	if err := os.Lchown(path, int(u.credential.Uid), int(u.credential.Gid)); err != nil {
		u.t.Fatal(err)
	}
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
