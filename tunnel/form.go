package tunnel

import (
	"fmt"
	"regexp"
	"strings"
)

// form is one shape that a provider's routes have, such as "ssh://[{user}@]{gateway}[:{gateway_port}]/{host}:{port}".
type form struct {
	text   string
	scheme string // "" for a form without one
}

func newForm(text string) form {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok {
		scheme = ""
	}
	return form{text, scheme}
}

// What a part of a route may hold, by its name. None may begin with '-', since it becomes an argument of a program that would
// take it for an option.
const (
	portPart = `[0-9]+`
	hostPart = `\[[0-9A-Fa-f:.%]+\]|[^\s\-/@:\[\]][^\s/@:\[\]]*`
)

var formToken = regexp.MustCompile(`\{[a-z_]+\}|[\[\]]|[^{}\[\]]+|.`)

// compile turns {name} into a named group and [..] into an optional part. It is done only for the forms that are needed: it
// would be a good part of the time that a start takes.
func (f form) compile() (*regexp.Regexp, error) {
	var b strings.Builder
	depth := 0
	for _, token := range formToken.FindAllString(f.text, -1) {
		switch {
		case token == "[":
			depth++
			b.WriteString("(?:")
		case token == "]":
			depth--
			b.WriteString(")?")
		case len(token) > 2 && token[0] == '{':
			name := token[1 : len(token)-1]
			if strings.Contains(b.String(), "(?P<"+name+">") {
				return nil, fmt.Errorf("route form %q: {%s} is in it twice", f.text, name)
			}
			part := hostPart
			if strings.HasSuffix(name, "port") {
				part = portPart
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

// parts gives the values of the form's names in route; a name whose optional part is missing has none.
func (f form) parts(route string) (map[string]string, bool) {
	pattern, err := f.compile()
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

// String is the form as help shows it: names in capitals.
func (f form) String() string {
	return placeholder.ReplaceAllStringFunc(f.text, func(p string) string { return strings.ToUpper(p[1 : len(p)-1]) })
}
