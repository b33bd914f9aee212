package remmina

import (
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Old is the tunnel that a profile's own commands start and end, as people have set it up by hand.
type Old struct {
	Route string
	Args  []string // of the tunnel program, beside what the route says
	// Before and After tell which of the profile's commands tunhook takes the place of.
	Before, After bool
}

// Old gives the tunnel of the profile's own commands, if they are known to start one that leads to the profile's server, which
// is a port of this machine then: tunhook or a script of the guides' form, ssh with -L, or pomerium-cli tcp.
func (p Profile) Old() (Old, bool) {
	port, toItself := p.localPort()
	if !toItself {
		return Old{}, false
	}
	if old, _ := p.script(); old.Route != "" {
		return old, true
	}
	for _, shell := range []bool{true, false} {
		words, ok := onlyCommand(p.Before.Original, shell)
		if !ok {
			continue
		}
		old := Old{Before: true, After: endsTunnel(p.After.Original)}
		switch filepath.Base(words[0]) {
		case "ssh", "autossh":
			old.Route, old.Args, ok = readSSH(words, port)
		case "pomerium-cli":
			old.Route, old.Args, ok = readPomerium(words, port)
		default:
			continue
		}
		if ok && old.plain() {
			return old, true
		}
	}
	return Old{}, false
}

// script gives the tunnel of the profile's own command where that is "PROGRAM start ROUTE LISTEN", as it stands in the
// guides of Pomerium and others. PROGRAM is tunhook, or any with the port of a server that is this machine. The Route is
// empty where there is such a command, and a shell or Remmina puts something into it. The command that ends the tunnel
// may be the same PROGRAM's stop, another, or none.
func (p Profile) script() (old Old, startsTunnel bool) {
	program, words, ok := called(p.Before.Original, "start")
	if !ok || len(words) == 0 {
		return Old{}, false
	}
	stopped, stopWords, stops := called(p.After.Original, "stop")
	name := func(program []string) string { return filepath.Base(strings.Join(program, " ")) }
	stops = stops && name(stopped) == name(program)
	old = Old{Route: words[0], Before: true, After: endsTunnel(p.After.Original)}
	port, toItself := p.localPort()
	words = words[1:]
	listens := toItself && len(words) > 0 && strings.HasSuffix(":"+words[0], ":"+strconv.Itoa(port))
	if name(program) != "tunhook" {
		_, _, err := net.SplitHostPort(old.Route)
		routePort := old.Route[strings.LastIndexByte(old.Route, ':')+1:]
		if !listens || err != nil && !strings.Contains(old.Route, "://") {
			return Old{}, false
		}
		if !stops && (isNoPort(routePort) || !strings.ContainsAny(strings.Join(program, " "), "./")) { // what starts something else
			return Old{}, false
		}
		if len(program) > 1 || slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(word, "-") }) {
			return Old{}, true // what it does with the other words only the script knows
		}
	}
	if i := slices.Index(words, "--"); i >= 0 { // tunhook's own flags come before
		old.Args = slices.Clone(words[i+1:])
	}
	if !old.plain() {
		return Old{}, true
	}
	switch {
	case stops && len(stopWords) > 0 && stopWords[0] != old.Route: // one of the two is not what it seems
		return Old{}, false
	case !stops && !old.After: // another one's stop may end the tunnel under a second window
		if _, _, ok := called(p.After.Original, "stop"); ok {
			return Old{}, false
		}
	}
	old.After = old.After || stops
	return old, true
}

func isNoPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err != nil || n == 0
}

// called takes a command of the form "PROGRAM VERB WORD..." apart, without what is wrapped around it. Words between the two belong to
// program, but for the interpreter of a script.
func called(field, verb string) (program, words []string, ok bool) {
	if _, problem := split(field); problem != "" { // Remmina cannot run it; what it was to be shows all the same
		words = strings.Fields(field)
	} else if words, ok = onlyCommand(field, true); !ok {
		words, _ = onlyCommand(field, false)
	}
	i := slices.Index(words, verb)
	if i < 1 {
		return nil, nil, false
	}
	if i == 2 && interpreter().MatchString(filepath.Base(words[0])) {
		return words[1:2], words[3:], true
	}
	return words[:i], words[i+1:], true
}

// interpreter runs the script that its first word names.
var interpreter = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^((ba|da|a|z|k|fi)?sh|python[0-9.]*|perl|ruby)$`)
})

// localPort is the port of the profile's own server, where that is this machine.
func (p Profile) localPort() (port int, ok bool) {
	host, port, err := p.address()
	return port, err == nil && isLoopback(host)
}

// OwnPort is the port that the profile connects to without tunhook, "0" where its server is none.
func (p Profile) OwnPort() string {
	_, port, _ := p.address()
	return strconv.Itoa(port)
}

// plain tells whether all that is known of the tunnel means elsewhere what it does in the command field.
func (o Old) plain() bool {
	return o.Route != "" && o.Route[0] != '-' && !strings.ContainsAny(o.Route, expands+"%'\"\\$`~ *") &&
		!slices.ContainsFunc(o.Args, func(arg string) bool { return strings.ContainsAny(arg, expands+"%") })
}

// endsTunnel tells whether a command is one by which people end a tunnel that a command has started.
func endsTunnel(command string) bool {
	all, ok := commands(command, true)
	if !ok {
		all, ok = commands(command, false)
	}
	if !ok || len(all) == 0 {
		return false
	}
	for _, words := range all {
		switch filepath.Base(words[0]) {
		case "pkill", "kill", "killall", "fuser":
		case "ssh":
			if !slices.Contains(words, "-O") { // ssh -O exit
				return false
			}
		default:
			if !idle(words) {
				return false
			}
		}
	}
	return true
}

// readSSH reads the command line of an ssh that does nothing but to carry connections from that port.
func readSSH(words []string, port int) (route string, args []string, ok bool) {
	const alone, valued = "46AaCfGgKkMNnqsTtVvXxYy", "BbcDEeFIiJLlmOopQRSWw"
	var gateway, user, gatewayPort, target string
	rest := words[1:]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch {
		case gateway != "" && !strings.HasPrefix(word, "-"):
			if word != "sleep" { // which some keep it open with until somebody has connected
				return "", nil, false
			}
			rest = nil
			continue
		case !strings.HasPrefix(word, "-"):
			gateway = word
			continue
		}
		for letters := word[1:]; letters != ""; {
			letter := letters[:1]
			letters = letters[1:]
			if filepath.Base(words[0]) == "autossh" && letter == "M" && letters == "" && len(rest) > 0 { // its own monitor's port
				rest = rest[1:]
				break
			}
			if strings.Contains(alone, letter) {
				if strings.Contains("46ACKk", letter) {
					args = append(args, "-"+letter)
				}
				continue
			}
			value := letters
			if letters = ""; value == "" {
				if len(rest) == 0 {
					return "", nil, false
				}
				value, rest = rest[0], rest[1:]
			}
			switch {
			case letter == "L" && target == "":
				if target, ok = forwarded(value, port); !ok {
					return "", nil, false
				}
			case letter == "p":
				gatewayPort = value
			case letter == "l":
				user = value
			case letter == "o" && ofTheTunnel(value):
			case !strings.Contains(valued, letter) || strings.Contains("LRDWwOQS", letter): // it does more than this tunnel
				return "", nil, false
			default:
				args = append(args, "-"+letter, value)
			}
		}
	}
	if gateway == "" || target == "" {
		return "", nil, false
	}
	gateway = strings.TrimPrefix(gateway, "ssh://")
	if user != "" && !strings.Contains(gateway, "@") {
		gateway = user + "@" + gateway
	}
	if gatewayPort != "" {
		gateway += ":" + gatewayPort
	}
	return "ssh://" + gateway + "/" + target, args, !strings.Contains(gateway, "/")
}

// ofTheTunnel tells of an option of ssh's that it is about how the tunnel runs, which tunhook sees to.
func ofTheTunnel(option string) bool {
	name, _, _ := strings.Cut(strings.ReplaceAll(option, " ", "="), "=")
	switch strings.ToLower(name) {
	case "exitonforwardfailure", "forkafterauthentication", "requesttty", "sessiontype":
		return true
	}
	return false
}

// forwarded gives the HOST:PORT of ssh's -L [BIND:]PORT:HOST:PORT, where PORT is that of the profile's server.
func forwarded(value string, port int) (target string, ok bool) {
	parts := splitOutsideBrackets(value)
	if len(parts) == 4 {
		if bind := strings.Trim(parts[0], "[]"); bind != "" && bind != "*" && !isLoopback(bind) {
			return "", false
		}
		parts = parts[1:]
	}
	if len(parts) != 3 || parts[0] != strconv.Itoa(port) {
		return "", false
	}
	host := strings.Trim(parts[1], "[]")
	if n, err := strconv.ParseUint(parts[2], 10, 16); err != nil || n == 0 || !isHost(host) {
		return "", false
	}
	return net.JoinHostPort(host, parts[2]), true
}

// splitOutsideBrackets cuts at each ':' that is not in an IPv6 address.
func splitOutsideBrackets(value string) []string {
	var parts []string
	depth, from := 0, 0
	for i, c := range value {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ':' && depth == 0:
			parts, from = append(parts, value[from:i]), i+1
		}
	}
	return append(parts, value[from:])
}

// readPomerium reads the command line of a pomerium-cli tcp that listens on that port.
func readPomerium(words []string, port int) (route string, args []string, ok bool) {
	if len(words) < 2 || words[1] != "tcp" {
		return "", nil, false
	}
	listens := false
	for rest := words[2:]; len(rest) > 0; rest = rest[1:] {
		name, value, given := strings.Cut(rest[0], "=")
		switch {
		case !strings.HasPrefix(name, "-") && route == "":
			route = rest[0]
			continue
		case !strings.HasPrefix(name, "--"):
			return "", nil, false
		case name == "--disable-tls-verification" || name == "--client-cert-from-store": // those that take no value
			args = append(args, rest[0])
			continue
		case !given && len(rest) < 2:
			return "", nil, false
		case !given:
			value, rest = rest[1], rest[1:]
		}
		if name == "--listen" {
			host, listenPort, err := net.SplitHostPort(value)
			listens = err == nil && listenPort == strconv.Itoa(port) && (host == "" || isLoopback(host))
			continue
		}
		args = append(args, name+"="+value)
	}
	return route, args, listens && route != ""
}

// onlyCommand gives the words of the one command that a command field runs, without what is wrapped around it.
func onlyCommand(field string, shell bool) (words []string, ok bool) {
	all, ok := commands(field, shell)
	all = slices.DeleteFunc(all, idle)
	if !ok || len(all) != 1 {
		return nil, false
	}
	return all[0], true
}

// idle tells whether a command only passes the time.
func idle(words []string) bool {
	return slices.Contains([]string{"sleep", "true", ":", "exit", "wait", "disown"}, filepath.Base(words[0])) &&
		!slices.ContainsFunc(words, func(word string) bool { return strings.Contains(word, expands) })
}

// commands gives the commands of a command field, without what is wrapped around them: a shell, or what puts it into the
// background. Remmina runs a field without a shell, but some are written for one.
func commands(field string, shell bool) (all [][]string, ok bool) {
	lists, ok := shellWords(field, shell)
	if !ok {
		return nil, false
	}
	for _, words := range lists {
		if words, ok = unwrapped(words, shell); !ok {
			return nil, false
		}
		line, isLine := shellLine(words)
		switch {
		case isLine: // shorter than the field, so that this ends
			inner, ok := commands(line, true)
			if !ok {
				return nil, false
			}
			all = append(all, inner...)
		case len(words) > 0:
			all = append(all, words)
		}
	}
	return all, true
}

// shellLine gives the line of a shell's -c.
func shellLine(words []string) (line string, ok bool) {
	shells := []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "fish"}
	if len(words) == 0 || !slices.Contains(shells, filepath.Base(words[0])) {
		return "", false
	}
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-o" || word == "+o":
			i++
		case strings.HasPrefix(word, "-"):
			ok = ok || !strings.HasPrefix(word, "--") && strings.Contains(word, "c")
		default:
			return word, ok
		}
	}
	return "", false
}

// wrapper is a program that only runs another.
type wrapper struct {
	valued   string // those of its flags that take the word behind them, in blanks
	operands int    // words before the other program
}

func wrappers() map[string]wrapper {
	return map[string]wrapper{
		"nohup": {}, "setsid": {}, "command": {}, "busybox": {}, "dbus-run-session": {}, "flatpak-spawn": {},
		"exec":        {valued: " -a "},
		"env":         {valued: " -u --unset -C --chdir "},
		"nice":        {valued: " -n --adjustment "},
		"ionice":      {valued: " -c --class -n --classdata "},
		"stdbuf":      {valued: " -i --input -o --output -e --error "},
		"timeout":     {valued: " -s --signal -k --kill-after ", operands: 1},
		"systemd-run": {valued: " -u --unit -p --property -E --setenv -d --working-directory --description --slice "},
		"systemd-cat": {valued: " -t --identifier -p --priority "},
	}
}

// harmless are variables that a session has by itself.
var harmless = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("^(LANG|LC_[A-Z]+|SSH_AUTH_SOCK|DISPLAY)=[^" + expands + "]*$")
})

// unwrapped leaves out the programs that only run another, with their flags and what they or a shell set that is harmless to lose. ok is
// false where that cannot be told, or where a variable may be what the tunnel needs, such as a proxy.
func unwrapped(words []string, shell bool) (rest []string, ok bool) {
	all := wrappers()
	for sets := shell; ; sets = true {
		for ; sets && len(words) > 0 && assignment().MatchString(words[0]); words = words[1:] {
			if !harmless().MatchString(words[0]) {
				return nil, false
			}
		}
		if len(words) == 0 {
			return nil, true
		}
		w, wraps := all[filepath.Base(words[0])]
		if !wraps {
			return words, true
		}
		for words = words[1:]; len(words) > 0 && strings.HasPrefix(words[0], "-"); words = words[1:] {
			if words[0] == "-S" || strings.HasPrefix(words[0], "--split-string") { // env(1) takes a word apart
				return nil, false
			}
			if strings.Contains(w.valued, " "+words[0]+" ") {
				words = words[1:]
			}
			if len(words) == 0 {
				return nil, false
			}
		}
		if len(words) < w.operands {
			return nil, false
		}
		words = words[w.operands:]
	}
}

// expands stands in a word for what a shell puts something in the place of. A command field can hold no such byte.
const expands = "\x00"

// shellWords takes a text apart as g_shell_parse_argv does: into the words of one command. As a shell's it is taken apart
// at ; & | ( and ) too, without what redirects its input and output; ok is false where it holds more of a shell's than that.
func shellWords(text string, shell bool) (all [][]string, ok bool) {
	var words []string
	var word strings.Builder
	started, skip := false, false
	endWord := func() {
		if started && !skip {
			words = append(words, word.String())
		}
		skip = skip && !started
		word.Reset()
		started = false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			started = true
		case c == '\'' || c == '"':
			quoted, length, closed := unquote(text[i:], shell)
			if !closed {
				return nil, false
			}
			word.WriteString(quoted)
			started, i = true, i+length-1
		case c == ' ' || c == '\t' || c == '\n' && !shell:
			endWord()
		case shell && (c == '>' || c == '<'): // 2>&1, &>FILE, > FILE
			if strings.Trim(word.String(), "0123456789") == "" {
				word.Reset()
				started = false
			}
			endWord()
			skip = true
			for i+1 < len(text) && strings.IndexByte(">& ", text[i+1]) >= 0 {
				i++
			}
		case shell && strings.IndexByte(";&|()\n", c) >= 0:
			if c == '&' && i+1 < len(text) && text[i+1] == '>' {
				continue
			}
			endWord()
			if len(words) > 0 {
				all, words = append(all, words), nil
			}
		case shell && (c == '$' || c == '`'):
			length := len(expansion().FindString(text[i:]))
			if length == 0 {
				return nil, false
			}
			word.WriteString(expands)
			started, i = true, i+length-1
		case shell && strings.IndexByte("{}*?#", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
			started = true
		}
	}
	endWord()
	if len(words) > 0 {
		all = append(all, words)
	}
	return all, len(all) > 0
}

// expansion is what a shell puts something in the place of.
var expansion = sync.OnceValue(func() *regexp.Regexp {
	const command = `\([^()]*(\([^()]*\)[^()]*)*\)`
	return regexp.MustCompile("^(`[^`]*`|" + `\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]|\{[^}]*\}|` + command + `))`)
})

// unquote gives what stands in the quotes that text begins with, and how long they are with it.
func unquote(text string, shell bool) (quoted string, length int, closed bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == text[0]:
			return b.String(), i + 1, true
		case c == '\\' && text[0] == '"' && i+1 < len(text) && strings.IndexByte("$`\"\\\n", text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		case shell && text[0] == '"' && (c == '$' || c == '`'):
			b.WriteString(expands)
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}
