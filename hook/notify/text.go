package notify

import (
	"strings"
	"unicode"
)

// Lengths in characters. Servers cut what does not fit the screen, each as it likes; these keep the worst away from them.
const (
	maxSummary = 120
	maxBody    = 1200
)

// clip makes s fit to be shown: valid UTF-8 (a bus drops clients that send anything else), no control characters but "\n", none
// that turn the direction of writing around, and at most limit characters.
func clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if r := []rune(strings.TrimSpace(s)); len(r) > limit {
		return string(r[:max(0, limit-1)]) + "…"
	}
	return strings.TrimSpace(s)
}

// line is clip for what must stay on one line.
func line(s string, limit int) string {
	return clip(strings.ReplaceAll(s, "\n", " "), limit)
}

// escape makes text of s where a server reads markup, Desktop Notifications Specification, "Markup".
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
