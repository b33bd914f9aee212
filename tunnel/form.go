package tunnel

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// form is one shape that a provider's routes have, such as "ssh://[{user}@]{gateway}[:{gateway_port}]/{host}:{port}".
type form struct {
	text   string
	scheme string // "" for a form without one
}

func newForm(text string) form {
	return form{text, schemeOf(text)}
}

// What a part of a route may hold as it is written, by its name; %XX stands for anything else. None may begin with
// '-', since it becomes an argument of a program that would take it for an option.
const (
	portPart  = `[0-9]+`
	ipPart    = `\[[0-9A-Fa-f:.]+\]|[0-9.]+`
	hostPart  = `\[[0-9A-Fa-f:.%]+\]|[^\s\-/@:\[\]][^\s/@:\[\]]*`
	loosePart = `[^\s\-@:\[\]][^\s\[\]]*`
)

// reading is how the parts of a route are told from each other.
type reading int

const (
	strict   reading = iota // by the characters that no part holds
	longest                 // a part with a star may hold these too: as long as possible
	shortest                // as short as possible
)

var formToken = regexp.MustCompile(`\{[a-z_]+\*?\}|[\[\]]|[^{}\[\]]+|.`)

func (f form) tokens() []string { return formToken.FindAllString(f.text, -1) }

// nameOf gives the name in a token {name} or {name*}.
func nameOf(token string) (name string, starred, ok bool) {
	if len(token) < 3 || token[0] != '{' {
		return "", false, false
	}
	name, starred = strings.CutSuffix(token[1:len(token)-1], "*")
	return name, starred, true
}

// compile turns {name} into a named group and [..] into an optional part. It is done only for the forms that are needed: it
// would be a good part of the time that a start takes.
func (f form) compile(how reading) (*regexp.Regexp, error) {
	lazy := ""
	if how == shortest {
		lazy = "?"
	}
	var b strings.Builder
	depth := 0
	for _, token := range f.tokens() {
		name, starred, isName := nameOf(token)
		switch {
		case token == "[":
			depth++
			b.WriteString("(?:")
		case token == "]":
			depth--
			b.WriteString(")?" + lazy)
		case isName:
			if strings.Contains(b.String(), "(?P<"+name+">") {
				return nil, fmt.Errorf("route form %q: {%s} is in it twice", f.text, name)
			}
			part := hostPart
			if starred && how != strict {
				part = loosePart + lazy
			}
			switch {
			case isPort(name):
				part = portPart
			case strings.HasSuffix(name, "_ip"):
				part = ipPart
			}
			fmt.Fprintf(&b, "(?P<%s>%s)", name, part)
		case strings.ContainsAny(token, "{}"):
			return nil, fmt.Errorf("route form %q: a name is written {name}, in small letters", f.text)
		default:
			b.WriteString(regexp.QuoteMeta(token))
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("route form %q: its [ and ] do not match", f.text)
	}
	pattern, err := regexp.Compile("^" + b.String() + "$")
	if err != nil {
		return nil, fmt.Errorf("route form %q: %w", f.text, err)
	}
	return pattern, nil
}

func isPort(name string) bool { return strings.HasSuffix(name, "port") }

// parts gives the values of the form's names in route, as they are written there; a name whose optional part is
// missing has none.
func (f form) parts(route string) (map[string]string, bool) { return f.read(route, strict) }

// looseParts is parts where those with a star may hold what else parts the others, if there is only one way to read
// the route so.
func (f form) looseParts(route string) (map[string]string, bool) {
	if !strings.Contains(f.text, "*}") {
		return nil, false
	}
	parts, ok := f.read(route, longest)
	other, _ := f.read(route, shortest) // the last and the first of all readings: where they are one there is no other
	return parts, ok && maps.Equal(parts, other)
}

func (f form) read(route string, how reading) (map[string]string, bool) {
	pattern, err := f.compile(how)
	if err != nil { // not after the provider was checked
		return nil, false
	}
	match := pattern.FindStringSubmatch(route)
	if match == nil {
		return nil, false
	}
	parts := map[string]string{}
	for i, name := range pattern.SubexpNames() {
		if name != "" && match[i] != "" {
			parts[name] = match[i]
		}
	}
	return parts, true
}

// write gives the route of that form that has those parts. Of all the ways to write a route this is the one that it is
// known by.
func (f form) write(parts map[string]string) string {
	tokens := f.tokens()
	text, _ := writeTokens(&tokens, parts)
	return text
}

// writeTokens writes up to the end of an optional part, and tells whether all its names have values.
func writeTokens(tokens *[]string, parts map[string]string) (text string, complete bool) {
	complete = true
	var b strings.Builder
	for len(*tokens) > 0 {
		token := (*tokens)[0]
		*tokens = (*tokens)[1:]
		switch name, _, isName := nameOf(token); {
		case token == "]":
			return b.String(), complete
		case token == "[":
			if optional, all := writeTokens(tokens, parts); all {
				b.WriteString(optional)
			}
		case isName:
			complete = complete && parts[name] != ""
			b.WriteString(EncodePart(parts[name]))
		default:
			b.WriteString(token)
		}
	}
	return b.String(), complete
}

// required are the names that every route of the form has.
func (f form) required() (names []string) {
	depth := 0
	for _, token := range f.tokens() {
		switch name, _, isName := nameOf(token); {
		case token == "[":
			depth++
		case token == "]":
			depth--
		case isName && depth == 0:
			names = append(names, name)
		}
	}
	return names
}

// escaped are the characters that a part of a route holds only in percent-encoding (RFC 3986, section 2.1).
const escaped = "/@:?#% "

// EncodePart writes a value as a part of a route, or of a URL. An IPv6 address in its brackets stays as it is.
func EncodePart(value string) string {
	if strings.HasPrefix(value, "[") || !strings.ContainsAny(value, escaped) {
		return value
	}
	var b strings.Builder
	for _, c := range []byte(value) {
		if strings.IndexByte(escaped, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// decodePart is what a part of a route means. The reason says why it can mean nothing.
func decodePart(part string) (value, reason string) {
	if strings.HasPrefix(part, "[") { // an IPv6 address
		return part, ""
	}
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		if part[i] != '%' {
			b.WriteByte(part[i])
			continue
		}
		code := part[i+1 : min(i+3, len(part))]
		n, err := strconv.ParseUint(code, 16, 8)
		if err != nil || len(code) < 2 {
			return "", fmt.Sprintf("holds %q, where two hexadecimal digits must follow the '%%': '%%' itself is written %%25", "%"+code)
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), badValue(b.String())
}

// badValue tells what a part of a route may not mean, however it is written: it becomes an argument of a program.
func badValue(value string) string {
	switch {
	case strings.HasPrefix(value, "-"):
		return fmt.Sprintf("has a part %q that begins with '-', and would be an option", value)
	case strings.Contains(value, ".."):
		return "holds \"..\": a route is not a path"
	case !utf8.ValidString(value):
		return "is not valid UTF-8"
	}
	for _, r := range value {
		if !isRouteRune(r) && !strings.ContainsRune(escaped, r) {
			return fmt.Sprintf("holds %q, which cannot be encoded either", r)
		}
	}
	return ""
}

// String is the form as help shows it: names in capitals.
func (f form) String() string {
	var b strings.Builder
	for _, token := range f.tokens() {
		if name, _, isName := nameOf(token); isName {
			token = strings.ToUpper(name)
		}
		b.WriteString(token)
	}
	return b.String()
}
