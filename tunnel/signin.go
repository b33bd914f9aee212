package tunnel

import (
	"io"
	"os"
	"regexp"
	"strings"
)

// LogWatch reads what a tunnel program adds to its log, for the lines that say that somebody has to sign in, or that the
// gateway refuses the route.
type LogWatch struct {
	file            *os.File
	rest            string // a line that is not complete yet
	signIn, refused *regexp.Regexp
}

// WatchLog watches a log from byte offset from on, by the provider's patterns. Close closes the log, too.
func (p *Provider) WatchLog(log *os.File, from int64) (*LogWatch, error) {
	if _, err := log.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	return &LogWatch{file: log, signIn: pattern(p.SignIn), refused: pattern(p.Refused)}, nil
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

// Next reads what was added since the last call: the last URL to sign in at, "" for none, and the line, safe to show, that
// says that the route is refused, "" for none.
func (w *LogWatch) Next() (signIn, refused string) {
	added, err := io.ReadAll(io.LimitReader(w.file, maxLog))
	if err != nil {
		return "", ""
	}
	return w.read(added)
}

// read is Next for what was added.
func (w *LogWatch) read(added []byte) (signIn, refused string) {
	lines := strings.SplitAfter(w.rest+string(added), "\n")
	w.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		if w.signIn != nil {
			if m := w.signIn.FindStringSubmatch(line); m != nil {
				signIn = inURL(unescapeJSON(m[1]))
			}
		}
		if w.refused != nil && w.refused.MatchString(line) {
			refused = Printable(line)
		}
	}
	return signIn, refused
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

// SignsIn tells whether the tunnel program may ask somebody to sign in when a client connects.
func (p *Provider) SignsIn() bool { return p.SignIn != "" }
