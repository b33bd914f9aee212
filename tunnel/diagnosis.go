package tunnel

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Meaning is what a line of a tunnel program's log says of why its tunnel does not come to be, in a word. What a person is told of
// each, and the exit status, stand in one table of the command's.
type Meaning string

// The meanings. Those of a provider's errors are these, but Unanswered: who does not sign in is not found in a log.
const (
	Unreachable  Meaning = "unreachable"   // the gateway cannot be reached
	UnknownName  Meaning = "unknown-name"  // a name has no address
	Untrusted    Meaning = "untrusted"     // the gateway's certificate is not trusted
	HostKey      Meaning = "host-key"      // the gateway's host key is not known, or another one than before
	Refused      Meaning = "refused"       // the gateway does not let this user take this route
	Down         Meaning = "down"          // the gateway reaches no server at the end of the route
	UnknownRoute Meaning = "unknown-route" // the gateway knows no such route
	GatewayFault Meaning = "gateway-fault" // the gateway itself fails
	NoBrowser    Meaning = "no-browser"    // the page to sign in at cannot be opened
	SignedOut    Meaning = "signed-out"    // somebody has to sign in first, by another command
	Unanswered   Meaning = "unanswered"    // nobody signed in
	Unasked      Meaning = "unasked"       // nobody could be asked for a passphrase or a password
	Unsaved      Meaning = "unsaved"       // the sign-in could not be kept
	Arguments    Meaning = "arguments"     // the program does not understand its arguments
	NoProgram    Meaning = "no-program"    // the program lacks another one
	NotSetUp     Meaning = "not-set-up"    // the program lacks something in a configuration of its own
)

// Meanings gives all of them.
func Meanings() []Meaning { return slices.Clone(meanings) }

var meanings = []Meaning{
	Unreachable, UnknownName, Untrusted, HostKey, Refused, Down, UnknownRoute, GatewayFault, NoBrowser, SignedOut, Unanswered, Unasked,
	Unsaved, Arguments, NoProgram, NotSetUp,
}

// ErrorPattern is a row of a provider's errors: which lines of its log mean what, and the one thing to do about it.
type ErrorPattern struct {
	Match string  `toml:"match"` // regular expression
	Means Meaning `toml:"means"`
	Hint  string  `toml:"hint"` // may hold {names} of the route; "" for what usually helps
}

func (e ErrorPattern) check() error {
	switch {
	case e.Match == "":
		return fmt.Errorf("errors: a row without match: write { match = \"REGEXP\", means = \"refused\" }")
	case !slices.Contains(meanings, e.Means):
		return fmt.Errorf("errors: means = %q is not known: use %s", e.Means, join(meanings))
	}
	return checkPattern("errors: match", e.Match, 0)
}

func join(words []Meaning) string {
	var texts []string
	for _, w := range words {
		texts = append(texts, string(w))
	}
	return strings.Join(texts, ", ")
}

// common are the errors of many programs, whose words leave no doubt: those of Go's, OpenSSL's and the C library's. They come after
// the provider's own.
var common = []ErrorPattern{
	{Match: `tunhook: no program that could open the page`, Means: NoBrowser},
	{Match: `(?i)x509:|certificate verify failed|certificate signed by unknown|self[- ]signed certificate`, Means: Untrusted},
	{
		Match: `(?i)no such host|could not resolve|name or service not known|temporary failure in name resolution|getaddrinfo|` +
			`nodename nor servname|failed to resolve|NameResolutionError`,
		Means: UnknownName,
	},
}

// errorPatterns are the rows that a provider's log is read by, the most important first: the user's, in front of the embedded ones.
func (p *Provider) errorPatterns() []ErrorPattern {
	var all []ErrorPattern
	if p.Refused != "" {
		all = append(all, ErrorPattern{Match: p.Refused, Means: Refused})
	}
	rows, _ := p.rows() // a test decodes them all
	return slices.Concat(all, rows, common)
}

// rows are the rows of errors, the user's before the embedded ones. Those are decoded here: they take longer than all else that a
// start needs of a provider, and most starts have no log to read.
func (p *Provider) rows() ([]ErrorPattern, error) {
	var embedded struct {
		Errors []ErrorPattern `toml:"errors"`
	}
	_, err := toml.Decode(p.embedded, &embedded)
	return slices.Concat(p.Errors, embedded.Errors), err
}

// Diagnosis is what the log says of why a tunnel does not come to be. The zero value is that it says nothing that is known.
type Diagnosis struct {
	Means Meaning
	Hint  string // the provider's, as the route fills it in
	Line  string // the line that says so, safe to show

	rank int // of its row: the first row counts
}

// diagnoser finds out what lines mean. Patterns are compiled when there is a line to read: most starts have none.
type diagnoser struct {
	rows     []ErrorPattern
	compiled []*regexp.Regexp
}

// read gives what a line means: without its end and its colours, so that a row may begin with ^ and end with $.
func (d *diagnoser) read(line string) Diagnosis {
	line = Plain(line)
	if d.compiled == nil {
		for _, row := range d.rows {
			d.compiled = append(d.compiled, pattern(row.Match))
		}
	}
	for i, re := range d.compiled {
		if re != nil && re.MatchString(line) {
			return Diagnosis{Means: d.rows[i].Means, Hint: d.rows[i].Hint, Line: Printable(line), rank: i}
		}
	}
	return Diagnosis{}
}

// Or gives the more important one of two.
func (d Diagnosis) Or(other Diagnosis) Diagnosis {
	if d.Means == "" || other.Means != "" && other.rank < d.rank {
		return other
	}
	return d
}
