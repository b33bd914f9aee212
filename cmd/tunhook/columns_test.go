package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// shownOn is all that a command shows on a terminal of so many columns, with the ways in which it moved the cursor.
func shownOn(t *testing.T, columns uint16, cmd *exec.Cmd) string {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: columns})
	check(t, err)
	defer tty.Close()
	var shown strings.Builder
	for buf := make([]byte, 1024); ; {
		n, err := tty.Read(buf)
		shown.Write(buf[:n])
		if err != nil { // EIO: nobody has the other end any more, pty(7)
			break
		}
	}
	check(t, cmd.Wait())
	return shown.String()
}

// movement is what moves the cursor to where the next line begins, or takes away what is right of it.
var movement = regexp.MustCompile(`\r?\n|\r|\x1b\[K`)

func fitsTerminal(t *testing.T, shown string, most int) {
	t.Helper()
	for _, line := range movement.Split(shown, -1) {
		if n := columns(line); n > most {
			t.Errorf("%d columns: %q takes %d", most, line, n)
		}
		if strings.Contains(line, "\x1b") {
			t.Errorf("%q has a control sequence", line)
		}
	}
}

// TestStatusFitsItsTerminal: routes are cut there, and nowhere else.
func TestStatusFitsItsTerminal(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	route := "relay://" + strings.Repeat("very-", 20) + "long.example.com:3389"
	w.must("start", route, p)
	for _, args := range [][]string{{"status"}, {"status", "--all"}, {"status", route}} {
		shown := shownOn(t, 80, w.command(args...))
		fitsTerminal(t, shown, 80)
		for _, want := range []string{"ROUTE", "CLIENTS", "relay://very", "127.0.0.1:" + p, "ready"} {
			if !strings.Contains(shown, want) {
				t.Errorf("%q: %q lacks %q", args, shown, want)
			}
		}
	}
	if piped := w.must("status"); !strings.Contains(piped, route) {
		t.Errorf("what is piped is cut: %q", piped)
	}
	w.must("stop", route, p)
	w.nothingLeft()
}

// TestWaitingFitsItsTerminal, in the place of what was shown before, and without colours whether they are unwanted or not.
func TestWaitingFitsItsTerminal(t *testing.T) {
	t.Parallel()
	for _, colour := range []string{"NO_COLOR=", "NO_COLOR=1"} {
		t.Run(colour, func(t *testing.T) {
			t.Parallel()
			w, p := newWorld(t), port(t)
			listens := w.path("listens")
			w = w.with("TERM=xterm-256color", colour, "TUNNELTEST_AWAIT="+listens)
			cmd := w.command("start", "desk.example.com:3389", p)
			tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 30})
			check(t, err)
			term := terminal{tty, cmd}
			defer tty.Close()
			shown := term.expect(t, "waiting") + term.expect(t, "waiting")
			check(t, os.WriteFile(listens, nil, 0o600))
			shown += term.expect(t, fmt.Sprintf("127.0.0.1:%s\r\n", p))
			check(t, cmd.Wait())
			fitsTerminal(t, shown, 30)
			w.must("stop", "desk.example.com:3389", p)
			w.nothingLeft()
		})
	}
}

// TestColumnsOfWords as a terminal shows them: Unicode Standard Annex #11.
func TestColumnsOfWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 0, "desk": 4, "größe": 5, "gro\u0308ße": 5, "東京": 4, "ｆｕｌｌ": 8, "ﾊﾝｶｸ": 4, "데스크": 6, "🖥": 1, "🖥\ufe0f": 2, "😀": 2, "…": 1,
	} {
		if got := columns(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
		for most := 1; most <= want+1; most++ {
			short := cut(text, most)
			if n := columns(short); n > most || n < min(want, most)-1 || (short == text) != (want <= most) {
				t.Errorf("%q, cut to %d columns, is %q", text, most, short)
			}
		}
	}
}

// TestTablesStandInColumns, whatever the characters are.
func TestTablesStandInColumns(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	table := newTable(&text)
	row(table, "ROUTE", "", "STATE")
	row(table, "東京", "é", "re\x1b[2Jady")
	row(table, "long-one", "🖥\ufe0f", "")
	check(t, table.Flush())
	const want = "ROUTE         STATE\n東京      é   ready\nlong-one  🖥\ufe0f  \n"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}

// TestStatusOfWideNamesFitsItsTerminal with all its columns, once and watched.
func TestStatusOfWideNamesFitsItsTerminal(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	name := strings.Repeat("東京-데스크-", 6)
	dir := w.path("home", ".config", "tunhook")
	check(t, os.MkdirAll(dir, 0o700))
	check(t, os.WriteFile(dir+"/config.toml", []byte("[tunnel.\""+name+"\"]\nroute = \"relay://desk.example.com:3389\"\nlisten = \"127.0.0.1:"+p+"\"\n"), 0o600))
	shown := shownOn(t, 80, w.command("status", "--all"))
	fitsTerminal(t, shown, 80)
	for _, want := range []string{"ROUTE", "CLIENTS", "東京", "127.0.0.1:" + p, string(hook.Idle)} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q lacks %q", shown, want)
		}
	}
	s := (&ui{}).newScreen("xterm", "", true)
	s.tunnels = []hook.Tunnel{{State: hook.Ready, Record: pidfile.Record{Route: name}, Clients: []tunnel.Peer{{Program: "remmina", PID: 7}}}}
	for _, line := range fit(s.lines(80), 80, 24) {
		if columns(line) > 80 || strings.HasSuffix(line, "…") {
			t.Errorf("%q takes %d columns", line, columns(line))
		}
	}
}
