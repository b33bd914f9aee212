package remmina

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// profileGroup is the only group that Remmina reads.
const profileGroup = "remmina"

// blanks is what GLib's g_ascii_isspace takes for a blank; a vertical tab is none.
const blanks = " \t\n\r\f"

// keyFile is a GLib key file, cut into lines so that joining them gives back the very bytes.
// https://docs.gtk.org/glib/struct.KeyFile.html describes the form.
type keyFile struct {
	lines []line
	bad   int // number of the first line that GLib refuses, counted from 1; 0 where it takes them all
}

// line is one line of a key file.
type line struct {
	head  string // what stands before the value; all of it where the line holds no key
	value string // as written, escapes and all
	end   string // "\n", "\r\n", or nothing on an unfinished last line
	group string // the group that the line belongs to, or opens
	key   string // "" where the line holds no key
}

// setting is a key and its value as it is to be written.
type setting struct{ key, value string }

// parseKeyFile never fails: a file that GLib would not load keeps its bytes too, and says so in err.
func parseKeyFile(data string) *keyFile {
	f := &keyFile{}
	group, first := "", ""
	for text := range strings.Lines(data) {
		l, ok := parseLine(text, group)
		group = l.group
		if first == "" {
			first = group
		}
		f.lines = append(f.lines, l)
		// GLib takes no other encoding, and looks for it in the first group only.
		if l.key == "Encoding" && group == first && !strings.EqualFold(l.value, "UTF-8") {
			ok = false
		}
		if !ok && f.bad == 0 {
			f.bad = len(f.lines)
		}
	}
	return f
}

// parseLine cuts one line, which stands in group; ok tells whether GLib takes it.
func parseLine(text, group string) (l line, ok bool) {
	body, end := cutEnd(text)
	l = line{head: body, end: end, group: group}
	start := strings.TrimLeft(body, blanks)
	switch {
	case strings.ContainsRune(body, 0):
		return l, false
	case start == "" || start[0] == '#':
		return l, true
	case start[0] == '[':
		name, rest, closed := strings.Cut(start[1:], "]")
		if !closed || strings.Trim(rest, " \t") != "" || !validGroup(name) {
			return l, false
		}
		l.group = name
		return l, true
	}
	left, right, found := strings.Cut(body, "=")
	key := strings.Trim(left, blanks)
	if !found || group == "" || !validKey(key) {
		return l, false
	}
	l.key = key
	l.value = strings.TrimLeft(right, blanks)
	l.head = body[:len(body)-len(l.value)]
	return l, true
}

// cutEnd parts a line from its ending. A carriage return belongs to the ending only before a newline.
func cutEnd(text string) (body, end string) {
	for _, end := range []string{"\r\n", "\n"} {
		if body, found := strings.CutSuffix(text, end); found {
			return body, end
		}
	}
	return text, ""
}

// validGroup follows g_key_file_is_group_name.
func validGroup(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '[' || r == ']' || r < ' ' || r == 0x7f
	})
}

// validKey follows g_key_file_is_key_name: a name, and a locale in brackets where it is a translation.
func validKey(key string) bool {
	name, locale, translated := strings.Cut(key, "[")
	if name == "" || strings.ContainsRune(name, ']') || strings.HasSuffix(name, " ") {
		return false
	}
	if !translated {
		return true
	}
	locale, closed := strings.CutSuffix(locale, "]")
	return closed && !strings.ContainsFunc(locale, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune("-_.@", r)
	})
}

// err tells why Remmina would not load the file as a profile, or nil where it would.
func (f *keyFile) err() error {
	if f.bad != 0 {
		return fmt.Errorf("line %d is neither a comment, a [group] nor a KEY=VALUE that Remmina can read", f.bad)
	}
	if f.header() < 0 {
		return fmt.Errorf("it has no [%s] group", profileGroup)
	}
	if _, found := f.raw("name"); !found {
		return fmt.Errorf("its [%s] group has no name=", profileGroup)
	}
	return nil
}

func (f *keyFile) String() string {
	var b strings.Builder
	for _, l := range f.lines {
		b.WriteString(l.head + l.value + l.end)
	}
	return b.String()
}

// header is the index of the first [remmina] line, or -1.
func (f *keyFile) header() int {
	return slices.IndexFunc(f.lines, func(l line) bool { return l.key == "" && l.group == profileGroup })
}

// index is that of the line that counts for a key of the profile, or -1: of several, GLib takes the last.
func (f *keyFile) index(key string) int {
	for i, l := range slices.Backward(f.lines) {
		if l.group == profileGroup && l.key == key {
			return i
		}
	}
	return -1
}

// raw returns a value as it is written in the file.
func (f *keyFile) raw(key string) (value string, found bool) {
	i := f.index(key)
	if i < 0 {
		return "", false
	}
	return f.lines[i].value, true
}

// text returns a value as Remmina reads it: "" where the key is absent, too.
func (f *keyFile) text(key string) string {
	raw, _ := f.raw(key)
	return unescape(raw)
}

// set replaces the value of a key that is there, and nothing else of its line.
func (f *keyFile) set(key, raw string) { f.lines[f.index(key)].value = raw }

// remove takes out the line that counts for a key, where there is one.
func (f *keyFile) remove(key string) {
	if i := f.index(key); i >= 0 {
		f.lines = slices.Delete(f.lines, i, i+1)
	}
}

// insert puts settings right below the [remmina] line: the one place where a line can be put in, and taken out
// again, without a thought for an unfinished last line.
func (f *keyFile) insert(settings []setting) {
	at := f.header()
	lines := make([]line, len(settings))
	for i, s := range settings {
		lines[i] = line{head: s.key + "=", value: s.value, end: f.lines[at].end, group: profileGroup, key: s.key}
	}
	f.lines = slices.Insert(f.lines, at+1, lines...)
}

// unescape reads a value as g_key_file_get_string does: an unknown escape stays as it is, an unfinished one is
// dropped, and Remmina takes what is not UTF-8 for empty.
func unescape(raw string) string {
	if !utf8.ValidString(raw) {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		if i++; i == len(raw) {
			break
		}
		switch raw[i] {
		case 's':
			b.WriteByte(' ')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '\\':
			b.WriteByte('\\')
		default:
			b.WriteString(raw[i-1 : i+1])
		}
	}
	return b.String()
}

// escape writes a value as g_key_file_set_string does, so that Remmina's own saving leaves it as it is: blanks
// are escaped where they lead.
func escape(text string) string {
	rest := strings.TrimLeft(text, " \t")
	lead := strings.NewReplacer(" ", `\s`, "\t", `\t`).Replace(text[:len(text)-len(rest)])
	return lead + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(rest)
}
