package remmina

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	host, port, err := splitServer(strings.TrimSpace(p.Server.Original), lookUp(p.Protocol).port)
	if err != nil || !isLoopback(host) {
		return Old{}, false
	}
	if route, _ := p.script(); route != "" {
		return Old{Route: route, Before: true, After: true}, true
	}
	words, ok := onlyCommand(p.Before.Original)
	if !ok {
		return Old{}, false
	}
	old := Old{Before: true, After: endsTunnel(p.After.Original)}
	switch filepath.Base(words[0]) {
	case "ssh", "autossh":
		old.Route, old.Args, ok = readSSH(words, port)
	case "pomerium-cli":
		old.Route, old.Args, ok = readPomerium(words, port)
	default:
		return Old{}, false
	}
	return old, ok && plainRoute(old.Route)
}

// OwnPort is the port that the profile connects to without tunhook, "0" where its server is none.
func (p Profile) OwnPort() string {
	_, port, _ := splitServer(strings.TrimSpace(p.Server.Original), lookUp(p.Protocol).port)
	return strconv.Itoa(port)
}

// plainRoute tells whether a route may stand in a command field, and means there what it does here.
func plainRoute(route string) bool {
	return route != "" && route[0] != '-' && !strings.ContainsAny(route, "%'\"\\$`~ *")
}

// endsTunnel tells whether a command is one by which people end a tunnel that a command has started.
func endsTunnel(command string) bool {
	all, ok := commands(command)
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
func onlyCommand(field string) (words []string, ok bool) {
	all, ok := commands(field)
	all = slices.DeleteFunc(all, idle)
	if !ok || len(all) != 1 {
		return nil, false
	}
	return all[0], true
}

// idle tells whether a command only passes the time.
func idle(words []string) bool {
	return slices.Contains([]string{"sleep", "echo", "true", ":", "exit", "wait"}, filepath.Base(words[0]))
}

// commands gives the commands of a command field, without what is wrapped around them: a shell, or what puts it into the background.
func commands(field string) (all [][]string, ok bool) {
	lists, ok := shellWords(field, false)
	if !ok {
		return nil, false
	}
	for _, words := range lists {
		for len(words) > 0 {
			name := filepath.Base(words[0])
			switch {
			case isPlainShell(name) && len(words) > 2 && strings.HasPrefix(words[1], "-") && strings.HasSuffix(words[1], "c"):
				inner, ok := shellWords(words[2], true)
				if !ok || slices.ContainsFunc(inner, func(words []string) bool { return isPlainShell(filepath.Base(words[0])) }) {
					return nil, false
				}
				for _, words := range inner {
					all = append(all, unwrapped(words))
				}
				words = nil
			case wraps(name):
				words = unwrapped(words)
			default:
				all = append(all, words)
				words = nil
			}
		}
	}
	return slices.DeleteFunc(all, func(words []string) bool { return len(words) == 0 }), true
}

// isPlainShell tells whether "-c" of a program takes a line of sh(1).
func isPlainShell(name string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh"}, name)
}

func wraps(name string) bool {
	return slices.Contains([]string{"nohup", "setsid", "env", "exec", "flatpak-spawn"}, name)
}

// unwrapped leaves out the programs that only run another, with their flags and the variables that they set.
func unwrapped(words []string) []string {
	for len(words) > 0 && wraps(filepath.Base(words[0])) {
		for words = words[1:]; len(words) > 0 && (strings.HasPrefix(words[0], "-") || strings.Contains(words[0], "=")); {
			words = words[1:]
		}
	}
	return words
}

// shellWords takes a text apart as g_shell_parse_argv does: into the words of one command. As a shell's it is taken apart at ; & and
// | too, without what redirects its output; ok is false where it holds more of a shell's than that.
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
			quoted, length, closed := unquote(text[i:])
			if !closed {
				return nil, false
			}
			word.WriteString(quoted)
			started, i = true, i+length-1
		case c == ' ' || c == '\t' || c == '\n' && !shell:
			endWord()
		case shell && c == '>': // 2>&1, &>FILE, > FILE
			if strings.Trim(word.String(), "0123456789") == "" {
				word.Reset()
				started = false
			}
			endWord()
			skip = true
			for i+1 < len(text) && strings.IndexByte(">& ", text[i+1]) >= 0 {
				i++
			}
		case shell && (c == ';' || c == '&' || c == '|' || c == '\n'):
			if c == '&' && i+1 < len(text) && text[i+1] == '>' {
				continue
			}
			endWord()
			if len(words) > 0 {
				all, words = append(all, words), nil
			}
		case shell && strings.IndexByte("$`(){}<*?#", c) >= 0:
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

// unquote gives what stands in the quotes that text begins with, and how long they are with it.
func unquote(text string) (quoted string, length int, closed bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == text[0]:
			return b.String(), i + 1, true
		case c == '\\' && text[0] == '"' && i+1 < len(text) && strings.IndexByte("$`\"\\\n", text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}
