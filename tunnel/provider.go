package tunnel

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Provider is what is known of one kind of tunnel program, as a [provider.NAME] table of the configuration gives it.
type Provider struct {
	Routes      []string       `toml:"routes"`
	Command     []any          `toml:"command"` // strings, and lists of strings that are left out as a whole
	Stdio       []any          `toml:"stdio"`   // in its place: a program that carries one connection, on its standard input and output
	Args        []string       `toml:"args"`
	Signal      string         `toml:"signal"`
	ListenHost  string         `toml:"listen_host"`
	SignIn      string         `toml:"sign_in"`
	SignInFirst bool           `toml:"sign_in_first"` // it asks before it listens, and not at a connection
	SignedIn    string         `toml:"signed_in"`
	SignInLost  string         `toml:"sign_in_lost"`
	Opener      []string       `toml:"opener"` // see OpensByName; nil where that is not known
	Errors      []ErrorPattern `toml:"errors"`
	Refused     string         `toml:"refused"`
	Anew        bool           `toml:"anew"`  // see providers.toml
	Probe       *bool          `toml:"probe"` // see Route.Probed
	Install     string         `toml:"install"`
	Before      Steps          `toml:"before"`
	After       Steps          `toml:"after"`
	Timeout     string         `toml:"timeout"`
	List        *Listing       `toml:"list"`

	Defaults map[string]any `toml:"defaults"` // values of parts that a route leaves out: strings, and numbers of ports
	Env      map[string]any `toml:"env"`      // see variables

	name     string
	embedded string // the rows of errors of the embedded table, see rows
	own      bool   // the configuration's, not one of the embedded providers, changed or not
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
	if err := p.checkAlone(); err != nil {
		return err
	}
	known := p.known()
	if err := p.checkCommand(known); err != nil {
		return err
	}
	if err := checkSteps(p.Before, p.After, known); err != nil {
		return err
	}
	if err := checkEnv(p.Env, known); err != nil {
		return err
	}
	if err := p.checkDefaults(known[len(ownNames):]); err != nil {
		return err
	}
	return p.checkOptional()
}

// known are the placeholders that the provider's command may have.
func (p *Provider) known() []string {
	known := slices.Clone(ownNames)
	for _, f := range p.forms() {
		if pattern, err := f.compile(strict); err == nil {
			known = append(known, pattern.SubexpNames()[1:]...)
		}
	}
	return known
}

// checkAlone says what is wrong with the values that need no other to be judged.
func (p *Provider) checkAlone() error {
	if _, ok := Signal(p.Signal); !ok {
		return fmt.Errorf("signal %q is not known: use %s", p.Signal, strings.Join(slices.Sorted(maps.Keys(signals)), ", "))
	}
	for _, f := range p.forms() {
		if _, err := f.compile(strict); err != nil {
			return err
		}
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
	if err := checkOpener(p.Opener); err != nil {
		return err
	}
	rows, err := p.rows()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := row.check(); err != nil {
			return err
		}
	}
	if err := checkTimeout(p.Timeout); err != nil {
		return err
	}
	if p.List != nil {
		if err := p.List.check(); err != nil {
			return err
		}
	}
	return checkEnv(p.Env, nil)
}

// keyError is an error in the value of a key.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }

func (e *keyError) Unwrap() error { return e.err }

func keyErrorf(key, format string, args ...any) error {
	return &keyError{key, fmt.Errorf(format, args...)}
}

func checkTimeout(text string) error {
	if d, err := time.ParseDuration(text); text != "" && (err != nil || d <= 0) {
		return keyErrorf("timeout", "%s is no time: write a number with a unit, such as \"60s\" or \"2m\"", quote(text))
	}
	return nil
}

// defaults are the values of the parts that a route leaves out.
func (p *Provider) defaults() map[string]string {
	values := map[string]string{}
	for name, value := range p.Defaults {
		values[name] = fmt.Sprint(value)
	}
	return values
}

func (p *Provider) checkDefaults(parts []string) error {
	for _, name := range slices.Sorted(maps.Keys(p.Defaults)) {
		if !slices.Contains(parts, name) {
			return keyErrorf("defaults", "no route has a {%s}", name)
		}
		switch value := p.Defaults[name].(type) {
		case string:
			if reason := badValue(value); value == "" || reason != "" {
				return keyErrorf("defaults", "%s %s", name, or(reason, "is empty"))
			}
		case int64:
		default:
			return keyErrorf("defaults", "%s is neither a string nor a number", name)
		}
		if port := fmt.Sprint(p.Defaults[name]); isPort(name) && !validPort(port) {
			return keyErrorf("defaults", "%s is %s: ports go from 1 to 65535", name, quote(port))
		}
	}
	return nil
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// checkOptional says where the command needs a part that a route may leave out.
func (p *Provider) checkOptional() error {
	for _, element := range p.command() {
		word, ok := element.(string)
		if !ok {
			continue // is left out as a whole
		}
		for _, ph := range placeholder.FindAllString(word, -1) {
			name := ph[1 : len(ph)-1]
			if f, lacks := p.lacking(name); lacks {
				return keyErrorf("command", "%q needs {%s}, which a route of the form %s may leave out: give it a list of its own, [%q], "+
					"to be left out with it, or a value in defaults", word, name, f, word)
			}
		}
	}
	return nil
}

// names are the placeholders that there are.
func (p *Provider) names() []string {
	names := slices.Clone(ownNames)
	for _, f := range p.forms() {
		for _, token := range f.tokens() {
			if name, _, ok := nameOf(token); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// lacking gives a form whose routes need not have a value of that name.
func (p *Provider) lacking(name string) (form, bool) {
	if slices.Contains(ownNames, name) || p.Defaults[name] != nil {
		return form{}, false
	}
	for _, f := range p.forms() {
		if !slices.Contains(f.required(), name) {
			return f, true
		}
	}
	return form{}, false
}

// misplaced tells why a part of a route cannot have that value: in a word of the command, or of a step, it would be
// taken apart there. Within a URL it stays encoded.
func (p *Provider) misplaced(name, value string, steps ...Steps) string {
	if strings.HasPrefix(value, "[") || !strings.ContainsAny(value, escaped) {
		return ""
	}
	var all []string
	for _, element := range p.command() {
		words, _ := group("", element)
		all = append(all, words...)
	}
	for _, steps := range append(steps, p.Before, p.After) {
		all = slices.Concat(append(steps, all)...)
	}
	for _, word := range all {
		rest := placeholder.ReplaceAllString(word, "")
		if strings.Contains(rest, " ") { // a line of a shell's, perhaps
			rest += "?#%"
		}
		if !strings.Contains(word, "{"+name+"}") || isURL(word) {
			continue
		}
		for _, r := range value {
			if strings.ContainsRune(escaped, r) && strings.ContainsRune(rest, r) {
				return fmt.Sprintf("has %q for %s, which stands in %q on a command line of %s: it can hold no %q there",
					value, strings.ToUpper(name), word, p.name, r)
			}
		}
	}
	return ""
}

// isURL tells whether a word of a command is a URL.
func isURL(word string) bool { return strings.Contains(word, "://") }

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
	switch {
	case len(p.Command) > 0 && len(p.Stdio) > 0:
		return fmt.Errorf("it has both command and stdio: " +
			"a program either listens, or carries one connection on its standard input and output")
	case len(p.Stdio) > 0:
		return checkWords("stdio", p.Stdio, known)
	}
	return checkWords("command", p.Command, known)
}

func checkWords(key string, command []any, known []string) error {
	if len(command) == 0 {
		return fmt.Errorf("it has no command")
	}
	if first, ok := command[0].(string); !ok || first == "" {
		return fmt.Errorf("%s: the first word must be the program", key)
	}
	for _, element := range command {
		words, err := group(key, element)
		if err != nil {
			return err
		}
		for _, ph := range placeholder.FindAllString(strings.Join(words, " "), -1) {
			if !slices.Contains(known, ph[1:len(ph)-1]) {
				return fmt.Errorf("%s: unknown placeholder %s: the known ones are {%s}", key, ph, strings.Join(known, "} {"))
			}
		}
	}
	return nil
}

// group gives the words of one element of a command: a string, or a list of strings.
func group(key string, element any) ([]string, error) {
	switch e := element.(type) {
	case string:
		return []string{e}, nil
	case []any:
		var words []string
		for _, w := range e {
			word, ok := w.(string)
			if !ok {
				return nil, fmt.Errorf("%s: %v is not a string", key, w)
			}
			words = append(words, word)
		}
		return words, nil
	}
	return nil, fmt.Errorf("%s: %v is neither a string nor a list of strings", key, element)
}

// command is the whole command: of a program that speaks on its standard input and output, our relay with it.
func (p *Provider) command() []any {
	if len(p.Stdio) == 0 {
		return p.Command
	}
	relay := []any{"{tunhook}", "relay", "--listen", "{listen}"}
	if p.Signal != "TERM" {
		relay = append(relay, "--signal", p.Signal)
	}
	return slices.Concat(relay, []any{relayedBehind}, p.Stdio)
}

// relayedBehind is what stands before the program that our relay runs, on the relay's command line.
const relayedBehind = "--"

// relayed is where in a command line of the provider's that program stands; 0 where the program is that of the command
// line itself.
func (p *Provider) relayed(argv []string) int {
	if p.command()[0] != "{tunhook}" || !slices.Contains(p.command(), any(relayedBehind)) {
		return 0
	}
	return slices.Index(argv, relayedBehind) + 1
}

// argv fills in the command. A list within it is left out where one of its names has no value; elsewhere such a name is empty.
func (p *Provider) argv(values map[string]string, args []string) []string {
	var argv []string
	placed := false
	for _, element := range p.command() {
		words, _ := group("", element) // checked before
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

// fill fills in one word; in a URL the parts of a route stay encoded. An IPv6 address that is all of a word needs no
// brackets, and few programs take them there.
func fill(word string, values map[string]string) string {
	filled := placeholder.ReplaceAllStringFunc(word, func(ph string) string {
		name := ph[1 : len(ph)-1]
		if isURL(word) && !slices.Contains(ownNames, name) {
			return EncodePart(values[name])
		}
		return values[name]
	})
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
