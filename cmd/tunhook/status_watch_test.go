package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

const nowhere = "relay://127.0.0.1:9"

// TestWatchedStatusIsADocumentALine, whole at once, until the reader has gone: that ends it although nothing changes.
func TestWatchedStatusIsADocumentALine(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	cmd := w.command("status", "--watch", "--json")
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	late := time.AfterFunc(2*tunneltest.Patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	next := func(state hook.State) {
		t.Helper()
		for lines.Scan() {
			var doc statusDocument
			if err := json.Unmarshal(lines.Bytes(), &doc); err != nil || doc.Version != statusVersion {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			if len(doc.Tunnels) == 0 && state == hook.Idle || len(doc.Tunnels) == 1 && doc.Tunnels[0].State == state {
				return
			}
		}
		t.Fatalf("it has ended and not told of %q", state)
	}
	next(hook.Idle)
	w.must("start", nowhere, p)
	next(hook.Ready)
	w.must("stop", nowhere, p)
	next(hook.Idle)
	check(t, out.Close())
	_ = cmd.Wait()
	if status := shellStatus(cmd.ProcessState); status != 128+int(syscall.SIGPIPE) {
		t.Errorf("the reader has gone: status %d", status)
	}
	w.nothingLeft()
}

// TestWatchEndsByASignalAndSaysNothing: that is how it shall end.
func TestWatchEndsByASignalAndSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd := w.command("status", "-w", "--json")
		out, end, err := os.Pipe()
		check(t, err)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = end, &stderr
		check(t, cmd.Start())
		check(t, end.Close())
		if line := firstLine(t, out); line != `{"version":1,"tunnels":[]}`+"\n" {
			t.Errorf("it begins with %q", line)
		}
		check(t, cmd.Process.Signal(sig))
		_ = cmd.Wait()
		if status := shellStatus(cmd.ProcessState); status != 128+int(sig) || stderr.Len() > 0 {
			t.Errorf("%v: status %d, stderr %q", sig, status, stderr.String())
		}
		check(t, out.Close())
	}
	w.nothingLeft()
}

// TestWatchRestsWhileNothingRuns: it does not even look. The kernel counts how often each of its threads has gone to sleep.
func TestWatchRestsWhileNothingRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.command("status", "--watch", "--json")
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	firstLine(t, out)
	const longerThanAnyPause = 2500 * time.Millisecond
	for deadline, last := time.Now().Add(2*tunneltest.Patience), ""; ; time.Sleep(longerThanAnyPause) {
		now := sleeps(t, cmd.Process.Pid)
		if now == last {
			return
		}
		if last = now; time.Now().After(deadline) {
			t.Fatal("it never rests")
		}
	}
}

// sleeps gives how often each thread of a process has gone to sleep, proc_pid_status(5).
func sleeps(t *testing.T, pid int) string {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	check(t, err)
	var all strings.Builder
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		check(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "voluntary_ctxt_switches:") {
				all.WriteString(thread + " " + line)
			}
		}
	}
	return all.String()
}

// TestWatchDrawsInPlace on a terminal, as wide as that is, and leaves it as it was.
func TestWatchDrawsInPlace(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t).with("TERM=xterm"), port(t)
	term := onTerminal(t, w.command("status", "--watch"))
	check(t, pty.Setsize(term.File, &pty.Winsize{Rows: 24, Cols: 100}))
	term.expect(t, "tunhook: no tunnel is running")
	w.must("start", nowhere, p)
	shown := term.expect(t, " ready ")
	if !strings.Contains(shown, "\r\x1b[1A") || strings.Contains(shown, "\x1b[2J") {
		t.Errorf("it was not drawn over the one line that was there: %q", shown)
	}
	check(t, pty.Setsize(term.File, &pty.Winsize{Rows: 24, Cols: 60}))
	shown = term.expect(t, wrapping)
	for line := range strings.SplitSeq(plainText(shown), "\r\n") {
		if n := len([]rune(line)); n > 60 {
			t.Errorf("%q has %d characters on a terminal of 60", line, n)
		}
	}
	if !strings.Contains(shown, "127.0.0.1:"+p) || !strings.Contains(shown, "ready") || !strings.Contains(shown, "…") {
		t.Errorf("the narrow table is %q", shown)
	}
	typed("\x03")(t, term)
	term.expect(t, "\r"+eraseToEndOfScreen)
	_ = term.cmd.Wait()
	if status := shellStatus(term.cmd.ProcessState); status != 128+int(syscall.SIGINT) {
		t.Errorf("after Ctrl-C: status %d", status)
	}
	w.must("stop", nowhere, p)
	w.nothingLeft()
}

// plainText is what a terminal shows of lines that are drawn with the few sequences of a screen.
func plainText(shown string) string {
	for _, sequence := range []string{eraseToEndOfLine, eraseToEndOfScreen, toTopOfScreen, noWrapping, wrapping} {
		shown = strings.ReplaceAll(shown, sequence, "")
	}
	return shown
}

// TestWatchOnADumbTerminalOnlyAddsLines, with the time above each table.
func TestWatchOnADumbTerminalOnlyAddsLines(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"TERM=dumb", "TERM="} {
		w, p := newWorld(t).with(variable), port(t)
		term := onTerminal(t, w.command("status", "--watch"))
		shown := term.expect(t, "tunhook: no tunnel is running\r\n")
		w.must("start", nowhere, p)
		shown += term.expect(t, " ready ")
		w.must("stop", nowhere, p)
		shown += term.expect(t, "tunhook: no tunnel is running\r\n")
		check(t, term.cmd.Process.Signal(syscall.SIGTERM))
		rest, _ := io.ReadAll(term) // the error says that the other end is closed
		_ = term.cmd.Wait()
		if shown += string(rest); obeyed(shown) != "" || strings.Count(shown, "\r\n\r\n") < 2 {
			t.Errorf("%s: it shows %q", variable, shown)
		}
		w.nothingLeft()
	}
}

// TestWatchShowsNothingHostile that stands in a record.
func TestWatchShowsNothingHostile(t *testing.T) {
	t.Parallel()
	bad := &pidfile.BadRecordError{Path: "/x" + hostile, Reason: "is bad" + hostile}
	tunnels := []hook.Tunnel{{Record: pidfile.Record{Route: "route" + hostile, Program: hostile}, State: hook.Ready}}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	check(t, err)
	defer out.Close()
	u := newUI(out, out)
	screen := u.newScreen("xterm", "", false)
	check(t, screen.show(tunnels, []error{bad}))
	check(t, u.eachChange(false)(tunnels, []error{bad}))
	check(t, u.eachChange(true)(tunnels, []error{bad}))
	text, err := os.ReadFile(out.Name())
	check(t, err)
	shown := strings.ReplaceAll(plainText(string(text)), "\t", " ")
	if why := obeyed(shown); why != "" || !strings.Contains(shown, "is bad") {
		t.Errorf("a terminal would obey %q of %q", why, shown)
	}
}

// TestScreenFitsTheTerminal: routes are cut first, then lines, and of too many lines the last are counted.
func TestScreenFitsTheTerminal(t *testing.T) {
	t.Parallel()
	long := "tcp+https://pomerium.example.com/" + strings.Repeat("very-", 20) + "long.example.com:3389"
	s := &screen{tunnels: []hook.Tunnel{
		{Record: pidfile.Record{Route: long, Started: now()}, State: hook.EndsIdle},
		{Record: pidfile.Record{Route: "kurz-mit-ä"}, State: hook.Idle},
	}}
	for _, width := range []int{500, 80, 60, 30, 5, 1} {
		lines := fit(s.lines(width), width, 24)
		for _, line := range lines {
			if n := len([]rune(line)); n > width {
				t.Errorf("%q has %d characters, there is room for %d", line, n, width)
			}
		}
		if text := strings.Join(lines, "\n"); width >= 80 && (!strings.Contains(text, "ending when idle") || !strings.Contains(text, "CLIENTS")) {
			t.Errorf("%d characters: %q lacks what is not the route", width, text)
		}
	}
	many := fit(strings.Split(strings.Repeat("line\n", 29)+"line", "\n"), 80, 10)
	if len(many) != 10 || many[9] != "… 21 more lines" {
		t.Errorf("%q", many)
	}
}

// TestChangedLinesTellOnlyWhatHasChanged, also where a name of the configuration comes and goes.
func TestChangedLinesTellOnlyWhatHasChanged(t *testing.T) {
	t.Parallel()
	tunnel := func(route string, state hook.State) hook.Tunnel {
		return hook.Tunnel{Record: pidfile.Record{Route: route}, State: state}
	}
	changes := newUI(os.Stdout, os.Stderr).changedLines()
	for i, step := range []struct {
		now  []hook.Tunnel
		want string
	}{
		{[]hook.Tunnel{tunnel("a", hook.Ready), tunnel("b", hook.Idle)}, "a ready b not running"},
		{[]hook.Tunnel{tunnel("a", hook.Ready), tunnel("b", hook.Idle)}, ""},
		{[]hook.Tunnel{tunnel("a", hook.EndsIdle)}, "a ending when idle"},
		{[]hook.Tunnel{tunnel("c", hook.Starting)}, "c starting a not running"},
		{nil, "c not running"},
		{nil, ""},
	} {
		text, err := changes(step.now)
		check(t, err)
		var got []string
		for line := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if _, err := time.Parse(time.RFC3339, fields[0]); err != nil || len(fields) != 6 {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, fields[1], fields[3])
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}
