package remmina

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// This file is what Remmina does with a profile, written from GLib's documentation and Remmina's source and sharing
// nothing with the package: it judges what the package writes.

// remminaRuns returns the argv that Remmina runs for a command field, whose value is given as the file has it.
// Its keys and values are those of the profile.
func remminaRuns(raw string, values map[string]string) ([]string, error) {
	command, ok := modelGetString(raw)
	if !ok {
		return nil, errors.New("Remmina takes the command for empty")
	}
	for _, s := range [][2]string{
		{"%h", "server"},
		{"%t", "ssh_tunnel_server"},
		{"%u", "username"},
		{"%U", "ssh_tunnel_username"},
		{"%p", "name"},
		{"%g", "group"},
		{"%d", "(the time)"},
	} {
		command = strings.ReplaceAll(command, s[0], values[s[1]])
	}
	return modelShellParse(command)
}

// modelGetString is g_key_file_get_string.
func modelGetString(raw string) (value string, ok bool) {
	if !utf8.ValidString(raw) || strings.Contains(raw, "\x00") {
		return "", false
	}
	escapes := map[byte]string{'s': " ", 'n': "\n", 't': "\t", 'r': "\r", '\\': `\`}
	for len(raw) > 0 {
		text, after, escaped := strings.Cut(raw, `\`)
		value += text
		if !escaped || after == "" {
			break
		}
		if replacement, known := escapes[after[0]]; known {
			value += replacement
		} else {
			value += `\` + after[:1]
		}
		raw = after[1:]
	}
	return value, true
}

// modelSetString is g_key_file_set_string.
func modelSetString(value string) string {
	var raw strings.Builder
	leading := true
	for _, r := range value {
		if r != ' ' && r != '\t' {
			leading = false
		}
		switch {
		case r == ' ' && leading:
			raw.WriteString(`\s`)
		case r == '\t' && leading:
			raw.WriteString(`\t`)
		case r == '\n':
			raw.WriteString(`\n`)
		case r == '\r':
			raw.WriteString(`\r`)
		case r == '\\':
			raw.WriteString(`\\`)
		default:
			raw.WriteRune(r)
		}
	}
	return raw.String()
}

// modelShellParse is g_shell_parse_argv: the shell's quotes and continued lines, and nothing else of it, except that GLib
// keeps an escaped newline between double quotes. Which # begins a
// comment depends on what kind of blank is before it, so no command should have one outside quotes.
func modelShellParse(command string) ([]string, error) {
	var argv []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(command); {
		c := command[i]
		rest := command[i+1:]
		switch {
		case strings.IndexByte(" \t\n", c) >= 0:
			if inWord {
				argv = append(argv, word.String())
				word.Reset()
			}
			inWord = false
			i++
		case c == '#':
			return nil, errors.New("has a bare #")
		case c == '\\':
			if rest == "" {
				return nil, errors.New("ends in a backslash")
			}
			if rest[0] != '\n' {
				inWord = true
				word.WriteByte(rest[0])
			}
			i += 2
		case c == '\'':
			length := strings.IndexByte(rest, '\'')
			if length < 0 {
				return nil, errors.New("unbalanced '")
			}
			inWord = true
			word.WriteString(rest[:length])
			i += length + 2
		case c == '"':
			inWord = true
			for i++; ; i++ {
				if i >= len(command) {
					return nil, errors.New(`unbalanced "`)
				}
				if command[i] == '"' {
					i++
					break
				}
				if command[i] == '\\' && i+1 < len(command) && strings.IndexByte("$`\"\\\n", command[i+1]) >= 0 {
					i++
				}
				word.WriteByte(command[i])
			}
		default:
			inWord = true
			word.WriteByte(c)
			i++
		}
	}
	if inWord {
		argv = append(argv, word.String())
	}
	if len(argv) == 0 {
		return nil, errors.New("no words")
	}
	return argv, nil
}

// modelGroup is a group of a key file as GLib holds it in memory.
type modelGroup struct {
	name  string
	pairs [][2]string // key and raw value; the last of several counts
}

// modelLoad is g_key_file_load_from_file with G_KEY_FILE_NONE, of a file that GLib takes: comments, translations,
// blank lines and carriage returns are lost, groups of the same name become one.
func modelLoad(data string) []*modelGroup {
	var groups []*modelGroup
	var current *modelGroup
	for _, text := range strings.Split(data, "\n") {
		text = strings.TrimSuffix(text, "\r")
		bare := strings.TrimLeft(text, " \t\r\f")
		if bare == "" || bare[0] == '#' {
			continue
		}
		if bare[0] == '[' {
			name := bare[1:strings.Index(bare, "]")]
			current = nil
			for _, g := range groups {
				if g.name == name {
					current = g
				}
			}
			if current == nil {
				current = &modelGroup{name: name}
				groups = append(groups, current)
			}
			continue
		}
		key, value, _ := strings.Cut(bare, "=")
		key = strings.TrimRight(key, " \t\r\f")
		if !strings.Contains(key, "[") {
			current.pairs = append(current.pairs, [2]string{key, strings.TrimLeft(value, " \t\r\f")})
		}
	}
	return groups
}

// remminaSaves is remmina_file_load, a few changed settings, and remmina_file_save: what becomes of a profile after a
// connection or in Remmina's editor.
func remminaSaves(data string, changes [][2]string) string {
	groups := modelLoad(data)
	var out strings.Builder
	for i, g := range groups {
		if g.name == "remmina" {
			settings := map[string]string{}
			for _, p := range g.pairs {
				settings[p[0]], _ = modelGetString(p[1])
			}
			for key, value := range settings {
				g.set(key, value)
			}
			for _, change := range changes {
				g.set(change[0], change[1])
			}
		}
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString("[" + g.name + "]\n")
		for _, p := range g.pairs {
			out.WriteString(p[0] + "=" + p[1] + "\n")
		}
	}
	return out.String()
}

// set is g_key_file_set_string.
func (g *modelGroup) set(key, value string) {
	for i := len(g.pairs) - 1; i >= 0; i-- {
		if g.pairs[i][0] == key {
			g.pairs[i][1] = modelSetString(value)
			return
		}
	}
	g.pairs = append(g.pairs, [2]string{key, modelSetString(value)})
}

// modelValues is what Remmina knows of a profile, and modelRaw what its file has for a key.
func modelValues(data string) map[string]string {
	values := map[string]string{"(the time)": "2026-01-02T03:04:05Z"}
	for key, raw := range modelRaw(data) {
		values[key], _ = modelGetString(raw)
	}
	return values
}

func modelRaw(data string) map[string]string {
	raw := map[string]string{}
	for _, g := range modelLoad(data) {
		if g.name == "remmina" {
			for _, p := range g.pairs {
				raw[p[0]] = p[1]
			}
		}
	}
	return raw
}
