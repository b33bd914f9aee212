package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRoutesAreListedAndOffered by completion, which runs no program for it.
func TestRoutesAreListedAndOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ran, program := w.path("ran"), w.path("lister")
	fakeProgram(t, program, "#!/bin/sh\necho \"$*\" >>'"+ran+"'\necho 'sign in at https://x/' >&2\n[ \"$1\" = fail ] && exit 3\necho 'desk  Desk of Ada'\necho 'lab  -'\necho '$(reboot)  x'\n")
	w.configFiles(map[string]string{"config.toml": `
[provider.own]
routes = ["own://{host}"]
command = ["own", "{host}", "{listen}"]
list = { command = ["` + program + `", "{args}", "-v"], match = '(?m)^(?P<host>\S+)  (?P<name>.*)$', route = "own://{host}" }
[tunnel.name]
route = "own://desk"
`})
	if got := w.must("routes", "--cached"); got != "" {
		t.Errorf("nothing was listed, and %q is kept", got)
	}
	e := w.do("routes", "own", "--", "--where", "x")
	if want := "ROUTE       PROVIDER  NAME\nown://desk  own       Desk of Ada\nown://lab   own       -\n"; e.status != 0 || e.stdout != want || !strings.Contains(e.stderr, "sign in at https://x/") {
		t.Errorf("%+v, want %q", e, want)
	}
	if got := w.must("routes", "--cached"); got+"\n" != e.stdout {
		t.Errorf("kept is %q", got)
	}
	if got := w.tab("tunhook start own://"); !slices.Equal(got, []string{"//desk", "//lab"}) {
		t.Errorf("offered are %q", got)
	}
	if got := w.tab("tunhook remmina enable --route na"); !slices.Equal(got, []string{"name"}) {
		t.Errorf("offered are %q", got)
	}
	for line, want := range map[string][]string{
		"tunhook routes ":        {"boundary", "kubectl", "own", "pomerium", "tsh-app"}, // its own list is one
		"tunhook routes own ":    nil,
		"tunhook config o":       {"oci-bastion", "own"},
		"tunhook config na":      {"name"},
		"tunhook config name ":   nil,
		"tunhook config own://d": nil, // which has no table
	} {
		if got := w.tab(line); !slices.Equal(got, want) {
			t.Errorf("%q: offered are %q, want %q", line, got, want)
		}
	}
	if e := w.do("routes", "own", "--", "fail"); e.status != exitFailed || !strings.Contains(e.stderr, "own: lister fail -v: exit status 3") {
		t.Errorf("%+v", e)
	}
	if got := w.must("routes", "--cached", "own"); !strings.Contains(got, "own://lab") {
		t.Errorf("after a failure %q is kept", got)
	}
	text, err := os.ReadFile(ran)
	check(t, err)
	if string(text) != "--where x -v\nfail -v\n" {
		t.Errorf("it was run with %q", text)
	}
	for _, args := range [][]string{{"routes", "nope"}, {"routes", "relay"}, {"routes", "own", "x"}, {"routes", "--", "x"}} {
		if e := w.do(args...); e.status != exitUsage {
			t.Errorf("%q: %+v", args, e)
		}
	}
	kept, _ := filepath.Glob(filepath.Join(w.path("home"), ".local/state/tunhook/routes/*"))
	for _, path := range kept {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if len(kept) != 1 {
		t.Errorf("kept: %q", kept)
	}
}
