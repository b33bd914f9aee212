//go:build e2e

package e2epackages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRpmFromInstallationToRemoval in a root that has a shell and nothing else.
func TestRpmFromInstallationToRemoval(t *testing.T) {
	root := t.TempDir()
	check(t, os.Mkdir(filepath.Join(root, "bin"), 0o755))
	output(t, "cp", "/bin/busybox", filepath.Join(root, "bin", "sh"))
	check(t, os.Symlink("sh", filepath.Join(root, "bin", "cat")))
	// The shell is in no package, on which the script that runs before a removal depends.
	rpm := func(args ...string) string {
		return output(t, "rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm"}, args...)...)
	}
	rpm("--initdb")
	before := tree(t, root)

	rpm("--install", "--nodeps", theOne(t, packages.old, "*.x86_64.rpm"))
	if got := output(t, "chroot", root, "/usr/bin/tunhook", "--version"); got != "tunhook version "+oldVersion {
		t.Errorf("installed: %q", got)
	}
	if got := rpm("--upgrade", "--nodeps", theOne(t, packages.dir, "*.x86_64.rpm")); strings.Contains(got, "disable") {
		t.Errorf("an upgrade speaks of removal:\n%s", got)
	}
	if got := output(t, "chroot", root, "/usr/bin/tunhook", "--version"); got != "tunhook version "+newVersion {
		t.Errorf("upgraded: %q", got)
	}
	if got := rpm("--verify", "--nodeps", "tunhook"); got != "" {
		t.Errorf("rpm --verify:\n%s", got)
	}
	if got := rpm("--query", "--queryformat", "%{VERSION}-%{RELEASE}.%{ARCH} %{LICENSE} %{BUILDHOST}", "tunhook"); got != "0.1.0~rc.1-1.x86_64 Apache-2.0 localhost" {
		t.Errorf("rpm says it is %q", got)
	}
	if got := rpm("--query", "--licensefiles", "tunhook"); !strings.Contains(got, "/usr/share/licenses/tunhook/LICENSE") {
		t.Errorf("licences: %q", got)
	}
	if got := rpm("--erase", "tunhook"); !strings.Contains(got, "tunhook remmina disable PROFILE") {
		t.Errorf("a removal does not say what has to be disabled first:\n%s", got)
	}
	if after := tree(t, root); after != before {
		t.Errorf("left:\n%s", difference(before, after))
	}
}

// tree lists all files, and all directories that are tunhook's, but for what rpm keeps for itself.
func tree(t *testing.T, root string) string {
	t.Helper()
	return output(t, "sh", "-c", `cd "$0" && find . -path ./var/lib/rpm -prune -o \( ! -type d -o -name "*tunhook*" \) -print | sort`, root)
}
