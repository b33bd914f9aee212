package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// runTrap is a run whose client reports the signals that reach it.
func (w *world) runTrap(port string) *exec.Cmd {
	return w.with("CLIENT_REPORT="+w.path("report")).command("run", "relay://127.0.0.1:9", port, "--", "client", "trap")
}

// expectReport wants the client to have caught these signals and nothing else, run to have given its status, and nothing left.
func (w *world) expectReport(cmd *exec.Cmd, signals string) {
	w.t.Helper()
	_ = cmd.Wait() // the state says it all
	report, err := os.ReadFile(w.path("report"))
	if want := "caught " + signals + "\n"; err != nil || string(report) != want {
		w.t.Errorf("the client reports %q, %v; want %q", report, err, want)
	}
	if status := shellStatus(cmd.ProcessState); status != 10 {
		w.t.Errorf("run exited with status %d, its client with 10", status)
	}
	w.nothingLeft()
}

// TestRunPassesSignalsOn to a client that has no terminal to get them from.
func TestRunPassesSignalsOn(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cmd := w.runTrap(port(t))
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			out, err := cmd.StdoutPipe()
			check(t, err)
			check(t, cmd.Start())
			if line := firstLine(t, out); line != "ready\n" {
				t.Fatalf("the client says %q", line)
			}
			check(t, cmd.Process.Signal(sig))
			w.expectReport(cmd, sig.String())
		})
	}
}

// TestRunGivesItsClientTheSignalActionsOfItsCaller, as if the caller had started the client itself: nohup(1) has a hangup ignored.
func TestRunGivesItsClientTheSignalActionsOfItsCaller(t *testing.T) {
	t.Parallel()
	for _, ignored := range []string{"QUIT", "HUP INT"} {
		w := newWorld(t)
		with := func(argv ...string) string {
			argv = append([]string{"sh", "-c", "trap '' " + ignored + `; exec "$@"`, "sh"}, argv...)
			got := w.finish(&exec.Cmd{Path: "/bin/sh", Args: argv, Env: w.environ, Dir: w.dir})
			if got.status != 3 {
				t.Errorf("%q: %v", argv, got)
			}
			return got.stdout
		}
		look := []string{"/bin/sh", "-c", "trap '' QUIT; grep SigIgn /proc/self/status; exit 3"} // Go's programs have this one's action reset
		through := append([]string{w.program, "run", "relay://127.0.0.1:9", port(t), "--"}, look...)
		if directly, run := with(look...), with(through...); run != directly || run == "" {
			t.Errorf("ignoring %s: the client has %q, and %q without tunhook", ignored, run, directly)
		}
		w.nothingLeft()
	}
}

// terminal is a command on a terminal of its own, as the leader of its session.
type terminal struct {
	*os.File
	cmd *exec.Cmd
}

func onTerminal(t *testing.T, cmd *exec.Cmd) terminal {
	t.Helper()
	tty, err := pty.Start(cmd)
	check(t, err)
	t.Cleanup(func() {
		tty.Close()
		_ = cmd.Process.Kill()
	})
	return terminal{tty, cmd}
}

// expect reads what the terminal shows until text is there, and gives it all.
func (term terminal) expect(t *testing.T, text string) string {
	t.Helper()
	check(t, term.SetReadDeadline(time.Now().Add(tunneltest.Patience)))
	var shown strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(shown.String(), text) {
		n, err := term.Read(buf)
		shown.Write(buf[:n])
		if err != nil {
			t.Fatalf("the terminal shows %q, which lacks %q: %v", shown.String(), text, err)
		}
	}
	return shown.String()
}

// TestRunOnATerminalDeliversEachSignalOnce: those that are typed reach the client from the terminal, others through run.
func TestRunOnATerminalDeliversEachSignalOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		send func(t *testing.T, term terminal)
		want string
	}{
		"Ctrl-C typed":  {typed("\x03"), "interrupt"},
		"Ctrl-\\ typed": {typed("\x1c"), "quit"},
		"TERM sent":     {func(t *testing.T, term terminal) { check(t, term.cmd.Process.Signal(syscall.SIGTERM)) }, "terminated"},
		"HUP sent":      {func(t *testing.T, term terminal) { check(t, term.cmd.Process.Signal(syscall.SIGHUP)) }, "hangup"},
		"window closed": {func(t *testing.T, term terminal) { check(t, term.Close()) }, "hangup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			term := onTerminal(t, w.runTrap(port(t)))
			term.expect(t, "ready\r\n")
			tc.send(t, term)
			w.expectReport(term.cmd, tc.want)
		})
	}
}

func typed(keys string) func(*testing.T, terminal) {
	return func(t *testing.T, term terminal) {
		_, err := term.WriteString(keys)
		check(t, err)
	}
}

// TestClientReadsFromTheTerminal: it is in the foreground, as if no tunhook were there.
func TestClientReadsFromTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	term := onTerminal(t, w.command("run", "relay://127.0.0.1:9", port(t), "--", "sh", "-c", `test -t 0 && read line && echo "got $line" && exit 3`))
	_, err := term.WriteString("a line\n")
	check(t, err)
	term.expect(t, "got a line")
	_ = term.cmd.Wait() // the state says it all
	if status := shellStatus(term.cmd.ProcessState); status != 3 {
		t.Errorf("status %d, want the client's", status)
	}
	w.nothingLeft()
}

// TestWaitingIsShownOnATerminal with a line that moves and is gone in the end; Ctrl-C ends the wait and the tunnel.
func TestWaitingIsShownOnATerminal(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t).with("TUNNELTEST_DELAY=1h"), port(t)
	term := onTerminal(t, w.command("start", "--timeout", "5m", "desk.example.com:3389", port))
	line := regexp.MustCompile(`\r\x1b\[Ktunhook: waiting for pomerium-cli to listen on 127\.0\.0\.1:` + port + `, (\d+) s`)
	for shown, times := "", []string{}; len(times) < 2; { // a busy machine does not show every second
		shown += term.expect(t, " s")
		times = nil
		for _, match := range line.FindAllStringSubmatch(shown, -1) {
			times = append(times, match[1])
		}
		times = slices.Compact(times)
	}
	typed("\x03")(t, term)
	if shown := term.expect(t, "tunhook: interrupted by SIGINT\r\n"); !strings.HasSuffix(shown, "\r\x1b[Ktunhook: interrupted by SIGINT\r\n") {
		t.Errorf("the line that moves is left: %q", shown)
	}
	_ = term.cmd.Wait() // the state says it all
	if status := shellStatus(term.cmd.ProcessState); status != 130 {
		t.Errorf("status %d, want 130", status)
	}
	w.nothingLeft()
}

// TestWaitingIsSaidOnceOnAPlainTerminal, which can take no line back.
func TestWaitingIsSaidOnceOnAPlainTerminal(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t).with("TUNNELTEST_DELAY=1h", "TERM=dumb"), port(t)
	term := onTerminal(t, w.command("start", "desk.example.com:3389", port))
	shown := term.expect(t, "tunhook: waiting for pomerium-cli to listen on 127.0.0.1:"+port+"\r\n")
	typed("\x03")(t, term)
	shown += term.expect(t, "tunhook: interrupted by SIGINT\r\n")
	if strings.Count(shown, "waiting") != 1 || strings.Contains(shown, "\x1b") {
		t.Errorf("a plain terminal is shown %q", shown)
	}
	_ = term.cmd.Wait() // the state says it all
	w.nothingLeft()
}

// TestRunWhoseTunnelDiesStillGivesTheClientsStatus and clears away what is left.
func TestRunWhoseTunnelDiesStillGivesTheClientsStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.runTrap(port(t))
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	firstLine(t, out)
	rec := w.record()
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	tunneltest.Eventually(t, "the tunnel program ends", func() bool { return !rec.Tunnel.Alive() })
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	w.expectReport(cmd, "terminated")
}

// TestTunnelOfAKilledRunEnds soon, by itself: nobody calls tunhook again.
func TestTunnelOfAKilledRunEnds(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	cmd := w.runTrap(port)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if line := firstLine(t, out); line != "ready\n" {
		t.Fatalf("the client says %q", line)
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	var left []process.Identity
	tunneltest.Eventually(t, "tunnel and keeper end", func() bool {
		left = w.left()
		return len(left) <= 1
	})
	if len(left) != 1 || !strings.HasPrefix(describe(left), fmt.Sprintf("%d [\"client\" \"trap\"", left[0].PID)) {
		t.Errorf("left are %s; want the client, which is not tunhook's to end", describe(left))
	}
	killAll(left)
	tunneltest.Eventually(t, "the client ends", func() bool { return len(w.left()) == 0 })
	w.nothingLeft()
}

// TestRunKilledWhileItStartsLeavesATunnelThatCanBeStopped, and that the next run ends: it may not have had its keeper yet.
func TestRunKilledWhileItStartsLeavesATunnelThatCanBeStopped(t *testing.T) {
	t.Parallel()
	for _, next := range [][]string{{"stop"}, {"run"}} {
		w, port := newWorld(t), port(t)
		cmd := w.command("run", "relay://127.0.0.1:9", port, "--", "sleep", "1000")
		check(t, cmd.Start())
		w.awaitLaunch()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		args, want := append(next, "relay://127.0.0.1:9", port), 0
		if next[0] == "run" {
			args, want = append(args, "--", "sh", "-c", "exit 3"), 3
		}
		if got := w.do(args...); got.status != want {
			t.Errorf("%v, want status %d", got, want)
		}
		tunneltest.Eventually(t, "all but the client end", func() bool { // a keeper that was quicker may be about to go
			return !slices.ContainsFunc(w.left(), func(id process.Identity) bool {
				return !strings.Contains(describe([]process.Identity{id}), `["sleep" "1000"`)
			})
		})
		killAll(w.left()) // the client, which is not tunhook's to end
		tunneltest.Eventually(t, "the client ends", func() bool { return len(w.left()) == 0 })
		w.nothingLeft()
	}
}

// TestSimultaneousRunsShareOneTunnel, and the last one ends it, whichever that is.
func TestSimultaneousRunsShareOneTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	for i, r := range atOnce(40, func(i int) result {
		return w.do("run", "relay://127.0.0.1:9", port, "--", "sh", "-c", fmt.Sprintf("sleep 0.%02d; exit %d", i%10, i+1))
	}) {
		if r.status != i+1 || r.stderr != "" {
			t.Errorf("run %d: %v", i, r)
		}
	}
	w.nothingLeft()
}

// TestRunGivesTheClientsStatusThoughItCannotEndTheTunnel.
func TestRunGivesTheClientsStatusThoughItCannotEndTheTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	got := w.do("run", "relay://127.0.0.1:9", port, "--", "/bin/sh", "-c", `chmod 0755 "$XDG_RUNTIME_DIR"; exit 7`)
	if got.status != 7 || !isOneMessage(got.stderr) || !strings.Contains(got.stderr, "not its tunnel") || !strings.Contains(got.stderr, w.path("run")) {
		t.Errorf("%v, want the client's status 7 and what is the matter", got)
	}
	check(t, os.Chmod(w.path("run"), 0o700))
	w.must("stop", "relay://127.0.0.1:9", port)
	tunneltest.Eventually(t, "the keeper goes, which may have been the one to end it", func() bool { return len(w.left()) == 0 })
	w.nothingLeft()
}
