package remmina

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Trouble is what keeps a profile's command from doing its work, in a word.
type Trouble string

// The troubles of a command.
const (
	StartsTunnel Trouble = "starts-tunnel" // it starts a tunnel itself, by the script of the guides or by its program
	Misquoted    Trouble = "misquoted"     // its quotes do not match: Remmina cannot take it apart
	NeedsShell   Trouble = "needs-shell"   // it is written for a shell, and Remmina runs none
	ProgramGone  Trouble = "program-gone"  // its program is not there, or cannot be executed
)

// Fault is a trouble of one command of a profile.
type Fault struct {
	Trouble Trouble
	Command string // as the profile has it
	Detail  string // what of the command it is
}

// Examine gives what is wrong with the commands of a profile; runs tells whether a program, a path or a name, can be executed.
func Examine(p Profile, runs func(program string) bool) []Fault {
	var all []Fault
	for _, command := range []Value{p.Before, p.After} {
		text := command.Now
		if strings.TrimSpace(text) == "" {
			continue
		}
		words, err := split(text)
		if err != "" {
			all = append(all, Fault{Misquoted, text, err})
			continue
		}
		if len(words) == 0 {
			continue
		}
		program := words[0].text
		switch shellish := forShell(words); {
		case shellish != "" && !isShell(program):
			all = append(all, Fault{NeedsShell, text, shellish})
		case !strings.Contains(program, "%") && !runs(program):
			all = append(all, Fault{ProgramGone, text, program})
		}
	}
	all = slices.CompactFunc(all, func(a, b Fault) bool { return a.Trouble == b.Trouble && a.Detail == b.Detail })
	if start, ok := p.startsTunnel(); ok {
		all = append([]Fault{{StartsTunnel, start, ""}}, all...)
	}
	return all
}

// startsTunnel gives the profile's own command that starts a tunnel, other than tunhook's: by connection as well it would do so beside us.
func (p Profile) startsTunnel() (command string, ok bool) {
	if p.Before.Ours {
		return "", false
	}
	command = p.Before.Now
	if p.CallsTunhook() {
		return "", false
	}
	if _, known := p.Old(); known {
		return command, true
	}
	words, _ := split(command)
	programs := map[string]bool{}
	for i, w := range words {
		if _, wraps := wrappers()[filepath.Base(words[0].text)]; i == 0 || wraps || isShell(words[0].text) {
			for _, word := range strings.Fields(w.text) {
				programs[filepath.Base(word)] = true
			}
		}
	}
	has := func(flag string) bool {
		return slices.ContainsFunc(words, func(w word) bool { return strings.Contains(w.text, flag) })
	}
	forwards := slices.ContainsFunc(words, func(w word) bool { return forward().MatchString(w.text) })
	switch _, script := p.script(); {
	case script, programs["pomerium-cli"] && has("tcp"), (programs["ssh"] || programs["autossh"]) && forwards,
		programs["kubectl"] && has("port-forward"), programs["cloudflared"] && has("access"):
		return command, true
	}
	return "", false
}

// forward is ssh's -L, among other flags perhaps.
//
// It is compiled when it is needed, as all of them are: each start would wait for it.
var forward = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(^|\s)-[A-Za-z46]*L`)
})

// CallsTunhook tells whether the command before connecting starts a tunnel by tunhook: where Remmina runs no commands nothing does.
func (p Profile) CallsTunhook() bool {
	for _, shell := range []bool{true, false} {
		all, _ := commands(p.Before.Now, shell)
		if slices.ContainsFunc(all, func(words []string) bool { return len(words) > 1 && filepath.Base(words[0]) == "tunhook" }) {
			return true
		}
	}
	return false
}

// word is one of a command, as g_shell_parse_argv gives it.
type word struct {
	text string
	bare string // what of it stands within no quotes
	soft string // what a shell would expand, if there were one: what stands in no single quotes and behind no backslash
}

// split takes a command apart as Remmina does, by g_shell_parse_argv (GLib, gshell.c); problem says why it cannot.
func split(text string) (words []word, problem string) {
	var w word
	in := false // a word
	end := func() {
		if in {
			words = append(words, w)
		}
		w, in = word{}, false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 == len(text):
			return nil, `it ends with a backslash`
		case c == '\\':
			i++
			in = true
			if text[i] != '\n' {
				w.text += text[i : i+1]
			}
		case c == '\'' || c == '"':
			n := closing(text[i+1:], c)
			if n < 0 {
				return nil, "its " + string(c) + " has no other end"
			}
			inside := text[i+1 : i+1+n]
			in = true
			if c == '"' {
				inside = softEscape().ReplaceAllString(inside, "$1")
				w.soft += inside
			}
			w.text += inside
			i += n + 1
		case c == ' ' || c == '\t' || c == '\n':
			end()
		case c == '#' && !in: // a comment, to the end of the line
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(text)
			}
		default:
			in = true
			w.text, w.bare, w.soft = w.text+string(c), w.bare+string(c), w.soft+string(c)
		}
	}
	end()
	return words, ""
}

// softEscape is what a backslash stands before within double quotes.
var softEscape = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("(?s)\\\\([\"\\\\`$\n])")
})

// closing finds the end of a quoted text, -1 for none.
func closing(text string, quote byte) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return i
		case text[i] == '\\' && quote == '"':
			i++
		}
	}
	return -1
}

// variable is what a shell would put a value or an output in the place of.
var variable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("\\$[A-Za-z_{(@*#?$!0-9-]|`")
})

// operator is what parts the commands of a shell's line, or leads their output elsewhere.
var operator = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\|\|?|&&?|;|[0-9]*(<|>>?)(&?[0-9]+|&?-|.*)?|&>.*)$|[;|]$`)
})

// forShell gives what of a command only a shell would understand; "" for nothing.
func forShell(words []word) string {
	for i, w := range words {
		bare := w.bare == w.text // no quotes in it
		switch {
		case strings.HasPrefix(w.text, "~") && strings.HasPrefix(w.bare, "~"):
			return "~"
		case variable().MatchString(w.soft):
			if strings.Contains(w.soft, "`") {
				return "`"
			}
			return "$"
		case bare && operator().MatchString(w.text):
			return operator().FindString(w.text)
		case i > 0 && bare && strings.HasSuffix(w.text, "&") && !strings.Contains(w.text, "="):
			return "&"
		case i == 0 && bare && assignment().MatchString(w.text):
			return w.text
		}
	}
	return ""
}

// assignment sets a variable for the command that follows.
var assignment = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
})

func isShell(program string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "python3", "perl"}, filepath.Base(program))
}
