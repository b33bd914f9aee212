package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	check(t, err)
	return string(text)
}

// eachCommand calls use for every command that people are shown, with its name as it is typed, such as "remmina enable".
func eachCommand(commands []*cli.Command, path string, use func(name string, sub *cli.Command)) {
	for _, sub := range commands {
		if sub.Hidden {
			continue
		}
		if len(sub.Subcommands) == 0 {
			use(path+sub.Name, sub)
		}
		eachCommand(sub.Subcommands, path+sub.Name+" ", use)
	}
}

// TestEveryCommandAndFlagIsInTheManualAndTheCompletions of each shell.
func TestEveryCommandAndFlagIsInTheManualAndTheCompletions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manual := document(t, "packaging/tunhook.1")
	_, synopsis, _ := strings.Cut(manual, "\n.Sh SYNOPSIS\n")
	synopsis, description, _ := strings.Cut(synopsis, "\n.Sh DESCRIPTION\n")
	zsh, fish := document(t, "packaging/completions/_tunhook"), document(t, "packaging/completions/tunhook.fish")

	app := (&command{ui: newUI(os.Stdout, os.Stderr)}).app()
	var names []string
	eachCommand(app.Commands, "", func(name string, sub *cli.Command) {
		names = append(names, name)
		last := sub.Name
		var said string // all that the synopsis has of this command
		for form := range strings.SplitSeq(synopsis+"\n", ".Nm\n") {
			if strings.HasPrefix(form, ".Cm "+name+"\n") || strings.HasPrefix(form, ".Cm "+name+" ") {
				said += form
			}
		}
		if said == "" {
			t.Errorf("the synopsis of the manual has no %s", name)
		}
		for shell, has := range map[string]bool{
			"zsh":  strings.Contains(zsh, "'"+last+":"),
			"fish": strings.Contains(fish, " -a "+last+" "),
			"bash": slices.Contains(w.tab("tunhook "+strings.TrimSuffix(name, last)), last),
		} {
			if !has {
				t.Errorf("%s does not complete %s", shell, name)
			}
		}

		offered := w.tab("tunhook " + name + " --")
		want := []string{"--help"}
		for _, flag := range sub.VisibleFlags() {
			long := flag.Names()[0]
			want = append(want, "--"+long)
			inSynopsis := slices.ContainsFunc(flag.Names(), func(n string) bool {
				return regexp.MustCompile(`Fl ` + strings.Repeat("-", min(len(n)-1, 1)) + n + `\b`).MatchString(said)
			})
			for place, has := range map[string]bool{
				"the synopsis":    inSynopsis,
				"the description": strings.Contains(description, "-"+long+"\n") || strings.Contains(description, "-"+long+" "),
				"zsh":             regexp.MustCompile(`--` + long + `=?[\[}]`).MatchString(zsh),
				"fish":            strings.Contains(fish, " -l "+long+" "),
			} {
				if !has {
					t.Errorf("%s has no --%s of %s", place, long, name)
				}
			}
		}
		slices.Sort(want)
		if slices.Sort(offered); !slices.Equal(offered, want) {
			t.Errorf("bash offers %q for %s, want %q", offered, name, want)
		}
	})
	if len(names) < 10 {
		t.Errorf("the commands are %q", names)
	}
	for _, word := range []string{helpTopic, "version"} { // which are no commands of the cli package
		if w.must(word) != w.must("--"+word) {
			t.Errorf("tunhook %s is not tunhook --%s", word, word)
		}
		for place, has := range map[string]bool{
			"the synopsis":    strings.Contains(synopsis+"\n", "\n.Nm\n.Cm "+word+"\n"),
			"the description": strings.Contains(description, "\n.It Cm "+word),
			"zsh":             strings.Contains(zsh, "'"+word+":"),
			"fish":            strings.Contains(fish, " -a "+word+" "),
			"bash":            slices.Contains(w.tab("tunhook "+word[:1]), word),
		} {
			if !has {
				t.Errorf("%s has no %s", place, word)
			}
		}
	}
}

// TestEveryProviderIsInTheManual with what is known of it, and no other one is; and where people look for what they can reach.
// The completion of config offers them all.
func TestEveryProviderIsInTheManual(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\[provider\.([^].]+)\]`).FindAllStringSubmatch(document(t, "tunnel/providers.toml"), -1) {
		want = append(want, m[1])
	}
	_, table, _ := strings.Cut(document(t, "packaging/tunhook.1"), "\n.Sh PROVIDERS\n")
	table, _, _ = strings.Cut(table, "\n.El\n")
	for _, m := range regexp.MustCompile(`(?m)^\.It (\S.*?) Ta `).FindAllStringSubmatch(table, -1) {
		if m[1] != "Sy provider" {
			got = append(got, strings.Split(m[1], ", ")...)
		}
	}
	_, routes, _ := strings.Cut(document(t, "packaging/tunhook.1"), "\n.Sh ROUTES\n")
	routes, _, _ = strings.Cut(routes, "\n.Sh ")
	for place, text := range map[string]string{"the manual's list of routes": routes, "the README": document(t, "README.md")} {
		for _, name := range want {
			scheme := name
			if name == "pomerium" {
				scheme = "tcp+https"
			}
			if !strings.Contains(text, scheme+"://") && !strings.Contains(text, "`"+name+"`") && (name != "pomerium" || !strings.Contains(text, "through Pomerium")) {
				t.Errorf("%s has no routes of %s", place, name)
			}
		}
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("the manual has the providers %q, and providers.toml %q", got, want)
	}
	offered := newWorld(t).tab("tunhook config ")
	if slices.Sort(offered); !slices.Equal(offered, want) {
		t.Errorf("completion offers %q, and providers.toml has %q", offered, want)
	}
}

// TestEveryProviderSaysOnWhichDay it was run for real and read, or that it was not; and those that are called run have a test that runs
// them where they are installed, as it runs those that a script installs for it.
func TestEveryProviderSaysOnWhichDay(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(document(t, "packaging/tunhook.1"), "\n.Sh PROVIDERS\n")
	table, _, _ = strings.Cut(table, "\n.El\n")
	rows := strings.Split(table, "\n.It ")[1:]
	run := regexp.MustCompile(`^(?:whole|played|argv), (\d\S*), (\d{4}-\d\d-\d\d)$`)
	read := regexp.MustCompile(`^(\d{4}-\d\d-\d\d): \S`)
	day := func(provider, text string) {
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			t.Errorf("%s: %v", provider, err)
		}
	}
	var called []string
	for _, row := range rows[1:] { // the first one is the head
		cells := strings.Split(strings.Join(strings.Fields(row), " "), " Ta ")
		if len(cells) != 3 {
			t.Errorf("%q has %d cells", row, len(cells))
			continue
		}
		provider := cells[0]
		if m := run.FindStringSubmatch(cells[1]); m != nil {
			day(provider, m[2])
			called = append(called, provider)
		} else if cells[1] != "not run" && (provider != "relay" || cells[1] != `\(em`) {
			t.Errorf("%s: %q says neither how it was run and on which day, nor that it was not", provider, cells[1])
		}
		if m := read.FindStringSubmatch(cells[2]); m != nil {
			day(provider, m[1])
		} else if provider != "relay" || cells[2] != `\(em` {
			t.Errorf("%s: %q does not say what was read on which day", provider, cells[2])
		}
	}

	tested := map[string]string{} // providers by program
	row := regexp.MustCompile(`(?m)^\t\{"(\S+)", "(\S+)", \[\]string`)
	for _, m := range row.FindAllStringSubmatch(document(t, "scripts/e2e/providers_test.go"), -1) {
		tested[m[1]] = m[2]
	}
	for _, provider := range called {
		// pomerium-cli is run by all tests, where one is named: tunneltest.RealPomeriumCLI.
		if provider != "pomerium" && !slices.Contains(slices.Collect(maps.Values(tested)), provider) {
			t.Errorf("%s was run for real, and make e2e-providers runs it nowhere", provider)
		}
	}
	installed := regexp.MustCompile(`(?m)^ +\[([a-z]+)\]=`).FindAllStringSubmatch(document(t, "scripts/providers-setup"), -1)
	for _, m := range installed {
		if !slices.Contains(called, tested[m[1]]) {
			t.Errorf("scripts/providers-setup installs %s, and the manual does not say that %q was run", m[1], tested[m[1]])
		}
	}
	if len(called) == 0 || len(installed) == 0 {
		t.Errorf("nothing was looked at: %q, %q", called, installed)
	}
}
