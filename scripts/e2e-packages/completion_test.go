//go:build e2e

package e2epackages

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// shell is one whose completion is asked for as a person does it, in a home with names of every kind in it.
type shell struct {
	name string
	// start gives one that says what a Tab at the end of a line would put there, as the shell then passes it on.
	start func(t *testing.T, home home) (offers func(line string) []string)
}

// shells are those for which there are completions.
var shells = []shell{{"bash", inBash}, {"zsh", inZsh}, {"fish", inFish}}

// home is one in which shells run, which see the package as if it were installed.
type home struct{ dir, root string }

// command runs a program where /usr has what is in the package, too. Nobody else sees that.
func (h home) command(argv ...string) *exec.Cmd {
	const overlay = `mount -t overlay overlay -o "lowerdir=$0/usr:/usr" /usr && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", overlay, h.root}, argv...)...)
	cmd.Dir = h.dir
	cmd.Env = []string{
		"HOME=" + h.dir, "XDG_RUNTIME_DIR=" + filepath.Join(h.dir, "run"), "PATH=" + filepath.Join(h.dir, "bin") + ":/usr/bin:/bin",
		"LC_ALL=C.UTF-8", "TERM=xterm", "BROWSER=" + filepath.Join(h.dir, "bin", "xdg-open"),
	}
	return cmd
}

// must runs such a program, which has to succeed.
func (h home) must(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := h.command(argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

func (h home) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(h.dir, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, []byte(text), mode))
}

// newHome makes one with tunnels in the configuration, profiles of Remmina's, routes that were listed once, and programs that leave a
// mark when they are run from now on. The package is in root.
func newHome(t *testing.T, root string) home {
	t.Helper()
	h := home{t.TempDir(), root}
	check(t, os.Mkdir(filepath.Join(h.dir, "run"), 0o700))
	h.write(t, ".config/tunhook/config.toml", `
[provider.own]
routes = ["own://{host}"]
command = ["own", "{host}", "{listen}"]
list = { command = ["own", "list"], match = '(?m)^(?P<host>\S+)$', route = "own://{host}" }
[tunnel.desk]
route = "relay://127.0.0.1:9"
[tunnel.desktop]
route = "relay://127.0.0.1:10"
[tunnel."$(touch trap)"]
route = "relay://127.0.0.1:11"
[tunnel."[ab]c"]
route = "relay://127.0.0.1:12"
`, 0o600)
	for file, name := range map[string]string{"a": "My desk", "b": "My $HOME's", "c": "other"} {
		h.write(t, ".local/share/remmina/"+file+".remmina", "[remmina]\nname="+name+"\nprotocol=RDP\nserver=127.0.0.1:9\n", 0o600)
	}
	h.write(t, "notes.toml", "", 0o600)
	h.write(t, "bin/kubectl", "#!/bin/sh\necho 'corp  win10  3389'\n", 0o700)
	h.must(t, "tunhook", "routes", "kubectl")
	for _, name := range []string{"kubectl", "pomerium-cli", "boundary", "tsh", "own", "xdg-open", "remmina"} {
		h.write(t, "bin/"+name, "#!/bin/sh\ntouch \"$HOME/trap\"\n", 0o700)
	}
	return h
}

// TestCompletion in the real shells, from where the package puts it.
func TestCompletion(t *testing.T) {
	root := t.TempDir()
	output(t, "dpkg-deb", "--extract", theOne(t, packages.dir, "*_amd64.deb"), root)
	takes := commands(t, newHome(t, root), "")
	if len(takes) < 16 {
		t.Fatalf("the help has the commands %q", takes)
	}
	configured := []string{"[ab]c", "desk", "desktop", "kubectl://corp/svc/win10:3389"}
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, root)
			offers := sh.start(t, h)
			for _, tc := range []struct {
				line string
				want []string
			}{
				{"tunhook sta", []string{"start", "status"}},
				{"tunhook remmina ", []string{"disable", "enable", "list", "show"}},
				{"tunhook hel", []string{"help"}},
				{"tunhook ver", []string{"version"}},
				{"tunhook help sta", []string{"start", "status"}},
				{"tunhook help remmina ", []string{"disable", "enable", "list", "show"}},
				{"tunhook help start ", nil},
				{"tunhook start --re", []string{"--ready", "--reuse"}},
				{"tunhook doctor --t", []string{"--try"}},
				{"tunhook remmina enable --b", []string{"--by"}},
				{"tunhook start --ready ", []string{"listen", "rdp", "ssh", "vnc"}},
				{"tunhook start --ready=r", []string{"--ready=rdp"}},
				{"tunhook remmina enable --by ", []string{"connection", "hook"}},
				{"tunhook start ", configured},
				{"tunhook start --ready rdp des", []string{"desk", "desktop"}},
				{"tunhook remmina enable --route desk", []string{"desk", "desktop"}},
				{"tunhook status kubectl://corp/", []string{"kubectl://corp/svc/win10:3389"}},
				{"tunhook status kubectl:", []string{"kubectl://corp/svc/win10:3389"}},
				{"tunhook start desk ", []string{"stable"}},
				{"tunhook routes ", []string{"boundary", "kubectl", "own", "pomerium", "tsh-app"}},
				{"tunhook routes ku", []string{"kubectl"}},
				{"tunhook config des", []string{"desk", "desktop"}},
				{"tunhook config o", []string{"oci-bastion", "own"}},
				{"tunhook remmina disable My", []string{"My $HOME's", "My desk"}},
				{"tunhook remmina show My\\ d", []string{"My desk"}},
				{"tunhook remmina enable --ready rdp o", []string{"other"}},
				{"tunhook doctor ot", []string{"other"}},
				{"tunhook doctor --config no", []string{"notes.toml"}},
				{"tunhook run desk -- unshar", []string{"unshare"}},
			} {
				got := offers(tc.line)
				if slices.Sort(got); !slices.Equal(got, tc.want) {
					t.Errorf("%q: %q, want %q", tc.line, got, tc.want)
				}
			}
			for command, want := range takes {
				got := offers("tunhook " + command + "--")
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("%q: %q, want %q", "tunhook "+command+"--", got, want)
				}
			}
			if left, err := filepath.Glob(filepath.Join(h.dir, "trap")); err != nil || len(left) > 0 {
				t.Error("a Tab has run a program that it should not")
			}
			if got := h.must(t, "tunhook", "status", "--json"); !strings.Contains(got, `"tunnels": []`) {
				t.Errorf("after the Tabs there is %s", got)
			}
		})
	}
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z]+) `)
	helpFlag    = regexp.MustCompile(`(?m)^  (--[a-z-]+)`)
)

// commands gives all commands below one, each with a space behind it, and the flags that each takes, sorted, as the help has them.
// The first one is tunhook itself, "".
func commands(t *testing.T, h home, command string) map[string][]string {
	t.Helper()
	help := h.must(t, append(append([]string{"tunhook"}, strings.Fields(command)...), "--help")...)
	_, flags, _ := strings.Cut(help, "\nFlags:\n")
	takes := []string{"--help"}
	if command == "" {
		takes = append(takes, "--version")
	}
	for _, m := range helpFlag.FindAllStringSubmatch(flags, -1) {
		takes = append(takes, m[1])
	}
	slices.Sort(takes)
	all := map[string][]string{command: takes}
	_, below, _ := strings.Cut(help, "\nCommands:\n")
	below, _, _ = strings.Cut(below, "\n\n")
	for _, m := range helpCommand.FindAllStringSubmatch(below, -1) {
		maps.Copy(all, commands(t, h, command+m[1]+" "))
	}
	return all
}

// asked answers each line with what could be completed, a line each with a description behind a tab, and says where that ends.
const asked = `while read --line line; complete --do-complete $line </dev/null; echo "$argv[1]"; end`

// inFish asks fish, which tells it to scripts.
func inFish(t *testing.T, h home) func(line string) []string {
	const end = "that is all"
	cmd := h.command("fish", "--command", asked, end)
	stdin, answers := talk(t, cmd)
	return func(line string) (all []string) {
		t.Helper()
		_, err := fmt.Fprintln(stdin, line)
		check(t, err)
		watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer watchdog.Stop()
		for {
			said, err := answers.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: fish is gone: %v", line, err)
			}
			if said == end+"\n" {
				return all
			}
			value, _, _ := strings.Cut(strings.TrimSuffix(said, "\n"), "\t")
			all = append(all, value)
		}
	}
}

// Keys that lead to the beginning and the end of the line in each shell.
const beginning, ending = "\x01", "\x05"

// prompt is that of each shell when it has read what it reads first.
const prompt = "ready> "

// bashrc has M-* put all that could be completed on the line, as bash(1) does by itself; it is said to be sure.
const bashrc = `PS1='ready> '
. /usr/share/bash-completion/bash_completion
bind '"\e*": insert-completions'
bind 'set enable-bracketed-paste off'
`

// zshrc does the same, zshcompwid(1) and "_all_matches" of zshcompsys(1).
const zshrc = `PS1='ready> '
unsetopt prompt_sp prompt_cr
autoload -Uz compinit && compinit -u -d "$HOME/.zcompdump"
zstyle ':completion:all-matches:*' completer _all_matches _complete
zstyle ':completion:all-matches:*' old-matches no
zstyle ':completion:all-matches:*' insert yes
zle -C all-matches complete-word _generic
bindkey -e
bindkey '\e*' all-matches
`

func inBash(t *testing.T, h home) func(line string) []string {
	h.write(t, ".inbash", bashrc, 0o600)
	return onTerminal(t, h, "bash", "--noprofile", "--rcfile", filepath.Join(h.dir, ".inbash"), "-i")
}

func inZsh(t *testing.T, h home) func(line string) []string {
	h.write(t, ".zshrc", zshrc, 0o600)
	return onTerminal(t, h, "zsh", "-i")
}

// onTerminal starts a shell that lines are typed into. All that could be completed is put in the place of the last word, and the shell
// then passes the line to a program that writes it down.
func onTerminal(t *testing.T, h home, shell ...string) func(line string) []string {
	t.Helper()
	cmd := h.command(shell...)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 2000})
	check(t, err)
	var mu sync.Mutex
	var shown strings.Builder
	go func() {
		part := make([]byte, 4096)
		for {
			n, err := terminal.Read(part)
			mu.Lock()
			shown.Write(part[:n])
			mu.Unlock()
			if err != nil { // the shell has ended
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = terminal.Close()
	})
	screen := func() string {
		mu.Lock()
		defer mu.Unlock()
		return shown.String()
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not yet; on the terminal there is\n%s", what, screen())
			}
		}
	}
	until("a prompt", func() bool { return strings.Contains(screen(), prompt) })
	typed := filepath.Join(h.dir, "typed")
	return func(line string) []string {
		t.Helper()
		// Renamed, it is whole.
		_, err := fmt.Fprintf(terminal, "%s\x1b*%sprintf '%%s\\n' %s>part; mv part typed\r", line, beginning, ending)
		check(t, err)
		until(line, func() bool { _, err := os.Stat(typed); return err == nil })
		text, err := os.ReadFile(typed)
		check(t, err)
		check(t, os.Remove(typed))
		words := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		before := strings.Fields(strings.ReplaceAll(line, `\ `, "_"))
		if !strings.HasSuffix(line, " ") {
			before = before[:len(before)-1] // the last one is replaced
		}
		return words[min(len(before), len(words)):]
	}
}
