//go:build e2e

package e2epackages

import (
	"regexp"
	"strings"
	"testing"
)

// TestDebFromInstallationToRemoval on a bare Debian: used by an ordinary user, upgraded and removed while people work.
func TestDebFromInstallationToRemoval(t *testing.T) {
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			r := newRoot(t, release)
			alice := func(command string) string { return r.run(as("alice", command)) }
			before := r.run(remaining)

			r.run("apt-get install /packages/old/tunhook_*_amd64.deb")
			if got := alice("tunhook --version"); got != "tunhook version "+oldVersion {
				t.Errorf("installed: %q", got)
			}
			if got := r.run("dpkg --verify tunhook"); got != "" {
				t.Errorf("dpkg --verify: %s", got)
			}
			r.run("bash -n /usr/share/bash-completion/completions/tunhook && gzip --test /usr/share/man/man1/{tunhook,xfreerdp-tunnel}.1.gz /usr/share/man/man5/tunhook.toml.5.gz")
			if got, status := r.try(as("alice", "xfreerdp-tunnel relay://127.0.0.1:7000")); status != 127 || !strings.Contains(got, "xfreerdp was not found") {
				t.Errorf("xfreerdp-tunnel without xfreerdp: status %d\n%s", status, got)
			}

			// A session each through a tunnel that was started, a listener as an autostart entry has it, and a socket of systemd's.
			const started, listened, enabled = "127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"
			r.logIn()
			if got := alice("tunhook start relay://127.0.0.1:7000 " + started); got != started {
				t.Errorf("start: %q", got)
			}
			alice("tunhook listen relay://127.0.0.1:7000 " + listened + " >listen.log 2>&1 & until (: </dev/tcp/127.0.0.1/7002) 2>/dev/null; do sleep 0.1; done")
			alice("tunhook enable relay://127.0.0.1:7000 " + enabled)
			if got := alice(`systemctl --user is-active "tunhook-*.socket"`); got != "active" {
				t.Errorf("the socket of what is enabled is %q", got)
			}
			sessions := []string{"STARTED", "LISTENED", "ENABLED"}
			for i, address := range []string{started, listened, enabled} {
				r.connect(sessions[i], address)
			}
			all := func(line string) {
				t.Helper()
				for _, name := range sessions {
					r.say(name, line)
				}
			}

			if got := r.install(); strings.Contains(got, "tunhook remmina disable") {
				t.Errorf("an upgrade speaks of removal:\n%s", got)
			}
			if got := alice("tunhook --version"); got != "tunhook version "+packages.version {
				t.Errorf("upgraded: %q", got)
			}
			if got := r.run(`dpkg-query --show --showformat='${Version}' tunhook`); got != packaged(packages.version) {
				t.Errorf("dpkg says that version %q is installed", got)
			}
			which := regexp.QuoteMeta(packages.version) + `\s+` + regexp.QuoteMeta("(/usr/bin/tunhook)") // on two lines, if it is long
			if got, _ := r.try(as("alice", "tunhook doctor")); !regexp.MustCompile(`(?m)^ok +tunhook +` + which + `$`).MatchString(got) {
				t.Errorf("doctor does not say which tunhook is installed:\n%s", got)
			}
			all("upgraded")
			if got := alice("tunhook status"); strings.Count(got, "  ready  ") != len(sessions) {
				t.Errorf("after the upgrade the tunnels of before are:\n%s", got)
			}
			if got := alice("tunhook start relay://127.0.0.1:7000 " + started); got != started {
				t.Errorf("started again: %q", got)
			}
			// The listeners are of the older version, and their program is no more.
			r.connect("LISTENED_LATER", listened)
			r.connect("ENABLED_LATER", enabled)
			r.leave("LISTENED")
			r.leave("ENABLED")
			sessions = []string{"STARTED", "LISTENED_LATER", "ENABLED_LATER"}
			all("later")

			if got := r.run("apt-get remove --yes tunhook"); !strings.Contains(got, "tunhook remmina disable PROFILE") || !strings.Contains(got, "tunhook disable --all") {
				t.Errorf("a removal does not say what has to be disabled first:\n%s", got)
			}
			all("removed")
			if got := r.run("dpkg --list | grep -c tunhook || true"); got != "0" { // not even its configuration
				t.Errorf("dpkg still knows it: %s", got)
			}
			if after := r.run(remaining); after != before {
				t.Errorf("left:\n%s", difference(before, after))
			}
		})
	}
}
