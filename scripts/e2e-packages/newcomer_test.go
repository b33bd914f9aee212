//go:build e2e

package e2epackages

import (
	"strings"
	"testing"
)

// profile is one of Remmina's, in a home.
const profile = ".local/share/remmina/group_rdp_my-desk_127-0-0-1-7000.remmina"

// everything lists the files of homes and of /tmp, by what is in them, but for the logs of tunnels and what lies beside these.
const everything = `find /home /tmp -path /home/alice/.local/state/tunhook -prune -o ! -type d -exec sha256sum {} + | sort --key 2`

// owned lists the processes of a user; what has ended and was not reaped yet is none.
const owned = `for p in /proc/[0-9]*; do [ "$(stat --format %U $p 2>/dev/null)" = alice ] && ! grep --silent "^State:.Z" $p/status && tr "\0" " " <$p/cmdline; done; :`

// TestNewcomersPath is that of an ordinary user on a new machine, as far as it goes without a display: from the installation to
// the removal nothing is needed but the package, and what is undone leaves nothing.
func TestNewcomersPath(t *testing.T) {
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			r := newRoot(t, release)
			alice := func(command string) string { return r.run(as("alice", command)) }
			says := func(command string, want ...string) {
				t.Helper()
				got := alice(command)
				for _, text := range want {
					if !strings.Contains(got, text) {
						t.Errorf("%s says %q, want %q", command, got, text)
					}
				}
			}
			const route, address = "relay://127.0.0.1:7000", "127.0.0.1:7003"
			alice(`mkdir -p "$(dirname ` + profile + `)" && printf "%s\n" "[remmina]" protocol=RDP "name=My desk" server=127.0.0.1:7000 >` + profile)
			before, home := r.run(remaining), r.run(everything)

			r.install()
			says("tunhook --help", "tunhook start")
			says("tunhook doctor", "no Remmina was found") // which is nothing that has to be mended
			says("tunhook doctor "+route, route)

			// By command.
			says("tunhook start "+route+" "+address, address)
			r.connect("STARTED", address)
			says("tunhook status", route, address, "ready")
			// Instead of a terminal, what the menu of the desktop starts has this pipe.
			says(`exec 3< <(exec $(sed -n "s/^Exec=//p" /usr/share/applications/tunhook.desktop))
read -r -t 60 line <&3; kill $!; echo "$line"`, route, address, "ready")
			says("tunhook stop "+route+" "+address, "is in use by", "ends when the last has left")
			r.say("STARTED", "stopped")
			r.leave("STARTED")
			says("tunhook stop --wait " + route + " " + address)
			says("tunhook status", "no tunnel is running")

			// By connection, from a profile of Remmina's.
			says(`tunhook remmina enable "My desk" --route `+route+" --listen "+address, `"My desk" now connects to `+address)
			says("cat "+profile, "server="+address)
			says("tunhook status", "waiting")
			says("tunhook doctor")
			r.connect("ENABLED", address)
			says("tunhook status", address, "ready")
			r.leave("ENABLED")
			says(`tunhook remmina disable "My desk"`, `"My desk" is as it was before tunhook`)
			says("tunhook status", "no tunnel is running")

			r.run("apt-get remove --yes tunhook")
			if after := r.run(remaining); after != before {
				t.Errorf("the package leaves:\n%s", difference(before, after))
			}
			if after := r.run(everything); after != home {
				t.Errorf("what was started and enabled leaves:\n%s", difference(home, after))
			}
			if left := r.run(owned); left != "" {
				t.Errorf("still running:\n%s", left)
			}
		})
	}
}
