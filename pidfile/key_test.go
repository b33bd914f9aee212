package pidfile

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyNameIsReadable(t *testing.T) {
	for _, tc := range []struct {
		key  Key
		slug string
	}{
		{Key{"desk.corp.example.com:3389", "127.0.0.1:3389"}, "desk.corp.example.com-3389-127.0.0.1-3389-"},
		{Key{"ssh://me@gate/desk:3389", "auto"}, "ssh-me-gate-desk-3389-auto-"},
		{Key{"relay://[::1]:3389", "[::1]:3389"}, "relay-1-3389-1-3389-"},
		{Key{"work", "auto"}, "work-auto-"},
	} {
		if name := tc.key.Name(); !strings.HasPrefix(name, tc.slug) || len(name) != len(tc.slug)+2*hashSize {
			t.Errorf("%v: name %q, want %q and a hash", tc.key, name, tc.slug)
		}
	}
}

func TestKeyNameNeverBecomesAPath(t *testing.T) {
	hostile := []string{
		"", ".", "..", "/", "../../etc/passwd", "/etc/passwd", "a/../../b", `..\..\b`, "~root", "-rf", "--all", ".hidden", "...",
		"a\x00b", "a\nb", "a b", "$(reboot)", "`reboot`", "*", "?", "%s", "日本語", "\xff\xfe", "\u202e", "CON:3389",
		strings.Repeat(".-", 100), strings.Repeat("a", 10_000), strings.Repeat("/", 300), strings.Repeat("ü", 300),
	}
	names := map[string]Key{}
	for _, route := range hostile {
		for _, listen := range hostile {
			key := Key{route, listen}
			name := key.Name()
			checkName(t, key, name)
			if other, ok := names[name]; ok {
				t.Errorf("%q and %q share the name %s", key, other, name)
			}
			names[name] = key
		}
	}
}

func TestKeyNameProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genKey(t, "a"), genKey(t, "b")
		checkName(t, a, a.Name())
		if (a == b) != (a.Name() == b.Name()) {
			t.Fatalf("%q and %q: names %s and %s", a, b, a.Name(), b.Name())
		}
		if prefix := slug(a.Route); !strings.HasPrefix(a.Name(), prefix) { // what ListRoute relies on
			t.Fatalf("%q: name %s does not begin with %s", a, a.Name(), prefix)
		}
	})
}

func genKey(t *rapid.T, label string) Key {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[-._/:a-zA-Z0-9@\[\]]{0,80}`))
	return Key{text.Draw(t, label+" route"), text.Draw(t, label+" listen")}
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

func checkName(t interface{ Errorf(string, ...any) }, key Key, name string) {
	switch {
	case !plainName.MatchString(name):
		t.Errorf("%q: name %q begins with '.' or '-', or holds other characters than letters, digits and . _ -", key, name)
	case filepath.Base(name) != name || !filepath.IsLocal(name):
		t.Errorf("%q: name %q is a path", key, name)
	case len(name) > 100:
		t.Errorf("%q: name %q has %d bytes", key, name, len(name))
	}
}
