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
