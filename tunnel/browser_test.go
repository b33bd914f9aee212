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
