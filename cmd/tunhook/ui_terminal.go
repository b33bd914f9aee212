package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/term"
)

// What others have written (log lines, profiles, process names, files' names) may hold what a terminal obeys: a new title, a cleared
// screen, text that runs backwards over the line. All that this command prints goes through this file, so that none of it gets out.

// safe gives a line without what a terminal would obey: escape sequences, control characters of both sets, and what turns the
// direction of writing around. What is no UTF-8 becomes U+FFFD.
func safe(line string) string { return tunnel.Plain(strings.ToValidUTF8(line, "\ufffd")) }

// escapeJSON writes what is not printable as the escapes that JSON has for it: it is the same to programs, and nothing to a terminal.
func escapeJSON(text []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff: // a surrogate pair, RFC 8259, section 7
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// log is where a tunnel's log is copied to: as it is, or line by line and safe where a person looks.
func (u *ui) log() io.WriteCloser {
	if term.IsTerminal(int(u.stdout.Fd())) {
		return &safeLines{to: u.stdout}
	}
	return asItIs{u.stdout}
}

type asItIs struct{ io.Writer }

func (asItIs) Close() error { return nil }

// maxHeld bounds a line that is held until its end has come, in bytes.
const maxHeld = 64 << 10

// safeLines passes on whole lines, made safe: of an escape sequence that comes in two parts neither looks like one.
type safeLines struct {
	to   io.Writer
	held []byte // a line that is not complete yet
}

func (s *safeLines) Write(p []byte) (int, error) {
	s.held = append(s.held, p...)
	for {
		end := bytes.IndexByte(s.held, '\n')
		if end < 0 && len(s.held) < maxHeld {
			return len(p), nil
		}
		if end < 0 {
			end = len(s.held) - 1
		}
		if err := s.pass(end + 1); err != nil {
			return 0, err
		}
	}
}

func (s *safeLines) pass(n int) error {
	line, ended := strings.CutSuffix(string(s.held[:n]), "\n")
	s.held = s.held[n:]
	line = safe(line)
	if ended {
		line += "\n"
	}
	_, err := io.WriteString(s.to, line)
	return err
}

// Close passes on a last line that has no end.
func (s *safeLines) Close() error { return s.pass(len(s.held)) }
