package remmina

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestQuoteWritesPlainWordsPlainly(t *testing.T) {
	for _, tc := range []struct {
		argv []string
		want string
	}{
		{
			[]string{"/usr/bin/tunhook", "start", "desk.corp.example.com:3389", "127.83.12.9:3389", "--ready=rdp"},
			"/usr/bin/tunhook start desk.corp.example.com:3389 127.83.12.9:3389 --ready=rdp",
		},
		{[]string{"/opt/my tools/tunhook"}, "'/opt/my tools/tunhook'"},
		{[]string{"a", ""}, "a ''"},
		{[]string{"it's"}, `'it'\''s'`},
		{[]string{"50%h"}, "'50%''h'"},
		{[]string{"#no", "~", "$HOME", "a;b", `"`, `\`}, `'#no' '~' '$HOME' 'a;b' '"' '\'`},
		{[]string{"事務所"}, "'事務所'"},
	} {
		got, err := quote(tc.argv)
		if err != nil || got != tc.want {
			t.Errorf("quote(%q) = %q, %v; want %q", tc.argv, got, err, tc.want)
		}
	}
}

func TestQuoteRefusesWhatNoFieldCanHold(t *testing.T) {
	for name, argv := range map[string][]string{
		"no program": {}, "empty program": {"", "start"}, "NUL": {"tunhook", "a\x00b"}, "not UTF-8": {"tunhook", "caf\xe9"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := quote(argv)
			if refused := (*QuoteError)(nil); !errors.As(err, &refused) {
				t.Errorf("quote(%q) = %q, %v; want a QuoteError", argv, got, err)
			}
		})
	}
}

// argument draws arguments that are mostly made of what Remmina, GLib or a shell treat specially.
func argument() *rapid.Generator[string] {
	special := rapid.StringOfN(rapid.RuneFrom([]rune(`%hpugtUd'"\#$~;&|<>()[]{}*?!=sntr `+"`\t\n\r\v\fé事🖥")), 0, 20, -1)
	anything := rapid.Map(rapid.String(), func(s string) string { return strings.ReplaceAll(s, "\x00", "") })
	return rapid.OneOf(special, anything)
}

func TestRemminaRunsExactlyTheGivenArgv(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		program := argument().Filter(func(s string) bool { return s != "" }).Draw(t, "program")
		argv := append([]string{program}, rapid.SliceOfN(argument(), 0, 6).Draw(t, "arguments")...)
		values := map[string]string{}
		for _, key := range []string{"server", "ssh_tunnel_server", "username", "ssh_tunnel_username", "name", "group"} {
			values[key] = argument().Draw(t, key)
		}
		command, err := quote(argv)
		if err != nil {
			t.Fatal(err)
		}
		got, err := remminaRuns(escape(command), values)
		if err != nil {
			t.Fatalf("Remmina cannot parse %q: %v", command, err)
		}
		if diff := cmp.Diff(argv, got); diff != "" {
			t.Errorf("%q runs something else (-want +got):\n%s", command, diff)
		}
	})
}

func TestRemminaSavingACommandLeavesItAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := argument().Draw(t, "text")
		raw := escape(text)
		value, ok := modelGetString(raw)
		if !ok || value != text {
			t.Errorf("escape(%q) = %q, which Remmina reads as %q", text, raw, value)
		}
		if saved := modelSetString(value); saved != raw {
			t.Errorf("escape(%q) = %q, which Remmina saves as %q", text, raw, saved)
		}
		if unescape(raw) != text {
			t.Errorf("unescape(escape(%q)) = %q", text, unescape(raw))
		}
	})
}
