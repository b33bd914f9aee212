//go:build e2e

package e2epackages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRpmFromInstallationToRemoval in a root that has a shell and nothing else: used, upgraded and removed while people work.
func TestRpmFromInstallationToRemoval(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"bin", "dev", "proc", "root", "run"} {
		check(t, os.Mkdir(filepath.Join(root, dir), 0o700))
	}
	output(t, "cp", "/bin/busybox", filepath.Join(root, "bin", "sh"))
	check(t, os.Symlink("sh", filepath.Join(root, "bin", "cat")))
	// Processes and a loopback of its own, which end with the test.
	r := startShell(t, "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
		"env", "--ignore-environment", "HOME=/root", "XDG_RUNTIME_DIR=/run", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "ROOT="+root, "bash")
	r.run(`ip link set lo up && mount -t tmpfs tmpfs /run && mount -t proc proc "$ROOT/proc" && mount --rbind /dev "$ROOT/dev"`)
	r.run(echo)
	// The shell is in no package, on which the script that runs before a removal depends.
	rpm := func(args ...string) string {
		return r.run(`rpm --root "$ROOT" --dbpath /var/lib/rpm ` + strings.Join(args, " "))
	}
	tunhook := func(args string) string { return r.run(`chroot "$ROOT" /usr/bin/tunhook ` + args) }
	rpm("--initdb")
	before := tree(t, root)

	rpm("--install", "--nodeps", theOne(t, packages.old, "*.x86_64.rpm"))
	if got := tunhook("--version"); got != "tunhook version "+oldVersion {
		t.Errorf("installed: %q", got)
	}
	// A session each through a tunnel that was started, and through a listener.
	const started, listened = "127.0.0.1:7001", "127.0.0.1:7002"
	if got := tunhook("start relay://127.0.0.1:7000 " + started); got != started {
		t.Errorf("start: %q", got)
	}
	tunhook(`listen relay://127.0.0.1:7000 ` + listened + ` >/run/log 2>&1 & until (: </dev/tcp/127.0.0.1/7002) 2>/dev/null; do sleep 0.1; done`)
	r.connect("STARTED", started)
	r.connect("LISTENED", listened)
	all := func(line string) {
		t.Helper()
		r.say("STARTED", line)
		r.say("LISTENED", line)
	}

	if got := rpm("--upgrade", "--nodeps", theOne(t, packages.dir, "*.x86_64.rpm")); strings.Contains(got, "disable") {
		t.Errorf("an upgrade speaks of removal:\n%s", got)
	}
	if got := tunhook("--version"); got != "tunhook version "+packages.version {
		t.Errorf("upgraded: %q", got)
	}
	all("upgraded")
	if got := tunhook("status"); strings.Count(got, "  ready  ") != 2 {
		t.Errorf("after the upgrade the tunnels of before are:\n%s", got)
	}
	if got := tunhook("start relay://127.0.0.1:7000 " + started); got != started {
		t.Errorf("started again: %q", got)
	}
	r.connect("LATER", listened) // the listener is of the older version, and its program is no more
	r.leave("LATER")
	if got := rpm("--verify", "--nodeps", "tunhook"); got != "" {
		t.Errorf("rpm --verify:\n%s", got)
	}
	if got := rpm("--query", "--queryformat", "'%{VERSION}-%{RELEASE}.%{ARCH} %{LICENSE} %{BUILDHOST}'", "tunhook"); got != packaged(packages.version)+".x86_64 Apache-2.0 localhost" {
		t.Errorf("rpm says it is %q", got)
	}
	if got := rpm("--query", "--licensefiles", "tunhook"); !strings.Contains(got, "/usr/share/licenses/tunhook/LICENSE") {
		t.Errorf("licences: %q", got)
	}
	if got := rpm("--erase", "tunhook"); !strings.Contains(got, "tunhook remmina disable PROFILE") {
		t.Errorf("a removal does not say what has to be disabled first:\n%s", got)
	}
	all("removed")
	if after := tree(t, root); after != before {
		t.Errorf("left:\n%s", difference(before, after))
	}
}

// tree lists all files, and all directories that are tunhook's, but for what rpm keeps for itself and tunnels that run.
func tree(t *testing.T, root string) string {
	t.Helper()
	return output(t, "sh", "-c",
		`cd "$0" && find . \( -path ./var/lib/rpm -o -path ./dev -o -path ./proc -o -path ./root -o -path ./run \) -prune -o \( ! -type d -o -name "*tunhook*" \) -print | sort`, root)
}
