package tunnel

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestOnlyBrowsersThatAreThereAreLinked, since programs take the first opener that they find.
func TestOnlyBrowsersThatAreThereAreLinked(t *testing.T) {
	t.Parallel()
	dir, bin := t.TempDir(), t.TempDir()
	install := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	links := func(tunhook string) []string {
		t.Helper()
		if err := LinkBrowserOpeners(dir, tunhook, "relative:"+bin); err != nil {
			t.Fatal(err)
		}
		var names []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if target, err := os.Readlink(filepath.Join(dir, e.Name())); err != nil || target != tunhook {
				t.Errorf("%s leads to %q, %v; want %s", e.Name(), target, err, tunhook)
			}
			names = append(names, e.Name())
		}
		return names
	}
	install("xdg-open")
	if got, want := links("/usr/bin/tunhook"), []string{"tunhook", "xdg-open"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	install("firefox")
	if got, want := links("/usr/bin/tunhook"), []string{"firefox", "tunhook", "xdg-open"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := os.Remove(filepath.Join(bin, "firefox")); err != nil {
		t.Fatal(err)
	}
	if got, want := links("/opt/tunhook"), []string{"tunhook", "xdg-open"}; !slices.Equal(got, want) {
		t.Errorf("tunhook has moved: %q, want %q", got, want)
	}
}

// TestOpensByName only where nothing says that another program may open the page.
func TestOpensByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program, script := write("program", "\x7fELF"), write("script", "#!/bin/sh\n")
	config := LoadConfig(filepath.Join(dir, "none"))
	named := func(name string) *Provider {
		t.Helper()
		p, err := config.provider(name)
		if err != nil || p == nil {
			t.Fatal(name, err)
		}
		return p
	}
	pomerium, unknown := named("pomerium"), &Provider{Command: []any{"program"}}
	for name, tc := range map[string]struct {
		provider *Provider
		argv     []string
		want     bool
	}{
		"as it is":            {pomerium, []string{program, "tcp", "a:1"}, true},
		"a browser on PATH":   {pomerium, []string{program, "--browser-cmd", "firefox", "a:1"}, true},
		"likewise, one word":  {pomerium, []string{program, "--browser-cmd=xdg-open"}, true},
		"the usual one":       {pomerium, []string{program, "--browser-cmd="}, true},
		"a path":              {pomerium, []string{program, "--browser-cmd", "/usr/bin/firefox"}, false},
		"another command":     {pomerium, []string{program, "a:1", "--browser-cmd=true"}, false},
		"the last one counts": {pomerium, []string{program, "--browser-cmd=firefox", "--browser-cmd", "mine"}, false},
		"a script":            {pomerium, []string{script, "tcp", "a:1"}, false},
		"not there":           {pomerium, []string{filepath.Join(dir, "gone"), "tcp"}, false},
		"no such option":      {named("cloudflared"), []string{program, "--browser-cmd", "mine"}, true},
		"not known":           {unknown, []string{program}, false},
	} {
		if got := tc.provider.OpensByName(tc.argv); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
