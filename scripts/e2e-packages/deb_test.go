//go:build e2e

package e2epackages

import (
	"path/filepath"
	"strings"
	"testing"
)

// echo is a server on 127.0.0.1:7000 that says each line again: it is what the tunnels of the tests lead to.
const echo = `perl -MIO::Socket::INET -e '
$listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:7000", Listen => 9, ReuseAddr => 1) or die $!;
open my $up, ">", "/tmp/up";
while (my $c = $listener->accept) { next if fork; print $c $_ while <$c>; exit }
' & until [ -e /tmp/up ]; do sleep 0.1; done`

// session is a client of a user's that stays connected: each line that it is given comes back from the other end. NAME is
// that of a coprocess of the shell's.
func session(name, user, address string) string {
	host, port, _ := strings.Cut(address, ":")
	return `coproc ` + name + ` { exec runuser -u ` + user + ` -- bash -c 'exec 3<>/dev/tcp/` + host + `/` + port + ` || exit
while read -r line; do echo "$line" >&3; read -r line <&3; echo "back: $line"; done'; } 2>/dev/null`
}

// say says a line in a session, and gives what comes back.
func (r *root) say(name, line string) {
	r.t.Helper()
	got := r.run(`echo ` + line + ` >&"${` + name + `[1]}" && read -r -t 30 back <&"${` + name + `[0]}" && echo "$back"`)
	if got != "back: "+line {
		r.t.Fatalf("in the session %s: %q", name, got)
	}
}

// remaining lists all files but those that apt and dpkg keep for themselves.
const remaining = `find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /run -o -path /packages -o -path /home \
	-o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/lib/dpkg -o -path /var/log \) -prune -o -print | sort`

// TestDebFromInstallationToRemoval on a bare Debian: used by an ordinary user, upgraded and removed while people work.
func TestDebFromInstallationToRemoval(t *testing.T) {
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			r := newRoot(t, release, filepath.Dir(packages.dir))
			install := func(dir, pattern string) string {
				return r.run("apt-get install --yes --no-install-recommends --allow-downgrades /packages/" + filepath.Base(dir) + "/" + filepath.Base(theOne(t, dir, pattern)))
			}
			r.run("useradd --create-home --shell /bin/bash alice")
			r.run(echo)
			before := r.run(remaining)

			install(packages.old, "*_amd64.deb")
			if got := r.run(as("alice", "tunhook --version")); got != "tunhook version "+oldVersion {
				t.Errorf("installed: %q", got)
			}
			if got := r.run("dpkg --verify tunhook"); got != "" {
				t.Errorf("dpkg --verify: %s", got)
			}
			r.run("bash -n /usr/share/bash-completion/completions/tunhook && gzip --test /usr/share/man/man1/tunhook.1.gz /usr/share/man/man1/xfreerdp-tunnel.1.gz /usr/share/man/man5/tunhook.toml.5.gz")
			if got, status := r.try(as("alice", "xfreerdp-tunnel relay://127.0.0.1:7000")); status != 127 || !strings.Contains(got, "xfreerdp was not found") {
				t.Errorf("xfreerdp-tunnel without xfreerdp: status %d\n%s", status, got)
			}

			// One session through a tunnel that was started, one through a listener as "enable" starts it.
			const started, listened = "127.0.0.1:7001", "127.0.0.1:7002"
			if got := r.run(as("alice", "tunhook start relay://127.0.0.1:7000 "+started)); got != started {
				t.Errorf("start: %q", got)
			}
			r.run(as("alice", "tunhook listen relay://127.0.0.1:7000 "+listened+" >listen.log 2>&1 & until (: </dev/tcp/127.0.0.1/7002) 2>/dev/null; do sleep 0.1; done"))
			r.run(session("STARTED", "alice", started))
			r.run(session("LISTENED", "alice", listened))
			r.say("STARTED", "installed")
			r.say("LISTENED", "installed")

			if got := install(packages.dir, "*_amd64.deb"); strings.Contains(got, "tunhook remmina disable") {
				t.Errorf("an upgrade speaks of removal:\n%s", got)
			}
			if got := r.run(as("alice", "tunhook --version")); got != "tunhook version "+newVersion {
				t.Errorf("upgraded: %q", got)
			}
			r.say("STARTED", "upgraded")
			r.say("LISTENED", "upgraded")
			if got := r.run(as("alice", "tunhook status")); !strings.Contains(got, started) || !strings.Contains(got, "ready") {
				t.Errorf("after the upgrade the tunnel that was started before is:\n%s", got)
			}
			if got := r.run(as("alice", "tunhook start relay://127.0.0.1:7000 "+started)); got != started {
				t.Errorf("started again: %q", got)
			}
			// The listener is of the older version, and its program is no more.
			r.run(session("LATER", "alice", listened))
			r.say("LATER", "upgraded")

			if got := r.run("apt-get remove --yes tunhook"); !strings.Contains(got, "tunhook remmina disable PROFILE") || !strings.Contains(got, "tunhook disable --all") {
				t.Errorf("a removal does not say what has to be disabled first:\n%s", got)
			}
			for _, name := range []string{"STARTED", "LISTENED", "LATER"} {
				r.say(name, "removed")
			}
			r.run("apt-get purge --yes tunhook")
			if got := r.run("dpkg --list | grep -c tunhook || true"); got != "0" {
				t.Errorf("dpkg still knows it: %s", got)
			}
			if after := r.run(remaining); after != before {
				t.Errorf("left:\n%s", difference(before, after))
			}
			r.say("STARTED", "purged")
		})
	}
}

// difference gives the lines that only one of two texts has.
func difference(before, after string) string {
	var b strings.Builder
	only := func(sign, one, other string) {
		for line := range strings.Lines(one) {
			if !strings.Contains("\n"+other+"\n", "\n"+strings.TrimSpace(line)+"\n") {
				b.WriteString(sign + strings.TrimSpace(line) + "\n")
			}
		}
	}
	only("-", before, after)
	only("+", after, before)
	return b.String()
}
