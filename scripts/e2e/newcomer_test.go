//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// overlayScript has the directories that a package is installed in, seen from here on, be ones that can be changed and are thrown away
// with the mount namespace that it runs in.
const overlayScript = `set -e
mount -t tmpfs tmpfs /mnt
for dir in usr var/lib/dpkg; do
	mkdir -p "/mnt/$dir/upper" "/mnt/$dir/work"
	mount -t overlay overlay -o "lowerdir=/$dir,upperdir=/mnt/$dir/upper,workdir=/mnt/$dir/work" "/$dir"
done
`

// asAdministrator runs a script of root's where the user's login sees what it does, and nobody else.
func (u *user) asAdministrator(script string, args ...string) string {
	u.t.Helper()
	argv := slices.Concat(u.enterLogin(), []string{"/bin/sh", "-c", script, "administrator"}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	output, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("%v: %v\n%s", cmd, err, output)
	}
	return string(output)
}

// TestNewcomerConnectsWithThePackageAlone, as an ordinary user whose administrator installs it and removes it in the end.
func TestNewcomerConnectsWithThePackageAlone(t *testing.T) {
	t.Parallel()
	const thinking = 3 * time.Second
	deb := built(t, buildPackage)
	server := startRDPServer(t)
	o := officeOf(newOrdinaryDesktop(t))
	o.server = server
	o.guard(server.address)
	o.gateway.signInAfter(thinking)
	o.logInWithSystemd()
	o.importEnvironment("DISPLAY")
	o.must("/usr/bin/rm", o.tunhook)
	o.asAdministrator(overlayScript)
	const dpkg, installed = `dpkg --log=/dev/null --no-triggers "$@"`, `find /usr -name '*tunhook*' | sort`
	before := strings.Fields(o.asAdministrator(installed)) // perhaps it is installed on this machine
	o.asAdministrator(dpkg, "--install", deb)
	o.asAdministrator(`mv "$1" /usr/bin`, filepath.Join(o.binDir, "pomerium-cli"))
	o.tunhook = "/usr/bin/tunhook"
	o.program = o.tunhook

	desk := o.desk()
	file := o.save(o.nativeRemmina(), desk)
	if seen := o.must(o.program, "doctor"); strings.Contains(seen, "finding") || !strings.Contains(seen, "Remmina") {
		t.Errorf("doctor says:\n%s", seen)
	}
	enabled := o.enableByConnection(file)
	client := o.open(enabled.file, desk)
	o.waitForPicture(crimson, thinking+patience)
	o.screenshot("picture")
	if tabs := o.gateway.tabs(); len(tabs) != 1 {
		t.Errorf("tabs: %q, want one", tabs)
	}
	client.quit()
	client.wait(patience)
	o.waitUntilAtRest(enabled.listen)
	o.must(o.program, "doctor", filepath.Base(enabled.file))
	o.checkDisabled(enabled)

	o.asAdministrator(dpkg, "--remove", "tunhook")
	left := slices.DeleteFunc(strings.Fields(o.asAdministrator(installed)), func(path string) bool { return slices.Contains(before, path) })
	if len(left) > 0 {
		t.Errorf("the package leaves %q", left)
	}
}
