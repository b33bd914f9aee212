package main

import (
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// everyCommand gives the words of every command that people are shown, those that have commands of their own too.
func everyCommand(commands []*cli.Command, path ...string) (all [][]string) {
	for _, sub := range commands {
		if !sub.Hidden {
			words := append(path[:len(path):len(path)], sub.Name)
			all = append(append(all, words), everyCommand(sub.Subcommands, words...)...)
		}
	}
	return all
}

// TestHelpOfEveryCommandFitsATerminalAndHasAnExample that uses flags which there are. It is the same by each way to ask for it.
func TestHelpOfEveryCommandFitsATerminalAndHasAnExample(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := (&command{ui: newUI(os.Stdout, os.Stderr)}).app()
	for _, words := range append(everyCommand(app.Commands), nil) {
		help := w.must(append(words[:len(words):len(words)], "--help")...)
		for line := range strings.SplitSeq(help, "\n") {
			if len([]rune(line)) > helpWidth {
				t.Errorf("%q: longer than %d columns: %q", words, helpWidth, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%q: ends with spaces: %q", words, line)
			}
		}
		_, shown, ok := strings.Cut(help, "\n"+example)
		shown, _, _ = strings.Cut(shown, "\n\n")
		if command := "  " + strings.Join(append([]string{"tunhook"}, words...), " "); !ok || !strings.HasPrefix(shown, command) {
			t.Errorf("%q: the example is %q", words, shown)
		}
		for _, flag := range strings.Fields(shown) {
			if strings.HasPrefix(flag, "--") && flag != "--" && !strings.Contains(help, "  "+flag+" ") && !strings.Contains(help, "  "+flag+"\n") {
				t.Errorf("%q: the example has %s, which is no flag", words, flag)
			}
		}
		asked := append([]string{"help"}, words...)
		if got := w.must(asked...); got != help {
			t.Errorf("tunhook %q says %q, and --help %q", asked, got, help)
		}
		if len(words) > 1 {
			asked := []string{words[0], "help", words[1]}
			if got := w.must(asked...); got != help {
				t.Errorf("tunhook %q says %q, and --help %q", asked, got, help)
			}
		}
	}
}

// TestHelpFitsANarrowTerminal, its examples too, which stay commands; the narrowest get no less than 40 columns.
func TestHelpFitsANarrowTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, words := range [][]string{{"help"}, {"help", "run"}, {"help", "remmina"}, {"routes", "--help"}} {
		whole := unbroken(w.must(words...))
		for terminal, most := range map[uint16]int{10: 40, 40: 40, 50: 50, 79: 79, 80: 80, 200: 80} {
			shown := shownOn(t, terminal, w.command(words...))
			fitsTerminal(t, shown, most)
			if got := unbroken(shown); got != whole {
				t.Errorf("%q on %d columns: %q, want %q", words, terminal, got, whole)
			}
		}
	}
}

// unbroken gives the words of a text, and no line's end.
func unbroken(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\\\n", "")), " ")
}

// TestDoctorFitsANarrowTerminal but for words that are longer.
func TestDoctorFitsANarrowTerminal(t *testing.T) {
	t.Parallel()
	cmd := newWorld(t).command("doctor")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `"$0" doctor || true`, cmd.Path}
	shown := shownOn(t, 50, cmd)
	wrapped := 0
	for line := range strings.SplitSeq(strings.ReplaceAll(shown, "\r", ""), "\n") {
		if strings.HasPrefix(line, belowLevel) {
			wrapped++
		}
		if columns(line) > 50 && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("it takes %d columns: %q", columns(line), line)
		}
	}
	if wrapped < 3 {
		t.Errorf("%q", shown)
	}
}
