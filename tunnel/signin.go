package tunnel

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
)

// LogWatch reads what a tunnel program adds to its log, for the lines that say that somebody has to sign in or has done so, and for
// those that say why its tunnel does not come to be.
type LogWatch struct {
	file                     *os.File
	rest                     string // a line that is not complete yet
	signIn, signedIn, inside *regexp.Regexp
	likely                   likely // where there is no pattern for a sign-in
	diagnoser                diagnoser
}

// Seen is what a log has told.
type Seen struct {
	SignIn   string    // the last URL to sign in at, "" for none
	SignedIn bool      // somebody has signed in since
	Inside   bool      // a sign-in would be known to this process alone
	Why      Diagnosis // of what was told after the last sign-in was asked for
}

// Then gives what was seen, and what came later, as one.
func (s Seen) Then(later Seen) Seen {
	if later.SignIn != "" {
		s.SignIn, s.SignedIn, s.Why = later.SignIn, false, Diagnosis{}
	}
	s.SignedIn, s.Inside, s.Why = s.SignedIn || later.SignedIn, s.Inside || later.Inside, s.Why.Or(later.Why)
	return s
}

// WatchLog watches a log from byte offset from on, by the provider's patterns. Close closes the log, too.
func (p *Provider) WatchLog(log *os.File, from int64) (*LogWatch, error) {
	if _, err := log.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return p.newWatch(log), nil
}

func (p *Provider) newWatch(log *os.File) *LogWatch {
	return &LogWatch{
		file: log, signIn: pattern(p.SignIn), signedIn: pattern(p.SignedIn), inside: pattern(p.SignInLost),
		diagnoser: diagnoser{rows: p.errorPatterns()},
	}
}

// pattern compiles a pattern that was checked when the configuration was read.
func pattern(text string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil
	}
	return compiled
}

// Close ends the watch.
func (w *LogWatch) Close() { w.file.Close() }

// Next reads what was added since the last call.
func (w *LogWatch) Next() Seen {
	added, err := io.ReadAll(io.LimitReader(w.file, maxLog))
	if err != nil {
		return Seen{}
	}
	return w.read(added)
}

// read is Next for what was added.
func (w *LogWatch) read(added []byte) (seen Seen) {
	lines := strings.SplitAfter(w.rest+string(added), "\n")
	w.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		seen = seen.Then(w.line(line))
	}
	return seen
}

func (w *LogWatch) line(line string) (seen Seen) {
	seen.Inside = w.inside != nil && w.inside.MatchString(line)
	if seen.SignIn = w.page(line); seen.SignIn != "" {
		return seen
	}
	seen.SignedIn = w.signedIn != nil && w.signedIn.MatchString(line)
	seen.Why = w.diagnoser.read(line)
	return seen
}

// page gives the URL to sign in at that a line tells, "" for none.
func (w *LogWatch) page(line string) string {
	if w.signIn == nil {
		return w.likely.page(line)
	}
	if m := w.signIn.FindStringSubmatch(line); m != nil {
		return inURL(unescapeJSON(m[1]))
	}
	return ""
}

// What programs say, in this line or the last ones before it, when they ask somebody to sign in at a URL; and what they say when
// they only tell where to read more.
const (
	anyURL  = `https?://[^\s"'<>]+`
	asksFor = `(?i)\bto (sign|log) ?-?in\b|\bsign(ing)?[ -]?in( with| at| to| here|:)|\blog ?in (with|at|to|here)|\blogin (url|page|at)\b|` +
		`\bto (authenticate|authorize)\b|\bauthenticat(e|ion)( with| at| url|:| in)|\bin (your|a|the) (web )?browser\b|\bweb ?browser\b|` +
		`\bbrowser (window|tab|has|should)|\b(visit|open|click on|follow|go to|browse to|navigate to)\b.{0,40}\b(url|link|page|address)\b|` +
		`\b(visit|open|go to|browse to|navigate to):?\s+https?://`
	asksHere = `(?i)\b(sign[ -]?(in|on)|log ?[io]n|authenticate|authenticating|authentication|authorize|authorization|approve|sso|visiting|browser|` +
		`enter (the|this) code)\b` // in the very line of the URL
	tellsMore = `(?i)\b(more|further) (info|detail|help)|\bdocumentation\b|\bdocs\b|\bfor help\b|\bsee:? |\blearn more|\btroubleshoot|` +
		`\binstall\b|\bdownload|\berror\b|\bpolicy\b`
)

// linesBefore is how many lines, empty ones too, reach from what asks somebody to sign in to the URL at most.
const linesBefore = 3

// likely finds the page to sign in at in the log of a program of which no pattern is known: one that ssh runs to reach its gateway,
// or kubectl to get a token, may be any.
type likely struct {
	url, asks, here, more *regexp.Regexp
	before                []string // the last lines
}

func (l *likely) page(line string) (url string) {
	if l.url == nil { // most logs are never looked at
		l.url, l.asks = regexp.MustCompile(anyURL), regexp.MustCompile(asksFor)
		l.here, l.more = regexp.MustCompile(asksHere), regexp.MustCompile(tellsMore)
	}
	l.before = append(l.before, line)
	l.before = l.before[max(0, len(l.before)-1-linesBefore):]
	found := l.url.FindString(line)
	if found == "" || l.more.MatchString(line) {
		return ""
	}
	asked := l.here.MatchString(l.url.ReplaceAllString(line, "")) // an address may well have "login" in it
	for _, said := range l.before {
		if asked || l.asks.MatchString(said) && !l.more.MatchString(said) {
			return inURL(strings.TrimRight(found, ".,;:)]}"))
		}
	}
	return ""
}

// unescapeJSON undoes the one escape that JSON log lines have in URLs: programs in Go write & as \u0026.
func unescapeJSON(s string) string { return strings.ReplaceAll(s, `\u0026`, "&") }

// inURL takes away what no URL holds: all but printable ASCII, RFC 3986, section 2. However long, it stays whole: half a URL leads
// nowhere.
func inURL(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// StrikePages makes the pages unreadable that a log names, from byte offset from on, for somebody to sign in at: they have died with
// their program. Nothing else changes its place.
func (p *Provider) StrikePages(log *os.File, from int64) error {
	text, err := io.ReadAll(io.NewSectionReader(log, from, maxLog))
	asks := pattern(p.SignIn)
	if err != nil || asks == nil {
		return err
	}
	for line := range bytes.Lines(text) { // they are parts of the text
		if at := asks.FindSubmatchIndex(line); at != nil {
			for i := max(0, at[2]); i < at[3]; i++ {
				line[i] = '-'
			}
		}
	}
	_, err = log.WriteAt(text, from)
	return err
}

// SignsIn tells whether the tunnel program may ask somebody to sign in when a client connects.
func (p *Provider) SignsIn() bool { return p.SignIn != "" && !p.SignInFirst }

// AsksFirst tells whether the tunnel program is known to open a page for somebody to sign in before it listens.
func (p *Provider) AsksFirst() bool { return p.SignIn != "" && p.SignInFirst }
