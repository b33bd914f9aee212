package tunnel

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// Provider is what is known of one kind of tunnel program, as a [provider.NAME] table of the configuration gives it.
type Provider struct {
	Routes      []string       `toml:"routes"`
	Command     []any          `toml:"command"` // strings, and lists of strings that are left out as a whole
	Args        []string       `toml:"args"`
	Signal      string         `toml:"signal"`
	ListenHost  string         `toml:"listen_host"`
	SignIn      string         `toml:"sign_in"`
	SignInFirst bool           `toml:"sign_in_first"` // it asks before it listens, and not at a connection
	SignedIn    string         `toml:"signed_in"`
	SignInLost  string         `toml:"sign_in_lost"`
	Errors      []ErrorPattern `toml:"errors"`
	Refused     string         `toml:"refused"`
	Install     string         `toml:"install"`
	Before      Steps          `toml:"before"`
	After       Steps          `toml:"after"`

	name string
}

// placeholder is {name} in a command or a route form.
var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// ownNames are the placeholders that do not come from a route.
var ownNames = []string{"route", "listen", "listen_host", "listen_port", "args", "tunhook"}

// complete fills in what the table may leave out.
func (p *Provider) complete(name string) {
	p.name = name
	if p.Signal == "" {
		p.Signal = "TERM"
	}
	if len(p.Routes) == 0 {
		p.Routes = []string{name + "://{host}:{port}"}
	}
}

func (p *Provider) forms() []form {
	forms := make([]form, len(p.Routes))
	for i, text := range p.Routes {
		forms[i] = newForm(text)
	}
	return forms
}

// check says what is wrong with a provider that a user has written. The embedded ones are checked by a test.
func (p *Provider) check() error {
	if _, ok := Signal(p.Signal); !ok {
		return fmt.Errorf("signal %q is not known: use %s", p.Signal, strings.Join(slices.Sorted(maps.Keys(signals)), ", "))
	}
	known := slices.Clone(ownNames)
	for _, f := range p.forms() {
		pattern, err := f.compile()
		if err != nil {
			return err
		}
		known = append(known, pattern.SubexpNames()[1:]...)
	}
	if host, err := netip.ParseAddr(p.ListenHost); p.ListenHost != "" && (err != nil || host.Zone() != "") {
		return fmt.Errorf("listen_host %q is not an IP address", p.ListenHost)
	}
	if err := checkPattern("sign_in", p.SignIn, 1); err != nil {
		return err
	}
	for key, text := range map[string]string{"refused": p.Refused, "signed_in": p.SignedIn, "sign_in_lost": p.SignInLost} {
		if err := checkPattern(key, text, 0); err != nil {
			return err
		}
	}
	for _, row := range p.Errors {
		if err := row.check(); err != nil {
			return err
		}
	}
	if err := p.checkCommand(known); err != nil {
		return err
	}
	return checkSteps(p.Before, p.After, known)
}

func checkPattern(key, text string, groups int) error {
	if text == "" {
		return nil
	}
	pattern, err := regexp.Compile(text)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if pattern.NumSubexp() < groups {
		return fmt.Errorf("%s: %q needs a group, in parentheses, around the URL", key, text)
	}
	return nil
}

func (p *Provider) checkCommand(known []string) error {
	if len(p.Command) == 0 {
		return fmt.Errorf("it has no command")
	}
	if first, ok := p.Command[0].(string); !ok || first == "" {
		return fmt.Errorf("command: the first word must be the program")
	}
	for _, element := range p.Command {
		words, err := group(element)
		if err != nil {
			return err
		}
		for _, ph := range placeholder.FindAllString(strings.Join(words, " "), -1) {
			if !slices.Contains(known, ph[1:len(ph)-1]) {
				return fmt.Errorf("command: unknown placeholder %s: the known ones are {%s}", ph, strings.Join(known, "} {"))
			}
		}
	}
	return nil
}

// group gives the words of one element of a command: a string, or a list of strings.
func group(element any) ([]string, error) {
	switch e := element.(type) {
	case string:
		return []string{e}, nil
	case []any:
		var words []string
		for _, w := range e {
			word, ok := w.(string)
			if !ok {
				return nil, fmt.Errorf("command: %v is not a string", w)
			}
			words = append(words, word)
		}
		return words, nil
	}
	return nil, fmt.Errorf("command: %v is neither a string nor a list of strings", element)
}

// argv fills in the command. A list within it is left out where one of its names has no value; elsewhere such a name is empty.
func (p *Provider) argv(values map[string]string, args []string) []string {
	var argv []string
	placed := false
	for _, element := range p.Command {
		words, _ := group(element) // checked before
		_, optional := element.([]any)
		if optional && slices.ContainsFunc(words, func(w string) bool { return lacksValue(w, values) }) {
			continue
		}
		for _, word := range words {
			if word == "{args}" {
				argv, placed = append(argv, args...), true
				continue
			}
			argv = append(argv, fill(word, values))
		}
	}
	if !placed {
		argv = append(argv, args...)
	}
	return argv
}

func lacksValue(word string, values map[string]string) bool {
	return slices.ContainsFunc(placeholder.FindAllString(word, -1), func(ph string) bool { return values[ph[1:len(ph)-1]] == "" })
}

// fill fills in one word. An IPv6 address that is all of a word needs no brackets, and few programs take them there.
func fill(word string, values map[string]string) string {
	filled := placeholder.ReplaceAllStringFunc(word, func(ph string) string { return values[ph[1:len(ph)-1]] })
	if placeholder.FindString(word) == word && strings.HasPrefix(filled, "[") && strings.HasSuffix(filled, "]") {
		return filled[1 : len(filled)-1]
	}
	return filled
}

// signals are the signals that a provider may name, without "SIG".
var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
}

// Signal returns the signal of that name ("TERM", "INT", ...), as providers and records give it.
func Signal(name string) (syscall.Signal, bool) {
	sig, ok := signals[name]
	return sig, ok
}
