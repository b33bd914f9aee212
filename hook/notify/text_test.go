package notify

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOnlyTextReachesTheScreen(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\nline":          "plain text\nline",
		"\x1b]0;title\x07\r\x00\x7f": "]0;title",
		"\u0085\u009bx":              "x",
		"gro\u00dfe \u65e5\u672c":    "gro\u00dfe \u65e5\u672c",
		"bad \xff byte":              "bad \uFFFD byte",
		"\u202egnp.exe\u2066":        "gnp.exe",
		"  padded \n":                "padded",
		"":                           "",
	} {
		if got := clip(in, 100); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	got := clip(strings.Repeat("ä", 5000), maxBody)
	if n := utf8.RuneCountInString(got); n != maxBody || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d characters ending in %q", n, got[len(got)-8:])
	}
	if got := clip(strings.Repeat("ä", maxBody), maxBody); strings.HasSuffix(got, "…") {
		t.Error("text that fits was cut")
	}
}

func TestMarkupIsText(t *testing.T) {
	if got, want := escape(`<a href="x">&lt;`), `&lt;a href="x"&gt;&amp;lt;`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOnlyWebAddressesAreOpened(t *testing.T) {
	for address, want := range map[string]bool{
		"https://login.example.com/?a=1&b=%20": true,
		"http://127.0.0.1:8080/":               true,
		"HTTPS://login.example.com":            true,
		"file:///etc/passwd":                   false,
		"javascript:alert(1)":                  false,
		"ssh://host":                           false,
		"https:///nohost":                      false,
		"--help":                               false,
		"":                                     false,
		"https://a.example/\x1b":               false,
		"https://a.example/\nfile:///x":        false,
		"https://a.example/\u202e":             false,
		"https://a.example/?q=" + strings.Repeat("a", maxURL-21): true,
		"https://a.example/?q=" + strings.Repeat("a", maxURL-20): false,
	} {
		if got := webAddress(address); got != want {
			t.Errorf("webAddress(%.40q) = %v", address, got)
		}
	}
}
