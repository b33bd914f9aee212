//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A tmux is a terminal of the user's without a window, in which a shell runs, and whose
// screen can be read.
type tmux struct {
	*user
	socket string
}

// startTmux opens a terminal of so many columns and rows. It ends with the test.
func (u *user) startTmux(columns, rows int) *tmux {
	u.t.Helper()
	term := &tmux{u, filepath.Join(u.dir, "tmux")}
	term.do("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows), "env PS1='$ ' sh")
	u.t.Cleanup(func() { u.run("/usr/bin/tmux", "-S", term.socket, "kill-server") })
	term.waitFor("a prompt", func(lines []string) bool { return lines[0] == "$" })
	return term
}

func (term *tmux) do(args ...string) string {
	term.t.Helper()
	return term.must(append([]string{"/usr/bin/tmux", "-S", term.socket}, args...)...)
}

// typeLine types a line into the terminal, and Enter.
func (term *tmux) typeLine(text string) { term.do("send-keys", "-l", text); term.press("Enter") }

// press presses a key, by tmux's name for it.
func (term *tmux) press(key string) { term.do("send-keys", key) }

// resize gives the terminal another size.
func (term *tmux) resize(columns, rows int) {
	term.t.Helper()
	term.do("resize-window", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows))
}

// screen returns the lines that the screen shows, without the spaces at their ends, nor
// the empty ones at the bottom. There is one at least.
func (term *tmux) screen() []string {
	term.t.Helper()
	lines := strings.Split(strings.TrimRight(term.do("capture-pane", "-p"), " \n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

// waitFor waits until the screen is as it should be.
func (term *tmux) waitFor(what string, is func(lines []string) bool) []string {
	term.t.Helper()
	var lines []string
	defer func() {
		if term.t.Failed() {
			term.t.Logf("the screen:\n%s", strings.Join(lines, "\n"))
		}
	}()
	eventually(term.t, patience, what, func() bool {
		lines = term.screen()
		return is(lines)
	})
	return lines
}
