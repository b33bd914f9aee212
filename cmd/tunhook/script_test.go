package main

import (
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestScripts runs testdata/script/*.txtar. Each has an account of its own, an echo server at $target for tunnels to lead
// to ($target_host and $target_port are its parts), the tests' programs in $PROGRAMS, the manual pages in $PACKAGING, and
// these commands:
//
//	port NAME...           put a free port into each variable
//	exits STATUS CMD...    run a command, which must exit with STATUS; "stdout" and "stderr" look at what it wrote
//	refused STATUS CMD...  the same of a command that must leave everything as it was: no output, one line of message,
//	                       no file changed, no process more
//	until PATTERN CMD...   run a command again and again, until its output matches
//	[!] listens ADDRESS    somebody listens there
//	[!] echoes ADDRESS     what is sent there comes back
//	serve NAME HOST        the test itself, pid $self, listens on HOST, on a port that it puts into a variable
//	setpid NAME ROUTE...   put the pid of the tunnel that "status" shows into a variable
//	signal NAME PID        send a signal
//	nothing-left [soon]    no process and no record is left, or there will be none
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := programDir(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setUpScript(env, bin) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"port": scriptPort, "exits": scriptExits, "refused": scriptRefused, "until": scriptUntil, "listens": scriptListens,
			"echoes": scriptEchoes, "serve": scriptServe, "setpid": scriptSetPID, "signal": scriptSignal, "nothing-left": scriptNothingLeft,
		},
	})
}

func setUpScript(env *testscript.Env, bin string) error {
	if err := makeWorld(env.WorkDir); err != nil {
		return err
	}
	mark := newMark()
	for _, v := range worldEnviron(env.WorkDir, bin, mark) {
		name, value, _ := strings.Cut(v, "=")
		env.Setenv(name, value)
	}
	env.Setenv("PATH", bin+":/usr/bin:/bin")
	env.Defer(func() { killAll(marked(mark)) })
	echo, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	if err != nil {
		return err
	}
	env.Defer(func() { _ = echo.Close() })
	host, port, err := net.SplitHostPort(echo.Addr())
	env.Setenv("target", echo.Addr())
	env.Setenv("target_host", host)
	env.Setenv("target_port", port)
	env.Setenv("PROGRAMS", bin)
	packaging, absErr := filepath.Abs("../../packaging")
	env.Setenv("PACKAGING", packaging)
	return errors.Join(err, absErr)
}

func scriptPort(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		port, guard, err := freePort()
		ts.Check(err)
		ts.Defer(func() { guard.Close() })
		ts.Setenv(name, port)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS CMD...")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = shellStatus(exit.ProcessState)
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || status != want {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
}

func scriptRefused(ts *testscript.TestScript, neg bool, args []string) {
	before, processes := scriptFiles(ts), len(marked(ts.Getenv(markVariable)))
	scriptExits(ts, neg, args)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout is %q, want nothing", out)
	}
	if message := ts.ReadFile("stderr"); !isOneMessage(message) {
		ts.Fatalf("stderr is %q, want one line", message)
	}
	if !maps.Equal(before, scriptFiles(ts)) {
		ts.Fatalf("files changed: before\n%q\nafter\n%q", before, scriptFiles(ts))
	}
	if now := marked(ts.Getenv(markVariable)); len(now) > processes { // one that was about to go may have gone
		ts.Fatalf("there were %d processes, there are %s", processes, describe(now))
	}
}

// isOneMessage tells whether text is one line for a person.
func isOneMessage(text string) bool {
	return strings.HasPrefix(text, "tunhook: ") && strings.Count(text, "\n") == 1 && strings.HasSuffix(text, "\n")
}

func scriptFiles(ts *testscript.TestScript) map[string]string {
	return files(ts.Getenv("HOME"), ts.Getenv("XDG_RUNTIME_DIR"))
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN CMD...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for began := time.Now(); ; tunneltest.Pause(began) {
		_ = ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Since(began) > tunneltest.Patience {
			ts.Fatalf("the output does not come to match %s", args[0])
		}
	}
}

func scriptListens(ts *testscript.TestScript, neg bool, args []string) {
	if free(args[0]) != neg {
		ts.Fatalf("somebody listens on %s: %v", args[0], neg)
	}
}

func scriptEchoes(ts *testscript.TestScript, neg bool, args []string) {
	if err := roundTrip(args[0]); (err != nil) != neg {
		ts.Fatalf("round trip through %s: %v", args[0], err)
	}
}

func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", net.JoinHostPort(args[1], "0"))
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	ts.Setenv("self", strconv.Itoa(os.Getpid()))
}

var jsonPID = regexp.MustCompile(`(?m)^ {6}"pid": (\d+)`)

func scriptSetPID(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("tunhook", append([]string{"status", "--json"}, args[1:]...)...))
	pids := jsonPID.FindAllStringSubmatch(ts.ReadFile("stdout"), -1)
	if len(pids) != 1 {
		ts.Fatalf("there are %d tunnels, want 1", len(pids))
	}
	ts.Setenv(args[0], pids[0][1])
}

func scriptSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "STOP": syscall.SIGSTOP}
	pid, err := strconv.Atoi(args[1])
	ts.Check(err)
	if pid <= 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal NAME PID")
	}
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}

func scriptNothingLeft(ts *testscript.TestScript, _ bool, args []string) {
	for began := time.Now(); len(args) > 0 && time.Since(began) < tunneltest.Patience; tunneltest.Pause(began) {
		if len(marked(ts.Getenv(markVariable))) == 0 {
			break
		}
	}
	if left := marked(ts.Getenv(markVariable)); len(left) > 0 {
		ts.Fatalf("left behind: %s", describe(left))
	}
	if records, _ := filepath.Glob(filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "tunhook", "*")); len(records) > 0 {
		ts.Fatalf("left behind: %q", records)
	}
}
