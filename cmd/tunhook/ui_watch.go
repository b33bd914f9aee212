package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tunhook/tunhook/hook"
	"golang.org/x/term"
)

// What status --watch shows is made in this file: for programs a line for each change, for people the table as it is now.

// eachChange gives the function that shows what has changed since its last call, in the form for programs: a document of JSON, or
// lines. What is wrong is said once for as long as it stays so.
func (u *ui) eachChange(asJSON bool) func([]hook.Tunnel, []error) error {
	changes := u.changedLines()
	if asJSON {
		changes = changedJSON()
	}
	said := map[string]bool{}
	return func(tunnels []hook.Tunnel, bad []error) error {
		still := map[string]bool{}
		for _, err := range bad {
			text := err.Error() + hint(err)
			if still[text] = true; !said[text] {
				u.say("%s", text)
			}
		}
		said = still
		text, err := changes(tunnels)
		if err != nil || len(text) == 0 {
			return err
		}
		_, err = u.stdout.Write(text)
		return err
	}
}

// changedJSON gives the documented form on one line, where it is another one than before.
func changedJSON() func([]hook.Tunnel) ([]byte, error) {
	var last []byte
	return func(tunnels []hook.Tunnel) ([]byte, error) {
		var text bytes.Buffer
		err := encodeJSON(&text, statusForm(tunnels), "")
		if err != nil || bytes.Equal(text.Bytes(), last) {
			return nil, err
		}
		last = text.Bytes()
		return last, nil
	}
}

// changedLines gives a line for each tunnel that is not as it was: time, route, address, state, pid and clients, with a tab between
// them. One that is not there any more is not running.
func (u *ui) changedLines() func([]hook.Tunnel) ([]byte, error) {
	type shown struct {
		key  string
		line string
		idle bool
	}
	var last []shown
	return func(tunnels []hook.Tunnel) ([]byte, error) {
		var text bytes.Buffer
		add := func(key, rest string) { fmt.Fprintf(&text, "%s\t%s\t%s\n", now().Format(time.RFC3339), key, rest) }
		was := map[string]shown{}
		for _, s := range last {
			was[s.key] = s
		}
		var present []shown
		there := map[string]bool{}
		for _, t := range tunnels {
			key := safe(t.Record.Route) + "\t" + dash(publicAddress(t))
			s := shown{key, string(t.State) + "\t" + pidOf(t) + "\t" + safe(clients(t.Clients)), t.State == hook.Idle}
			if was[key].line != s.line {
				add(key, s.line)
			}
			present, there[key] = append(present, s), true
		}
		for _, s := range last {
			if !there[s.key] && !s.idle {
				add(s.key, string(hook.Idle)+"\t-\t-")
			}
		}
		last = present
		return text.Bytes(), nil
	}
}

// screen shows what is there now on a terminal: in the place of what was there before, or, where the terminal obeys nothing, below.
type screen struct {
	out   *os.File
	all   bool   // those that do not run, too
	asked string // the route, if one was asked for
	dumb  bool

	mu      sync.Mutex
	tunnels []hook.Tunnel
	bad     []error
	frame   string // as it was drawn last, "" for not yet
	rows    int    // what the frame takes of the terminal, in lines and columns
	columns int
}

func (u *ui) newScreen(terminal, route string, all bool) *screen {
	return &screen{out: u.stdout, asked: route, all: all, dumb: terminal == "" || terminal == "dumb"}
}

// show shows something new.
func (s *screen) show(tunnels []hook.Tunnel, bad []error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnels, s.bad = tunnels, bad
	return s.draw()
}

// resized draws everything again for a terminal that has another size.
func (s *screen) resized() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame != "" && !s.dumb {
		_ = s.draw() // the next change tells
	}
}

// resumed draws everything again, below what others have written meanwhile.
func (s *screen) resumed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame != "" && !s.dumb {
		s.frame, s.rows = "", 0
		_ = s.draw()
	}
}

// Size of a terminal that does not tell, as terminals once were.
const (
	usualColumns = 80
	usualRows    = 24
)

// Control sequences, ECMA-48, and two modes of DEC's: without wrapping, a line takes one row whatever its characters are.
const (
	eraseToEndOfLine   = "\x1b[K"
	eraseToEndOfScreen = "\x1b[J"
	toTopOfScreen      = "\x1b[H"
	noWrapping         = "\x1b[?7l"
	wrapping           = "\x1b[?7h"
)

// draw writes it all at once, so that nothing flickers; the caller holds mu.
func (s *screen) draw() error {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = usualColumns, usualRows
	}
	lines := s.lines(width)
	if s.dumb {
		return s.append(lines)
	}
	lines = fit(lines, width, height-1)
	frame := strings.Join(lines, "\n")
	resized := s.rows >= height || s.columns > width
	if frame == s.frame && !resized {
		return nil
	}
	var b strings.Builder
	b.WriteString(noWrapping)
	switch {
	case resized: // nobody knows where the terminal has put the frame
		b.WriteString(toTopOfScreen + eraseToEndOfScreen)
	case s.rows > 0:
		fmt.Fprintf(&b, "\r\x1b[%dA", s.rows)
	}
	s.frame, s.rows, s.columns = frame, len(lines), 0
	for _, line := range lines {
		b.WriteString(line + eraseToEndOfLine + "\n")
		s.columns = max(s.columns, columns(line))
	}
	b.WriteString(eraseToEndOfScreen + wrapping)
	_, err = s.out.WriteString(b.String())
	return err
}

// append writes what there is below all that was, with the time.
func (s *screen) append(lines []string) error {
	frame := strings.Join(lines, "\n") + "\n"
	if frame == s.frame {
		return nil
	}
	between := "\n"
	if s.frame == "" {
		between = ""
	}
	s.frame = frame
	_, err := fmt.Fprintf(s.out, "%s%s\n%s", between, now().Format(time.TimeOnly), frame)
	return err
}

// close takes away what the terminal has shown of a key that was pressed, ^C above all.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frame != "" && !s.dumb {
		_, _ = s.out.WriteString("\r" + eraseToEndOfScreen)
	}
}

// lines are the table, and below what is wrong.
func (s *screen) lines(width int) []string {
	var lines []string
	switch {
	case len(s.tunnels) > 0:
		lines = tableWithin(s.tunnels, width)
	case s.all:
		lines = []string{"tunhook: " + noneConfigured}
	case s.asked != "":
		lines = []string{safe("tunhook: no tunnel for " + s.asked + " is running")}
	default:
		lines = []string{"tunhook: " + noneRuns}
	}
	for _, err := range s.bad {
		lines = append(lines, safe("tunhook: "+err.Error()+hint(err)))
	}
	return lines
}

// tableWithin gives the lines of the table. Where they are too wide, routes are cut before anything else is.
func tableWithin(tunnels []hook.Tunnel, width int) []string {
	const least = 12 // of a route, in columns
	longest := 0
	for _, t := range tunnels {
		longest = max(longest, columns(safe(t.Record.Route)))
	}
	var text bytes.Buffer
	_ = writeTable(&text, tunnels, longest) // memory takes all
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	widest := 0
	for _, line := range lines {
		widest = max(widest, columns(line))
	}
	if widest <= width || longest <= least {
		return lines
	}
	text.Reset()
	_ = writeTable(&text, tunnels, max(least, longest-(widest-width)))
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
}

// fit cuts lines to the size of a terminal.
func fit(lines []string, width, height int) []string {
	if height = max(height, 2); len(lines) > height {
		more := len(lines) - height + 1
		lines = append(lines[:height-1:height-1], fmt.Sprintf("… %d more lines", more))
	}
	for i, line := range lines {
		lines[i] = cut(line, width)
	}
	return lines
}
