//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// loginScript starts a user manager where no systemd runs, waits until its stdin ends,
// and then ends the manager with all that it has started. It is the reaper that outlives
// the tests, should these be killed. Its arguments are the cgroup's name, the user's id
// and the manager's command line. What it mounts is seen by nobody else.
//
// systemctl(1) wants /run/systemd/system, which says that systemd has booted
// (sd_booted(3)), and the manager a cgroup of version 2 of its own, whichever version
// the system uses.
const loginScript = `set -e
mount -t tmpfs tmpfs /run/systemd
mkdir /run/systemd/system
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cgroup=/sys/fs/cgroup/$1 user=$2
shift 2
mkdir "$cgroup"
chown "$user" "$cgroup" "$cgroup"/cgroup.procs "$cgroup"/cgroup.subtree_control "$cgroup"/cgroup.threads
sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$cgroup" "$@" </dev/null &
manager=$!
cat >/dev/null

set +e
there() { cat $(find "$cgroup" -name cgroup.procs) 2>/dev/null; }
kill -TERM "$manager"
for _ in $(seq 100); do
	kill -0 "$manager" 2>/dev/null || break
	sleep 0.1
done
for _ in $(seq 100); do
	left=$(there)
	[ -n "$left" ] || break
	kill -KILL $left 2>/dev/null
	sleep 0.1
done
find "$cgroup" -depth -type d -exec rmdir {} \;
[ ! -e "$cgroup" ]
`

// A login is a user's session: the time that their systemd user manager runs. While it
// is on, the user's programs see that systemd.
type login struct {
	*process
	hold io.Closer // closed to log out
}

// logInWithSystemd starts the user's own "systemd --user", as logging in does, which
// starts what the user has enabled. The manager knows the session bus, where there is
// one, and no display until somebody tells it (importEnvironment). Only root can do it.
func (u *user) logInWithSystemd() {
	u.t.Helper()
	if os.Getuid() != 0 {
		u.t.Fatal("this test has to be run as root")
	}
	// Systems that boot systemd have it.
	if err := os.MkdirAll("/run/systemd", 0o755); err != nil {
		u.t.Fatal(err)
	}
	u.maskBus()
	uid, gid := u.ids()
	cmd := exec.Command("/usr/bin/unshare", "--mount", "/bin/sh", "-c", loginScript, "login",
		filepath.Base(u.dir), fmt.Sprint(uid),
		"/usr/bin/setpriv", fmt.Sprint("--reuid=", uid), fmt.Sprint("--regid=", gid), "--clear-groups", "--",
		"/lib/systemd/systemd", "--user", "--unit=basic.target")
	cmd.Env = append(u.managerEnv(), "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=info")
	cmd.Dir = u.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	hold, err := cmd.StdinPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	u.login = &login{process: u.startCommand(cmd), hold: hold}
	u.t.Cleanup(u.logOut)
	eventually(u.t, patience, "the user manager has started", func() bool {
		if !u.login.alive() {
			u.t.Fatalf("the user manager has ended: %s", u.login.lastOutput())
		}
		return exists(filepath.Join(u.runtimeDir, "systemd", "private")) &&
			strings.TrimSpace(u.run("/usr/bin/systemctl", "--user", "is-active", "basic.target").stdout) == "active"
	})
}

// maskBus keeps the manager from putting a session bus of its own in the place of the
// test's, until the end of the login.
func (u *user) maskBus() {
	u.t.Helper()
	units := filepath.Join(u.runtimeDir, "systemd", "user")
	u.mkdir(units)
	for _, unit := range []string{"dbus.socket", "dbus.service"} {
		if err := os.Symlink("/dev/null", filepath.Join(units, unit)); err != nil && !os.IsExist(err) {
			u.t.Fatal(err)
		}
	}
}

// logOut ends the user manager and whatever it has started, however that has detached
// itself.
func (u *user) logOut() {
	u.t.Helper()
	if u.login == nil {
		return
	}
	ending := u.login
	u.login = nil
	ending.hold.Close()
	if status := ending.wait(patience); status != 0 {
		u.t.Errorf("logging out: status %d: %s", status, ending.lastOutput())
	}
}

// systemctl runs "systemctl --user", which has to succeed, and returns what it printed.
func (u *user) systemctl(args ...string) string {
	u.t.Helper()
	return u.must(append([]string{"/usr/bin/systemctl", "--user"}, args...)...)
}

// importEnvironment tells the manager variables of the user's, as GNOME and Plasma do
// when they start.
func (u *user) importEnvironment(names ...string) {
	u.t.Helper()
	u.systemctl(append([]string{"import-environment"}, names...)...)
}

// managerEnv returns what a user manager knows of its user: no display, and no PATH but
// systemd's own.
func (u *user) managerEnv() []string {
	var env []string
	for _, variable := range u.env() {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "DISPLAY", "WAYLAND_DISPLAY", "PATH":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "PATH=/usr/local/bin:/usr/bin:/bin")
}

// ids returns the user's ids.
func (u *user) ids() (uid, gid uint32) {
	if u.credential == nil {
		return uint32(os.Getuid()), uint32(os.Getgid())
	}
	return u.credential.Uid, u.credential.Gid
}

// enterLogin is the beginning of a command line that runs a program, as root, where the
// user's programs see their user manager.
func (u *user) enterLogin() []string {
	return []string{"/usr/bin/nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", u.login.cmd.Process.Pid), "--"}
}

// inLogin returns the command line that runs a program of the user's where it sees their
// user manager. It has to be started as root.
func (u *user) inLogin(argv []string) []string {
	uid, gid := u.ids()
	return slices.Concat(u.enterLogin(), []string{
		"/usr/bin/setpriv", fmt.Sprint("--reuid=", uid), fmt.Sprint("--regid=", gid), "--clear-groups",
		"--pdeathsig=KILL", "--",
		"/usr/bin/env", "--chdir=" + u.home, "--",
	}, argv)
}
