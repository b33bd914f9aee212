//go:build e2e

package e2epackages

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds each command in a root, which takes seconds on a machine that has nothing else to do.
const patience = 5 * time.Minute

// root is a shell of root's in a place of its own, such as a bare root of a release of Debian, that one command after the other is
// given to.
type root struct {
	t     *testing.T
	shell *os.Process
	stdin io.Writer
	out   *bufio.Reader

	user string // the command by which clients are somebody else's than root's
}

// newRoot starts one, which sees the packages in /packages and is gone at the end of the test.
func newRoot(t *testing.T, release string) *root {
	t.Helper()
	r := startShell(t, "../e2e-bare-root", release, packages.top)
	r.run("useradd --create-home --shell /bin/bash alice")
	r.user = "runuser -u alice -- "
	r.run(echo)
	return r
}

// startShell starts a command that ends in a shell, which reads what it is to do from stdin.
func startShell(t *testing.T, command ...string) *root {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	stdin, stdout := talk(t, cmd)
	return &root{t: t, shell: cmd.Process, stdin: stdin, out: stdout}
}

// talk starts a program that ends when nothing more comes to its stdin, which is the end of the test.
func talk(t *testing.T, cmd *exec.Cmd) (stdin io.WriteCloser, stdout *bufio.Reader) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = t.Output()
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // with the status of the last command of a shell
	})
	return stdin, bufio.NewReader(out)
}

const finished = "-- finished with status "

// try runs a command of the shell's, and returns what it prints and its status.
func (r *root) try(command string) (output string, status int) {
	r.t.Helper()
	watchdog := time.AfterFunc(patience, func() { _ = r.shell.Kill() })
	defer watchdog.Stop()
	_, err := fmt.Fprintf(r.stdin, "{ %s\n} </dev/null 2>&1; status=$?; echo; echo %q$status\n", command, finished)
	check(r.t, err)
	var b strings.Builder
	for {
		line, err := r.out.ReadString('\n')
		if err != nil {
			r.t.Fatalf("%s: the root is gone: %v\n%s", command, err, &b)
		}
		if s, ok := strings.CutPrefix(line, finished); ok {
			status, err = strconv.Atoi(strings.TrimSpace(s))
			check(r.t, err)
			return strings.TrimSpace(b.String()), status
		}
		b.WriteString(line)
	}
}

// run runs a command that has to succeed.
func (r *root) run(command string) string {
	r.t.Helper()
	out, status := r.try(command)
	if status != 0 {
		r.t.Fatalf("%s: status %d\n%s", command, status, out)
	}
	return out
}

// as makes a command, which has no single quote in it, into one that a user runs, who has logged in.
func as(user, command string) string {
	return "runuser --login " + user + " --command '[ ! -d /run/user/$UID ] || export XDG_RUNTIME_DIR=/run/user/$UID; " + command + "'"
}

// logIn starts the systemd of alice's, as logging in does on a machine that has booted with one, sd_booted(3).
func (r *root) logIn() {
	r.t.Helper()
	r.run(`mkdir -p /run/systemd/system /sys/fs/cgroup/login && chown -R alice /sys/fs/cgroup/login &&
install -d -m 700 -o alice /run/user/$(id -u alice)`)
	r.run(`(echo $BASHPID >/sys/fs/cgroup/login/cgroup.procs && exec ` +
		as("alice", "exec /lib/systemd/systemd --user --unit=basic.target") + `) >/run/login 2>&1 &`)
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		got, status := r.try(as("alice", "systemctl --user is-active basic.target"))
		if status == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the systemd of the user does not start: %s\n%s", got, r.run("cat /run/login"))
		}
	}
}

// install installs the package as the README says, and returns what apt says: it has no network there, needs none, and
// has nothing to ask.
func (r *root) install() string {
	r.t.Helper()
	return r.run(`(cd /packages && apt-get install ./artifacts/packages/tunhook_*_amd64.deb)`)
}

// echo is a server on 127.0.0.1:7000 that confirms what RDP begins with, [MS-RDPBCGR] 2.2.1.2, and says everything else again: it
// is what the tunnels of the tests lead to.
const echo = `perl -MIO::Socket::INET -e '
$listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:7000", Listen => 9, ReuseAddr => 1) or die $!;
open my $up, ">", "/run/up";
while (my $c = $listener->accept) {
	next if fork;
	while (sysread $c, $_, 4096) { substr($_, 5, 1) = "\xd0" if /^\x03\x00/; syswrite $c, $_ }
	exit
}' & until [ -e /run/up ]; do sleep 0.1; done`

// client begins as one of RDP does, [MS-RDPBCGR] 2.2.1.1, and says then what it is given, line by line.
const client = `exec 3<>/dev/tcp/$1/$2 || exit
printf "\3\0\0\23\16\340\0\0\0\0\0\1\0\10\0\3\0\0\0" >&3; head --bytes=19 <&3 >/dev/null
while read -r line; do echo "$line" >&3; read -r line <&3; echo "back: $line"; done`

// connect makes a client of the user's that stays connected: each line that it is given comes back from the other end. The name is
// that of a coprocess of the shell's.
func (r *root) connect(name, address string) {
	r.t.Helper()
	r.run(`coproc ` + name + ` { exec ` + r.user + `bash -c '` + client + `' client ` + strings.Replace(address, ":", " ", 1) + `; } 2>/dev/null`)
	r.say(name, "connected")
}

// say has a client say a line, which has to come back.
func (r *root) say(name, line string) {
	r.t.Helper()
	got := r.run(`echo ` + line + ` >&"${` + name + `[1]}" && read -r -t 60 back <&"${` + name + `[0]}" && echo "$back"`)
	if got != "back: "+line {
		r.t.Fatalf("in the session %s: %q", name, got)
	}
}

// leave ends a client.
func (r *root) leave(name string) {
	r.t.Helper()
	r.run(`pid=$` + name + `_PID; eval "exec ${` + name + `[1]}>&-"; wait "$pid"`)
}

// remaining lists all files but those that apt and dpkg keep for themselves.
const remaining = `find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /run -o -path /packages -o -path /home \
	-o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/lib/dpkg -o -path /var/cache/debconf -o -path /var/log \) -prune -o -print | sort`

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
