//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestStatusWatchRedrawsInATerminal, in tmux: in its place below what was there before,
// no larger than the terminal, and so that the shell goes on below.
func TestStatusWatchRedrawsInATerminal(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	tunhook, listen := u.installTunhook(), freeAddress(t)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	route := "relay://" + server.Addr().String()

	term := u.startTmux(110, 20)
	term.typeLine("echo above")
	term.waitFor("the line above", func(lines []string) bool { return slices.Contains(lines, "above") })
	term.typeLine(tunhook + " status --watch")
	command := "$ " + tunhook + " status --watch"
	idle := []string{"$ echo above", "above", command, "tunhook: no tunnel is running"}
	term.waitFor("no tunnel", func(lines []string) bool { return slices.Equal(lines, idle) })

	u.must(tunhook, "start", route, listen)
	shows := func(words ...string) func([]string) bool {
		return func(lines []string) bool {
			return len(lines) == 5 && slices.Equal(lines[:3], idle[:3]) && strings.HasPrefix(lines[3], "ROUTE ") &&
				strings.HasPrefix(lines[4], route+" ") && hasAll(lines[4], words)
		}
	}
	term.waitFor("a tunnel in the place of the line", shows(listen, " ready ", "  -"))
	client, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	who := fmt.Sprintf("(pid %d)", os.Getpid())
	term.keepScreen("client", term.waitFor("the client", shows(" ready ", who)))
	u.must(tunhook, "stop", route, listen)
	term.waitFor("that it ends when idle", shows(" ending when idle ", who))

	// A narrow terminal cuts the route first; nothing is wrapped.
	term.resize(75, 20)
	term.keepScreen("narrow", term.waitFor("all but the route", func(lines []string) bool {
		return len(lines) == 2 && strings.HasPrefix(lines[0], "ROUTE ") && strings.Contains(lines[1], "… ") &&
			hasAll(lines[1], []string{listen, " ending when idle "}) && !slices.ContainsFunc(lines, wider(75))
	}))
	if colours := term.do("capture-pane", "-p", "-e"); strings.Contains(colours, "\x1b") {
		t.Errorf("there are colours: %q", colours)
	}
	client.Close()
	term.waitFor("that it has ended", func(lines []string) bool { return slices.Equal(lines, idle[3:]) })

	// There is no room for all tunnels.
	term.resize(110, 5)
	for range 6 {
		u.must(tunhook, "start", route, freeAddress(t))
	}
	few := func(lines []string) bool {
		return len(lines) == 4 && strings.HasPrefix(lines[0], "ROUTE ") && lines[3] == "… 4 more lines"
	}
	term.keepScreen("few-rows", term.waitFor("as many as there is room for", few))

	// The shell has the terminal in between, and gets it back.
	term.resize(110, 20)
	prompt := func(lines []string) bool { return lines[len(lines)-1] == "$" }
	term.press("C-z")
	term.waitFor("the prompt", prompt)
	u.must(tunhook, "stop", "--all")
	term.typeLine("fg")
	term.waitFor("no tunnel, below", func(lines []string) bool {
		return strings.HasPrefix(lines[0], "ROUTE ") && lines[len(lines)-1] == idle[3]
	})
	term.press("C-c")
	term.waitFor("the prompt once more", prompt) // what is typed before is lost, or not shown
	term.typeLine("echo status $?")
	end := term.waitFor("the status", func(lines []string) bool { return slices.Contains(lines, "status 130") })
	term.keepScreen("end", end)
}

// TestStatusWatchOnADumbTerminal adds each table below the last one.
func TestStatusWatchOnADumbTerminal(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	tunhook, listen := u.installTunhook(), freeAddress(t)
	term := u.startTmux(110, 20)
	term.typeLine("TERM=dumb " + tunhook + " status --watch")
	const idle = "tunhook: no tunnel is running"
	term.waitFor("no tunnel", func(lines []string) bool { return lines[len(lines)-1] == idle })
	u.must(tunhook, "start", "relay://127.0.0.1:9", listen)
	term.waitFor("a tunnel", func(lines []string) bool { return strings.Contains(lines[len(lines)-1], " ready ") })
	u.must(tunhook, "stop", "relay://127.0.0.1:9", listen)
	lines := term.waitFor("all three", func(lines []string) bool {
		first := slices.Index(lines, idle)
		return first >= 0 && lines[len(lines)-1] == idle && len(lines)-1 > first &&
			slices.ContainsFunc(lines[first:], func(line string) bool { return strings.Contains(line, " ready ") })
	})
	term.keepScreen("dumb", lines)
}

func hasAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text+" ", word) })
}

func wider(columns int) func(string) bool {
	return func(line string) bool { return utf8.RuneCountInString(line) > columns }
}

// keepScreen leaves what the screen shows among the artifacts.
func (term *tmux) keepScreen(name string, lines []string) {
	term.t.Helper()
	path := filepath.Join(term.artifacts, name+".txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		term.t.Fatal(err)
	}
}
