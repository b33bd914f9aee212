package main

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/tunnel"
)

// pressTab completes the line $2 with the script $1 as bash does, and prints what it offers, one a line. COMP_WORDS is cut as
// readline cuts it.
const pressTab = `
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
read -ra COMP_WORDS <<<"$2"
[[ $2 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; } # works only where a person types
_tunhook tunhook "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
`

// tab gives what bash offers.
func (w *world) tab(line string) []string {
	w.t.Helper()
	script, err := filepath.Abs("../../packaging/completions/tunhook.bash")
	check(w.t, err)
	got := w.finish(&exec.Cmd{Path: "/bin/bash", Args: []string{"bash", "-c", pressTab, "bash", script, line}, Env: append(w.environ, "LC_ALL=C.UTF-8"), Dir: w.dir})
	if got.status != 0 || got.stderr != "" {
		w.t.Errorf("%q: %v", line, got)
	}
	return strings.Fields(got.stdout)
}

// TestCompletionRunsNothingThatAFileSays: a name is a name, and stays one on the command line.
func TestCompletionRunsNothingThatAFileSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trap := w.path("trap")
	dir := w.path("home", ".config", "tunhook", "config.d")
	check(t, os.MkdirAll(dir, 0o700))
	for i, name := range []string{
		`"$(touch ` + trap + `)"`, "\"`touch " + trap + "`\"", `'$(touch ` + trap + `)'`, `"<(touch ` + trap + `)"`, `"a b"`, `"*"`, `"x;y"`, `"a'b"`, `"$HOME"`, `"{a,b}"`, `"!!"`,
		"good", `"[ab]c"`, `"~root"`, `"größe"`, `"goods"`,
	} {
		text := "[tunnel." + name + "]\nroute = \"a:1\"\n"
		check(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".toml"), []byte(text), 0o600))
	}
	profiles := w.path("home", ".local", "share", "remmina")
	check(t, os.MkdirAll(profiles, 0o700))
	check(t, os.WriteFile(filepath.Join(profiles, "a.remmina"), []byte("[remmina]\nname=$(touch "+trap+")\nprotocol=RDP\nserver=a:1\n"), 0o600))
	for line, want := range map[string][]string{
		"tunhook start ":                      {"good", "goods", "größe", `\[ab\]c`, `\~root`},
		"tunhook run go":                      {"good", "goods"},
		`tunhook stop \[a`:                    {`\[ab\]c`},
		"tunhook enable gr":                   {"größe"},
		"tunhook remmina enable --route go":   {"good", "goods"},
		"tunhook start $(touch " + trap + ")": nil,
		"tunhook start good ":                 {"stable"},
		"tunhook start --ready ":              tunnel.ReadyKinds(),
		"tunhook start --ready=r":             {"rdp"}, // readline replaces what is behind the "="
		"tunhook remmina enable --route=go":   {"good", "goods"},
		"tunhook st":                          {"start", "status", "stop"},
		"tunhook help st":                     {"start", "status", "stop"},
		"tunhook help remmina e":              {"enable"},
		"tunhook help start g":                nil,
		"tunhook strat g":                     nil,
		"tunhook config g":                    {"gcloud-iap", "good", "goods", "größe"},
		"tunhook remmina show ":               {`\$\(touch\`, trap + `\)`}, // readline would not quote the "$"
	} {
		got := w.tab(line)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if _, err := os.Lstat(trap); err == nil {
		t.Error("a command that stands in a file was run")
	}
}

// TestCompletionDoesNotWaitForAPipe in the place of the configuration.
func TestCompletionDoesNotWaitForAPipe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.path("home", ".config", "tunhook")
	check(t, errors.Join(os.MkdirAll(dir, 0o700), syscall.Mkfifo(filepath.Join(dir, "config.toml"), 0o600)))
	if got := w.tab("tunhook start "); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestEveryKindOfReadinessIsDocumented where people look for it.
func TestEveryKindOfReadinessIsDocumented(t *testing.T) {
	t.Parallel()
	kinds := tunnel.ReadyKinds()
	asked := kinds[1:]
	last := len(asked) - 1
	inManual := "Cm " + strings.Join(asked[:last], " , ") + "\nor\n.Cm " + asked[last]
	for file, want := range map[string]map[string]int{
		"packaging/completions/_tunhook":     {"(" + strings.Join(kinds, " ") + ")": 3},
		"packaging/completions/tunhook.bash": {" " + strings.Join(kinds, " ") + " ": 1},
		"packaging/completions/tunhook.fish": {"'" + strings.Join(kinds, " ") + "'": 3},
		"packaging/tunhook.1":                {inManual: 4},
		"packaging/tunhook.toml.5":           {inManual: 1},
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		check(t, err)
		for said, times := range want {
			if got := strings.Count(string(text), said); got < times {
				t.Errorf("%s says %d times %q, want %d", file, got, said, times)
			}
		}
	}
}

// TestUsualPortsAreDocumented by which a listener tells what its clients speak.
func TestUsualPortsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "tunhook.1"))
	check(t, err)
	var ports []string
	kinds := slices.DeleteFunc(tunnel.ReadyKinds(), func(ready string) bool { return tunnel.UsualPort(ready) == 0 })
	for port := 0; port <= math.MaxUint16; port++ {
		if ready := tunnel.ReadyForPort(uint16(port)); ready != tunnel.ReadyListen && port == int(tunnel.UsualPort(ready)) {
			last := port
			for tunnel.ReadyForPort(uint16(last+1)) == ready {
				last++
			}
			ports = append(ports, strconv.Itoa(port))
			if last > port {
				ports[len(ports)-1] += " to " + strconv.Itoa(last)
			}
		}
	}
	if len(ports) != len(kinds) || len(ports) == 0 {
		t.Errorf("usual ports: %q, of %q", ports, kinds)
	}
	_, said, _ := strings.Cut(string(text), "the port that the route leads to:\n")
	said, _, _ = strings.Cut(said, ".\n")
	for _, port := range ports {
		if !slices.Contains(strings.Split(strings.ReplaceAll(said, "or ", ""), ", "), port) {
			t.Errorf("the manual page has %q, and not %q", said, port)
		}
	}
}
