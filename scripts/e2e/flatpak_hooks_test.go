//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logins are the users that a sandbox may have.
var logins = map[string]func(testing.TB) *desktop{
	"root":          newRootDesktop,
	"ordinary user": newOrdinaryDesktop,
}

// hookCommands are the ways in which a client in a sandbox calls tunhook: the program in
// the home directory, or the script that stands in for one that the sandbox does not see;
// and either as Remmina does since 1.4.41.
var hookCommands = map[string]func(*boxedOffice) string{
	"program":              func(o *boxedOffice) string { return o.tunhook },
	"script":               func(o *boxedOffice) string { return o.script },
	"program, with prefix": func(o *boxedOffice) string { return spawnPrefix + o.tunhook },
	"script, with prefix":  func(o *boxedOffice) string { return spawnPrefix + o.script },
}

const spawnPrefix = "flatpak-spawn --host "

// A boxedOffice is an office whose client is in a sandbox.
type boxedOffice struct {
	*homeOffice
	box    *sandbox
	script string // what "tunhook remmina enable" has installed
	server string // an SSH server's address
}

func newBoxedOffice(o *homeOffice, box *sandbox) *boxedOffice {
	o.t.Helper()
	b := &boxedOffice{homeOffice: o, box: box, server: startSSHServer(o.t).address}
	file := o.save(o.sandboxedRemmina(), profile{name: "desk", server: "desk.corp.example.com"})
	b.script, _, _ = strings.Cut(settings(o.enable(file).text)["precommand"], " ")
	return b
}

// officeOf returns a user's office.
func officeOf(d *desktop) *homeOffice {
	d.t.Helper()
	tunhook := d.installTunhook()
	return &homeOffice{desktop: d, tunhook: tunhook, program: tunhook}
}

// eachHook runs a test for every user and every way to call tunhook.
func eachHook(t *testing.T, test func(o *boxedOffice, hook string)) {
	t.Helper()
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := login(t)
			o := newBoxedOffice(officeOf(d), d.installSandbox(nil))
			for name, hook := range hookCommands {
				t.Run(name, func(t *testing.T) { test(o.in(t), hook(o)) })
			}
		})
	}
}

// in returns the office for a test within the test that it was made for.
func (o *boxedOffice) in(t *testing.T) *boxedOffice {
	u := *o.user
	u.t = t
	d := *o.desktop
	d.user = &u
	home, boxed := *o.homeOffice, *o
	home.desktop = &d
	boxed.homeOffice, boxed.box = &home, &sandbox{desktop: &d}
	return &boxed
}

// A boxedShell is a shell in a sandbox, and the application there: when it has ended, so
// has the sandbox.
type boxedShell struct {
	*process
	office *boxedOffice
	stdin  io.Writer
}

func (o *boxedOffice) startShell(permissions ...string) *boxedShell {
	o.t.Helper()
	cmd := o.command(o.box.command(permissions, "sh")...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	return &boxedShell{process: o.startCommand(cmd), office: o, stdin: stdin}
}

// does has the shell do a line, and waits until it is done.
func (s *boxedShell) does(line string) result {
	s.t.Helper()
	dir, err := os.MkdirTemp(s.office.home, "line-")
	if err != nil {
		s.t.Fatal(err)
	}
	s.office.own(dir)
	began := time.Now()
	_, err = fmt.Fprintf(s.stdin, "{ %s\n} </dev/null >%[2]s/stdout 2>%[2]s/stderr; echo $? >%[2]s/s; mv %[2]s/s %[2]s/status\n", line, dir)
	if err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, patience, "the shell in the sandbox has done: "+line, func() bool { return exists(filepath.Join(dir, "status")) })
	status, err := strconv.Atoi(strings.TrimSpace(s.office.read(filepath.Join(dir, "status"))))
	if err != nil {
		s.t.Fatal(err)
	}
	return result{status, s.office.read(filepath.Join(dir, "stdout")), s.office.read(filepath.Join(dir, "stderr")), time.Since(began)}
}

// pid returns the shell's process id on the host.
func (s *boxedShell) pid() int {
	s.t.Helper()
	for _, pid := range s.office.pids() {
		if commandLine(pid) == "sh" {
			return pid
		}
	}
	s.t.Fatalf("no shell runs: %q", s.office.running(""))
	return 0
}

func TestFlatpakHooksStartAndStopTheTunnelOnTheHost(t *testing.T) {
	t.Parallel()
	eachHook(t, func(o *boxedOffice, hook string) {
		t := o.t.(*testing.T)
		listen := freeAddress(t)
		words := " relay://" + o.server + " " + listen
		shell := o.startShell(talkToHost)
		var first tunnelStatus
		for range 2 {
			got := shell.does(hook + " start" + words + " --ready ssh --end-with parent")
			if got.status != 0 || got.stdout != listen+"\n" {
				t.Fatalf("start: %v", got)
			}
			if first.PID == 0 {
				first = o.tunnel()
			}
		}
		if now := o.tunnel(); now != first || !onHost(now.PID) {
			t.Errorf("the tunnel was %+v and is %+v, on the host: %v", first, now, onHost(now.PID))
		}
		if got := banner(t, listen); !strings.HasPrefix(got, "SSH-2.0-") {
			t.Errorf("through the tunnel comes %q", got)
		}
		const taken = 6
		if got := shell.does(hook + " start relay://127.0.0.1:9 " + listen); got.status != taken || !strings.Contains(got.stderr, listen+" is taken by") {
			t.Errorf("another start on that address: %v", got)
		}
		if got := shell.does(hook + " stop" + words); got.status != 0 {
			t.Errorf("stop: %v", got)
		}
		o.waitUntilNothingIsLeft(listen)
		shell.stop()
	})
}

func TestFlatpakHooksPassSignalsOn(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	eachHook(t, func(o *boxedOffice, hook string) {
		t := o.t.(*testing.T)
		for name, number := range map[string]int{"TERM": 15, "HUP": 1} {
			listen := freeAddress(t)
			shell := o.startShell(talkToHost)
			started := shell.does(hook + " start relay://" + silent.Addr().String() + " " + listen + " --ready ssh & echo $!")
			eventually(t, patience, "the start waits for an answer", func() bool { return listens(t, listen) })
			pid := strings.TrimSpace(started.stdout)
			if got := shell.does("kill -" + name + " " + pid + "; wait " + pid); got.status != 128+number {
				t.Errorf("the start, after SIG%s: %v", name, got)
			}
			o.waitUntilNothingIsLeft(listen)
			shell.stop()
		}
	})
}

func TestFlatpakSandboxThatEndsTakesItsTunnelAlong(t *testing.T) {
	t.Parallel()
	eachHook(t, func(o *boxedOffice, hook string) {
		t := o.t.(*testing.T)
		for name, end := range map[string]func(*boxedShell){
			"flatpak kill": func(*boxedShell) { o.box.kill() },
			"SIGKILL":      func(s *boxedShell) { s.office.kill(s.pid()) },
			"exit":         func(s *boxedShell) { fmt.Fprintln(s.stdin, "exit") },
		} {
			listen := freeAddress(t)
			shell := o.startShell(talkToHost)
			if got := shell.does(hook + " start relay://" + o.server + " " + listen + " --end-with parent"); got.status != 0 {
				t.Fatalf("start: %v", got)
			}
			o.tunnel()
			t.Log(name)
			end(shell)
			o.waitUntilNothingIsLeft(listen)
			shell.wait(patience)
		}
	})
}

// onHost reports whether a process sees the same processes as the tests do.
func onHost(pid int) bool {
	own, err := os.Stat("/proc/self/ns/pid")
	if err != nil {
		return false
	}
	its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return err == nil && own.Sys().(*syscall.Stat_t).Ino == its.Sys().(*syscall.Stat_t).Ino
}
