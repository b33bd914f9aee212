package tunnel

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Bounds of a tunnel's log, in bytes: what a start leaves as it is, how much it keeps of more than that (less, so that not every
// start has to cut again), and what one run can write.
const (
	fullLog = 256 << 10
	keptLog = fullLog / 2
	maxLog  = 64 << 20
)

// BeginLog makes a log, open to be read and appended to, ready for a tunnel program: it keeps no more than the last part of what is
// there, adds a line that says what begins, and tells where the program's own lines will begin.
func BeginLog(log *os.File, title string, now time.Time) (from int64, err error) {
	err = trim(log)
	if err == nil {
		_, err = fmt.Fprintf(log, "--- %s %s\n", now.Format(time.RFC3339), title)
	}
	if err == nil {
		from, err = log.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return 0, fmt.Errorf("writing log %s: %w", log.Name(), underlying(err))
	}
	return from, nil
}

// trim keeps the last keptLog bytes, from the beginning of a line on.
func trim(log *os.File) error {
	size, err := log.Seek(0, io.SeekEnd)
	if err != nil || size <= fullLog {
		return err
	}
	kept := make([]byte, keptLog)
	if _, err := log.ReadAt(kept, size-keptLog); err != nil {
		return err
	}
	if i := bytes.IndexByte(kept, '\n'); i >= 0 {
		kept = kept[i+1:]
	}
	if err := log.Truncate(0); err != nil {
		return err
	}
	_, err = log.Write(kept)
	return err
}

// LastLines gives the last n lines of the log from byte offset from on, made safe to show: see Printable.
func LastLines(log *os.File, from int64, n int) []string {
	lines := logLines(log, from)
	return printable(lines[max(0, len(lines)-n):])
}

// logLines gives the lines of the log from byte offset from on that hold anything to show, as far as they are among the last 64 KiB.
func logLines(log *os.File, from int64) []string {
	const most = 64 << 10
	if info, err := log.Stat(); err == nil {
		from = max(from, info.Size()-most)
	}
	if _, err := log.Seek(from, io.SeekStart); err != nil {
		return nil
	}
	var lines []string
	s := bufio.NewScanner(io.LimitReader(log, most))
	for s.Buffer(nil, most+1); s.Scan(); { // all of it may be one line
		if strings.TrimSpace(Plain(s.Text())) != "" {
			lines = append(lines, s.Text())
		}
	}
	return lines
}

// escape is what a terminal takes for a command: a control sequence, an operating system command, or a shorter one (ECMA-48,
// section 5).
//
// It is compiled when it is needed, as all of them are: each start would wait for it.
var escape = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]?|\\][^\a\x1b]*(?:\a|\x1b\\\\)?|[ -/]*[0-~]?)")
})

// Printable makes a line from outside safe to show on a terminal or a desktop: no escape sequences, no control or other
// unprintable characters, and of bounded length.
func Printable(line string) string {
	line = Plain(line)
	const most = 500
	if runes := []rune(line); len(runes) > most {
		line = string(runes[:most]) + "…"
	}
	return strings.TrimSpace(line)
}

// Plain takes away what is not printable, escape sequences above all; of spaces there is only one kind then.
func Plain(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', unicode.Is(unicode.Zs, r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, escape().ReplaceAllString(strings.ToValidUTF8(line, ""), ""))
}
