package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Route is where a tunnel leads, and the provider that can take one there.
type Route struct {
	Given    string    // the name that the user wrote, or Text where that was a route
	Text     string    // the route itself; several ways to write it have one
	Provider *Provider // whose tunnel program serves it
	Named    Named     // the [tunnel.NAME] table, empty for a route that was written out
	written  string    // the route as it was written
	parts    map[string]string
}

// maxRoute is more than any real route has: host names end at 253 characters (RFC 1035, section 2.3.4).
const maxRoute = 1024

// RouteError says what is wrong with a route, and what would be right.
type RouteError struct {
	Route  string
	Reason string
	Known  []string // what could have been meant in the place of a name or a scheme that is unknown
}

func (e *RouteError) Error() string {
	return fmt.Sprintf("route %s %s", quote(e.Route), e.Reason)
}

// WithoutPassword hides what stands between the first ':' and the last '@' of a route that somebody wrote a password into.
// Such a route is refused, but its message may end up on a screen that others see.
func WithoutPassword(route string) string {
	head := 0
	if i := strings.Index(route, "://"); i >= 0 {
		head = i + len("://")
	}
	colon, at := strings.IndexByte(route[head:], ':')+head, strings.LastIndexByte(route, '@')
	if colon < head || at < colon {
		return route
	}
	return route[:colon+1] + "…" + route[at:]
}

// WithoutPasswords hides the passwords of all routes and URLs in a text. A web address may well have a ':' and an '@' in its
// path, and must still lead to its page: only in front of that does it have a password.
func WithoutPasswords(text string) string {
	return regexp.MustCompile(`\S+://\S+`).ReplaceAllStringFunc(text, func(word string) string {
		scheme, rest, _ := strings.Cut(word, "://")
		if !strings.HasSuffix(scheme, "http") && !strings.HasSuffix(scheme, "https") {
			return WithoutPassword(word)
		}
		host, path, found := strings.Cut(rest, "/")
		if found {
			path = "/" + path
		}
		return WithoutPassword(scheme+"://"+host) + path
	})
}

// quote shows input of a user in a message: on one line, visible, without a password, and of a length that leaves the message
// readable.
func quote(s string) string {
	const most = 80
	s = WithoutPassword(s)
	if utf8.RuneCountInString(s) > most {
		return fmt.Sprintf("%q… (%d characters)", string([]rune(s)[:most]), utf8.RuneCountInString(s))
	}
	return strconv.Quote(s)
}

// Route finds out what route means: a name of the configuration, a route with a scheme, or a bare HOST:PORT. Errors are
// *RouteError, and *ConfigError where it is the configuration that is wrong.
func (c *Config) Route(route string) (Route, error) {
	if reason := badText(route); reason != "" {
		return Route{}, &RouteError{Route: route, Reason: reason}
	}
	if c.blind != nil {
		return Route{}, c.blind
	}
	if !strings.ContainsAny(route, ":/") {
		return c.namedRoute(route)
	}
	r := Route{Text: route, written: route}
	err := c.resolve(&r)
	r.Given = r.Text
	return r, err
}

func (c *Config) namedRoute(name string) (Route, error) {
	table := tableKey{"tunnel", name}
	if fault := c.broken[table]; fault != nil {
		return Route{}, fault
	}
	named, ok := c.named[name]
	if !ok {
		return Route{}, &RouteError{name, c.unknownName(name) + c.unreadHint(), c.Names()}
	}
	r := Route{Given: name, Text: named.Route, Named: named, written: named.Route}
	var err error
	if reason := badText(r.Text); reason != "" || !strings.ContainsAny(r.Text, ":/") {
		err = &RouteError{Route: r.Text, Reason: "of [tunnel." + name + "] " + or(reason, "is a name itself: write the route there")}
	} else {
		err = c.resolve(&r)
	}
	var bad *RouteError
	if errors.As(err, &bad) {
		err = c.lastGiving(table, "route").fault(table, "route", err)
	}
	return r, err
}

// unreadHint says, where something is not in the configuration, that it may be in what could not be read of it.
func (c *Config) unreadHint() string {
	if unread := c.Unread(); len(unread) > 0 {
		return fmt.Sprintf(" (it may be in what could not be read: %v)", unread[0])
	}
	return ""
}

func or(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// badText tells what no route and no name may hold. Routes become arguments and file names, and come from clients' settings:
// what a shell or a path would take a meaning from is refused, wherever it would end up.
func badText(s string) string {
	switch {
	case s == "":
		return "is empty: give HOST:PORT, SCHEME://… or a name from the configuration"
	case len(s) > maxRoute:
		return fmt.Sprintf("is longer than %d characters", maxRoute)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case s[0] == '-':
		return "begins with '-': a flag comes before \"--\", and a route is no flag"
	case strings.Contains(s, ".."):
		return "holds \"..\": a route is not a path"
	}
	for _, r := range s {
		if !isRouteRune(r) && !strings.ContainsRune(":/@%[]", r) {
			return fmt.Sprintf("holds %q: a route has only letters, digits and . _ ~ : / @ %% + = , [ ] -", r) + encodeHint(r)
		}
	}
	return ""
}

// isRouteRune tells whether any part of a route may hold the character as it is.
func isRouteRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._~+=,-", r)
}

// encodeHint says how to write a character that a part of a route can hold.
func encodeHint(r rune) string {
	if !strings.ContainsRune(escaped, r) {
		return ""
	}
	return fmt.Sprintf("; in a part of it %q is written %s", r, EncodePart(string(r)))
}

func checkName(name string) error {
	if strings.ContainsAny(name, ":/") {
		return fmt.Errorf("a name has no ':' or '/': with one it would be a route")
	}
	if reason := badText(name); reason != "" {
		return fmt.Errorf("the name %s", strings.Replace(reason, "a route has only", "it may have only", 1))
	}
	return nil
}

func (c *Config) unknownName(name string) string {
	if strings.Contains(name, ".") { // a host, rather
		return "has no port: write " + name + ":3389 for a desktop by RDP, or " + name + ":5900 for one by VNC"
	}
	if names := c.Names(); len(names) > 0 {
		return "is neither HOST:PORT, nor SCHEME://…, nor a name of the configuration (" + strings.Join(names, ", ") + ")"
	}
	return "is neither HOST:PORT nor SCHEME://…; to use it as a name, add [tunnel." + "NAME] to " + c.userPath()
}

// resolve finds the provider by scheme and takes the route apart by the provider's forms.
func (c *Config) resolve(r *Route) error {
	scheme := schemeOf(r.Text)
	candidates, err := c.candidates(scheme)
	if err != nil {
		return err
	}
	if len(candidates) == 0 && slices.Contains(clientSchemes, scheme) {
		return &RouteError{Route: r.Text, Reason: fmt.Sprintf("is an address for a client (%s://): a route says through what, such as "+
			"HOST:PORT (Pomerium), tcp+https://GATEWAY/HOST:PORT (likewise) or ssh://GATEWAY/HOST:PORT", scheme)}
	}
	if len(candidates) == 0 {
		return &RouteError{r.Text, fmt.Sprintf("has the unknown scheme %q: known are %s; add [provider.%s] to %s for another",
			scheme, strings.Join(c.schemes(), ", "), or(scheme, "SCHEME"), c.userPath()) + c.unreadHint(), c.schemes()}
	}
	for _, read := range []func(form, string) (map[string]string, bool){form.parts, form.looseParts} {
		for _, can := range candidates {
			if parts, ok := read(can.form, r.Text); ok {
				return r.take(can, parts)
			}
		}
	}
	forms, hint := make([]string, len(candidates)), r.formHint()
	for i, can := range candidates {
		forms[i] = can.String()
		if _, ok := can.parts(r.Text + ":3389"); ok {
			hint = fmt.Sprintf(" (with a port: %s:3389 for a desktop by RDP, %[1]s:5900 for one by VNC)", WithoutPassword(r.Text))
		}
	}
	return &RouteError{Route: r.Text, Reason: "does not have the form " + strings.Join(forms, " or ") + hint}
}

// schemeOf is the scheme of a route, "" for one without.
func schemeOf(route string) string {
	if scheme, _, ok := strings.Cut(route, "://"); ok {
		return scheme
	}
	return ""
}

// candidate is a form that a route may have, and whose it is.
type candidate struct {
	form
	provider *Provider
}

// candidates are the forms of that scheme: those of the configuration's own providers first, which an embedded one
// that comes with a later version does not take them from.
func (c *Config) candidates(scheme string) (own []candidate, err error) {
	var embedded []candidate
	for _, name := range c.providerNames() {
		if !c.mayServe(name, scheme) {
			continue
		}
		p, err := c.provider(name)
		if err != nil {
			return nil, err
		}
		for _, f := range p.forms() {
			switch {
			case f.scheme != scheme:
			case p.own:
				own = append(own, candidate{f, p})
			default:
				embedded = append(embedded, candidate{f, p})
			}
		}
	}
	return append(own, embedded...), nil
}

// take takes the parts of a route, as they are written, for what they mean.
func (r *Route) take(can candidate, written map[string]string) error {
	parts := maps.Clone(can.provider.defaults())
	for _, name := range slices.Sorted(maps.Keys(written)) {
		value, reason := decodePart(written[name])
		if reason == "" {
			reason = can.provider.misplaced(name, value, r.Named.Before, r.Named.After)
		}
		if reason != "" {
			return &RouteError{Route: r.Text, Reason: reason}
		}
		parts[name] = value
	}
	r.Provider, r.parts = can.provider, parts
	if err := r.checkPorts(); err != nil {
		return err
	}
	r.Text = can.write(parts)
	return nil
}

// clientSchemes are the schemes of addresses that people paste in the place of a route.
var clientSchemes = []string{"rdp", "ms-rd", "vnc", "spice", "http", "https", "telnet", "sftp"}

// formHint guesses at what made a route not fit its forms.
func (r *Route) formHint() string {
	_, rest, ok := strings.Cut(r.Text, "://")
	if !ok {
		rest = r.Text
	}
	if strings.Count(rest, ":") > 2 && !strings.ContainsAny(rest, "[@/") {
		return " (an IPv6 address goes in brackets: [2001:db8::1]:3389)"
	}
	hint := ""
	if strings.ContainsAny(rest, "/@") {
		hint = "within a part '/' is written %2F, '@' %40 and ':' %3A"
	}
	if WithoutPassword(r.Text) != r.Text {
		hint = "a route holds no password; " + hint
	}
	if hint == "" {
		return ""
	}
	return " (" + hint + ")"
}

func (r *Route) checkPorts() error {
	for name, value := range r.parts {
		if !isPort(name) {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 16); err != nil || n == 0 {
			return &RouteError{Route: r.Text, Reason: fmt.Sprintf("has port %s: ports go from 1 to 65535", value)}
		}
	}
	return nil
}

func (c *Config) schemes() []string {
	var schemes []string
	for _, name := range c.providerNames() {
		p, err := c.provider(name)
		if err != nil {
			continue
		}
		for _, f := range p.forms() {
			if f.scheme != "" {
				schemes = append(schemes, f.scheme)
			}
		}
	}
	slices.Sort(schemes)
	return slices.Compact(schemes)
}

// Host is the host that the route leads to, without the brackets of an IPv6 address.
func (r Route) Host() string { return strings.Trim(r.parts["host"], "[]") }

// Port is the port that the route leads to, 0 where the route names none.
func (r Route) Port() uint16 {
	n, _ := strconv.ParseUint(r.parts["port"], 10, 16) // checked when the route was taken apart
	return uint16(n)
}

// Args are the extra arguments of the tunnel program: the provider's, the configuration's, then the command line's.
func (r Route) Args(more []string) []string {
	return slices.Concat(r.Provider.Args, r.Named.Args, more)
}

// Argv is the tunnel program's command line for this listen address; tunhook is the path of tunhook itself.
func (r Route) Argv(listen netip.AddrPort, tunhook string, args []string) []string {
	return r.Provider.argv(r.values(listen, tunhook), args)
}

// values are what the placeholders stand for.
func (r Route) values(listen netip.AddrPort, tunhook string) map[string]string {
	values := map[string]string{
		"route":       r.written,
		"listen":      listen.String(),
		"listen_host": listen.Addr().String(),
		"listen_port": strconv.Itoa(int(listen.Port())),
		"tunhook":     tunhook,
	}
	for name, value := range r.parts {
		values[name] = value
	}
	return values
}

// Fill fills the parts of the route into a text, such as a hint's "run ssh {gateway}".
func (r Route) Fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(ph string) string {
		if name := ph[1 : len(ph)-1]; name != "route" {
			return or(r.parts[name], ph)
		}
		return r.Text
	})
}

// Timeout is how long a start waits at most where nobody has said: the [tunnel.NAME] table's, else the provider's, 0
// where neither says anything.
func (r Route) Timeout() time.Duration {
	limit, _ := time.ParseDuration(or(r.Named.Timeout, r.Provider.Timeout)) // checked
	return limit
}

// Name is the provider's name.
func (p *Provider) Name() string { return p.name }
