package tunnel

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Listing is the list of a provider: the command that prints what a gateway has, and what its output means.
type Listing struct {
	Command []string `toml:"command"` // program and arguments; {args} stands for those of the command line
	Match   string   `toml:"match"`   // regular expression; each match in the output is a route, whose parts are its named groups
	Route   string   `toml:"route"`   // the route, with the groups for its {names}
	Hint    string   `toml:"hint"`    // the way out where it lists nothing
}

// Listed is a route that a gateway has.
type Listed struct {
	Route string
	Name  string // what the gateway calls it, "" where that says nothing
}

// maxListed bounds how many routes are taken from a list: nobody chooses from more.
const maxListed = 10_000

func (l *Listing) check() error {
	if len(l.Command) == 0 || l.Command[0] == "" {
		return keyErrorf("list", "it has no command: write { command = [\"PROGRAM\", ...], match = 'REGEXP', route = \"...\" }")
	}
	for _, ph := range placeholder.FindAllString(strings.Join(l.Command, " "), -1) {
		if ph != "{args}" {
			return keyErrorf("list", "unknown placeholder %s in its command: there is only {args}", ph)
		}
	}
	pattern, err := regexp.Compile(l.Match)
	if err != nil {
		return keyErrorf("list", "match: %w", err)
	}
	names := placeholder.FindAllString(l.Route, -1)
	if len(names) == 0 {
		return keyErrorf("list", "route %s names no group of match", quote(l.Route))
	}
	for _, ph := range names {
		if !slices.Contains(pattern.SubexpNames(), ph[1:len(ph)-1]) {
			return keyErrorf("list", "match has no group (?P<%s>...)", ph[1:len(ph)-1])
		}
	}
	return nil
}

// NoListError says that nothing is known that lists a provider's routes, or that there is no such provider.
type NoListError struct {
	Provider string
	Known    []string // those that have a list
	None     bool     // there is no such provider
}

func (e *NoListError) Error() string {
	if e.None {
		return fmt.Sprintf("there is no provider %s: those that list their routes are %s", quote(e.Provider), strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("nothing is known that lists the routes of %s: give [provider.%[1]s] a list, as tunhook.toml(5) has it", e.Provider)
}

// Lists names the providers that have a list, sorted.
func (c *Config) Lists() (names []string) {
	for _, name := range c.providerNames() {
		if text, ok := c.builtin[name]; ok && !strings.Contains(text, "\nlist = ") {
			continue
		}
		if p, err := c.provider(name); err == nil && p != nil && p.List != nil {
			names = append(names, name)
		}
	}
	return names
}

// ListHint is the way out where a provider's list command comes to nothing, "" where none is known.
func (c *Config) ListHint(name string) string {
	if p, err := c.provider(name); err == nil && p != nil && p.List != nil {
		return p.List.Hint
	}
	return ""
}

// ListCommand gives the command that lists a provider's routes, its program looked up in path (in the form of PATH), and the variables
// of the provider for it, NAME=VALUE, with home for ~. Those that depend on a route are left out. Errors are *ConfigError,
// *ProgramError and *NoListError.
func (c *Config) ListCommand(name string, args []string, path, home string) (argv, environ []string, err error) {
	p, err := c.provider(name)
	switch {
	case err != nil:
		return nil, nil, err
	case p == nil:
		return nil, nil, &NoListError{Provider: name, Known: c.Lists(), None: true}
	case p.List == nil:
		return nil, nil, &NoListError{Provider: name}
	}
	placed := false
	for _, word := range p.List.Command {
		if word == "{args}" {
			argv, placed = append(argv, args...), true
			continue
		}
		argv = append(argv, word)
	}
	if !placed {
		argv = append(argv, args...)
	}
	if environ, err = p.ownEnviron(home); err != nil {
		return nil, nil, err
	}
	argv[0], err = p.FindProgram(argv[0], Getenv(slices.Concat([]string{"PATH=" + path}, environ), "PATH"))
	return argv, environ, err
}

// ownEnviron gives the variables of a provider that need no route.
func (p *Provider) ownEnviron(home string) (environ []string, err error) {
	all, err := variables(p.Env)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		value := v.value
		switch {
		case v.file != "":
			if value, err = readSecret(v, home); err != nil {
				return nil, err
			}
		case placeholder.MatchString(value):
			continue
		}
		environ = append(environ, v.name+"="+value)
	}
	return environ, nil
}

// Listed reads the output of a provider's list command. What would be no route is passed over: it is another kind of thing that the
// gateway has.
func (c *Config) Listed(name, output string) (all []Listed) {
	p, err := c.provider(name)
	if err != nil || p == nil || p.List == nil {
		return nil
	}
	pattern, err := regexp.Compile(p.List.Match)
	if err != nil { // not after it was checked
		return nil
	}
	seen := map[string]bool{}
	for _, match := range pattern.FindAllStringSubmatch(strings.ReplaceAll(output, "\r\n", "\n"), maxListed) {
		groups := map[string]string{}
		for i, group := range pattern.SubexpNames() {
			if group != "" {
				groups[group] = strings.TrimSpace(match[i])
			}
		}
		for _, port := range strings.Split(groups["port"], ",") { // one thing may have several
			groups["port"] = port
			r, err := c.Route(fillListed(p.List.Route, groups))
			if err != nil || seen[r.Text] || len(all) >= maxListed {
				continue
			}
			seen[r.Text] = true
			all = append(all, Listed{Route: r.Text, Name: groups["name"]})
		}
	}
	return all
}

// fillListed fills the groups of a match into the route; where that is more than a group, they are encoded as its parts.
func fillListed(route string, groups map[string]string) string {
	return placeholder.ReplaceAllStringFunc(route, func(ph string) string {
		value := groups[ph[1:len(ph)-1]]
		if ph == route {
			return value
		}
		return EncodePart(value)
	})
}
