package tunnel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var logTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// beginLog opens a log, as the callers of this package do.
func beginLog(path, title string) (log *os.File, from int64, err error) {
	log, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		from, err = BeginLog(log, title, logTime)
	}
	return log, from, err
}

func lastLines(t *testing.T, path string, from int64, n int) []string {
	t.Helper()
	log, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	return LastLines(log, from, n)
}

func TestLogIsPrivateAndAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var from []int64
	for i := range 2 {
		log, at, err := beginLog(path, fmt.Sprintf("run %d", i))
		if err != nil {
			t.Fatal(err)
		}
		from = append(from, at)
		fmt.Fprintf(log, "line of %d\n", i)
		log.Close()
	}
	want := "--- 2026-03-01T12:00:00Z run 0\nline of 0\n--- 2026-03-01T12:00:00Z run 1\nline of 1\n"
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("log %q, %v; want %q", got, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("log is %v, %v", info.Mode(), err)
	}
	if got := lastLines(t, path, from[1], 5); !slices.Equal(got, []string{"line of 1"}) {
		t.Errorf("the second run's lines: %q", got)
	}
	if got := lastLines(t, path, 0, 2); !slices.Equal(got, []string{"--- 2026-03-01T12:00:00Z run 1", "line of 1"}) {
		t.Errorf("the last two lines: %q", got)
	}
}

func TestLogIsTrimmedToItsLastLines(t *testing.T) {
	for _, size := range []int{fullLog - 100, fullLog, fullLog + 1, 3 * fullLog} {
		path := filepath.Join(t.TempDir(), "log")
		var text strings.Builder
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, "line %06d\n", i)
		}
		before := text.String()[:size-1] + "\n"
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		log, from, err := beginLog(path, "next")
		if err != nil {
			t.Fatal(err)
		}
		log.Close()
		got, err := os.ReadFile(path)
		if err != nil || int64(len(got)) != from {
			t.Fatalf("%d bytes, begins at %d, %v", len(got), from, err)
		}
		kept, ok := strings.CutSuffix(string(got), "--- 2026-03-01T12:00:00Z next\n")
		switch {
		case !ok || !strings.HasSuffix(before, kept):
			t.Errorf("size %d: the log does not end as it did", size)
		case size <= fullLog && kept != before:
			t.Errorf("size %d: %d bytes lost", size, size-len(kept))
		case size > fullLog && (len(kept) > keptLog || len(kept) < keptLog-100 || !strings.HasPrefix(kept, "line ")):
			t.Errorf("size %d: kept %d bytes from %.20q on", size, len(kept), kept)
		}
	}
}

func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 200<<10)
	for name, tc := range map[string]struct {
		text string
		from int64
		n    int
		want []string
	}{
		"fewer than asked for":     {"a\nb\n", 0, 5, []string{"a", "b"}},
		"the last ones":            {"a\nb\nc\n", 0, 2, []string{"b", "c"}},
		"from an offset":           {"a\nb\nc\n", 2, 5, []string{"b", "c"}},
		"without a line's end":     {"a\nb", 0, 5, []string{"a", "b"}},
		"empty lines":              {"a\n\n\x1b[0m\n \nb\n", 0, 5, []string{"a", "b"}},
		"nothing":                  {"", 0, 5, []string{}},
		"nothing since":            {"a\n", 2, 5, []string{}},
		"an offset behind the end": {"a\n", 99, 5, []string{}},
		"carriage returns":         {"a\r\nb\r\n", 0, 5, []string{"a", "b"}},
		"behind a long line":       {long + "\nb\n", 0, 1, []string{"b"}},
		"a long line":              {"a\n" + long + "\n", 0, 1, []string{long[:500] + "…"}},
		"an endless line":          {"a\n" + long, 0, 1, []string{long[:500] + "…"}},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLines(t, path, tc.from, tc.n); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %.80q, want %.80q", name, got, tc.want)
		}
	}
}

func TestPrintableStripsWhatATerminalWouldObey(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                                    "plain",
		"größer 日本語":                               "größer 日本語",
		"  spaces\t and tabs ":                     "spaces  and tabs",
		"\x1b[31mred\x1b[0m":                       "red",
		"\x1b[1;38;5;196mred\x1b[m":                "red",
		"\x1b]0;title\x07text":                     "text",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"\x1b[2J\x1b[Hgone":                        "gone",
		"\x1b[?25lhidden":                          "hidden",
		"\x1bcreset":                               "reset",
		"\x9b31mred":                               "31mred", // a lone byte is no character
		"\u009b31mred":                             "31mred",
		"bell\a back\b\b":                          "bell back",
		"a\x00b\rc":                                "abc",
		"right\u202eleft":                          "rightleft",
		"bad \xff\xfe bytes":                       "bad  bytes",
		"ends in \x1b":                             "ends in",
		"ends in \x1b[3":                           "ends in",
		"ends in \x1b]0;ti":                        "ends in",
		"":                                         "",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestPrintableProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := string(rapid.SliceOf(rapid.Byte()).Draw(t, "line")) + rapid.String().Draw(t, "more")
		got := Printable(line)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 501 || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Fatalf("%q: %q", line, got)
		}
		if Printable(got) != got && utf8.RuneCountInString(got) <= 500 {
			t.Fatalf("%q: %q, and again %q", line, got, Printable(got))
		}
	})
}
