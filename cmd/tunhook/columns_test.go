package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
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

func fitsTerminal(t *testing.T, shown string, columns int) {
	t.Helper()
	for _, line := range movement.Split(shown, -1) {
		if n := utf8.RuneCountInString(line); n > columns {
			t.Errorf("%d columns: %q has %d characters", columns, line, n)
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
