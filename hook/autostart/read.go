package autostart

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Read completes an entry of List with what its listener is started with: Args and Environ. ok is false where its file is not there, or
// does not say it in the form that Write gives it.
func (s Store) Read(e Entry) (whole Entry, ok bool) {
	var path, key string
	words := unitWords
	if path, key = filepath.Join(s.UnitDir(), e.Service()), "ExecStart=:"; e.By == ByDesktop {
		path, key, words = filepath.Join(s.DesktopDir(), e.Name()+desktopSuffix), "Exec=", execWords
	}
	text, err := readOwn(path)
	if err != nil {
		return e, false
	}
	var argv []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if command, is := strings.CutPrefix(line, key); is {
			if argv, ok = words(command); !ok {
				return e, false
			}
		}
		if variable, is := strings.CutPrefix(line, "Environment="); is {
			one, ok := unitWords(variable)
			if !ok || len(one) != 1 {
				return e, false
			}
			e.Environ = append(e.Environ, one[0])
		}
	}
	program := slices.Index(argv, e.Program)
	if program < 0 {
		return e, false
	}
	if e.By == ByDesktop && program > 0 {
		e.Environ = argv[1:program] // behind env
	}
	e.Args = argv[program+1:]
	return e, true
}

// Amiss gives the files of an entry that Read has completed which are not there, and those that are not as Write would make them.
func (s Store) Amiss(e Entry) (missing, changed []string) {
	for _, f := range s.files(e) {
		if _, err := os.Lstat(f.path); isNone(err) {
			missing = append(missing, f.path)
		} else if same, err := f.state(); err != nil || !same {
			changed = append(changed, f.path)
		}
	}
	return missing, changed
}

// unitWords undoes unitQuote, word by word.
func unitWords(text string) (words []string, ok bool) {
	for text != "" {
		if text[0] != '"' {
			return nil, false
		}
		var b strings.Builder
		i := 1
		for ; i < len(text) && text[i] != '"'; i++ {
			c := text[i]
			switch {
			case c == '%' && i+1 < len(text) && text[i+1] == '%':
				i++
			case c == '%' || c == '\\' && i+1 == len(text):
				return nil, false
			case c == '\\' && text[i+1] == 'x':
				n, err := strconv.ParseUint(text[min(i+2, len(text)):min(i+4, len(text))], 16, 8)
				if err != nil {
					return nil, false
				}
				c, i = byte(n), i+3
			case c == '\\':
				i++
				c = text[i]
			}
			b.WriteByte(c)
		}
		if i >= len(text) {
			return nil, false
		}
		words = append(words, b.String())
		text = strings.TrimPrefix(text[i+1:], " ")
	}
	return words, true
}

// execWords undoes stringValue and execQuote.
func execWords(text string) (words []string, ok bool) {
	text = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(text)
	for text != "" {
		var word string
		if text[0] == '"' {
			if word, text, ok = quoted(text[1:]); !ok {
				return nil, false
			}
		} else {
			word, text, _ = strings.Cut(text, " ")
			text = " " + text
		}
		words = append(words, strings.ReplaceAll(word, "%%", "%"))
		text = strings.TrimPrefix(text, " ")
	}
	return words, true
}

// quoted reads a word up to its closing quote.
func quoted(text string) (word, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], true
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}
