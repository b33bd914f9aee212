package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
)

// TestListedRouteOfAServer is the one that enabling takes: by the server's name or, where the server says nothing, by the profile's.
// Nothing is guessed: where two have the name, or the server itself is listed, it is as if nothing were listed.
func TestListedRouteOfAServer(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	lister := filepath.Join(d.dir, "bin", "lister")
	fakeProgram(t, lister, "#!/bin/sh\necho 'id1 Ada'; echo 'id2 twice'; echo 'id3 TWICE'; echo 'id4 My desk'; echo 'plain:3389 plain'; echo 'id5 plain'; echo 'other:80 web'\n")
	fakeProgram(t, filepath.Join(d.dir, "bin", "pomerium-cli"), "#!/bin/sh\n")
	config := filepath.Join(d.dir, "home", ".config", "tunhook")
	check(t, os.MkdirAll(config, 0o700))
	check(t, os.WriteFile(filepath.Join(config, "config.toml"), []byte(`
[provider.own]
routes = ["own://{id}[:{port}]"]
command = ["lister", "{id}", "{listen}"]
list = { command = ["lister"], match = '(?m)^(?P<id>id\d) (?P<name>.*)$', route = "own://{id}" }
[provider.plain]
routes = ["plain://{host}:{port}"]
command = ["lister", "{host}", "{port}", "{listen}"]
list = { command = ["lister"], match = '(?m)^(?P<host>plain|other):(?P<port>\d+) (?P<name>.*)$', route = "{host}:{port}" }
`), 0o600))
	for _, provider := range []string{"own", "plain"} {
		if e := d.do("routes", provider); e.status != 0 {
			t.Fatalf("%+v", e)
		}
	}
	for server, want := range map[string]string{
		"ada":              `own lists "Ada": the route is own://id1:3389; `,
		"ADA:3390":         "own://id1:3390",
		"twice":            "twice:3389",
		"plain":            "plain:3389",
		"web":              "web:3389", // what has that name is on another port
		"desk.example.com": "desk.example.com:3389",
		"127.0.0.1":        `own lists "My desk": the route is own://id4:3389`,
	} {
		d.profile(nativeProfiles, "desk.remmina", strings.Replace(deskProfile, "desk.example.com", server, 1))
		e := d.do("remmina", "enable", "--dry-run", "My desk")
		if said := e.stdout + e.stderr; e.status != 0 || !strings.Contains(said, want) || strings.Contains(said, "lists") != strings.Contains(want, "own") {
			t.Errorf("server %s: %+v, want %q", server, e, want)
		}
	}
	d.profile(nativeProfiles, "desk.remmina", strings.Replace(deskProfile, "desk.example.com", "127.0.0.1:3390\nprecommand=pomerium-cli tcp ada:3389 --listen :3390", 1))
	if e := d.do("remmina", "enable", "--dry-run", "My desk"); e.status != 0 || !strings.Contains(e.stdout, "ada:3389") || strings.Contains(e.stderr, "lists") {
		t.Errorf("a profile whose own command has the route: %+v", e)
	}
	d.profile(nativeProfiles, "desk.remmina", strings.NewReplacer("desk.example.com", "127.0.0.1", "My desk", "Nobody's").Replace(deskProfile))
	if e := d.do("remmina", "enable", "--dry-run", "Nobody's"); e.status != exitUsage || !strings.Contains(e.stderr, "name the route with --route") {
		t.Errorf("%+v", e)
	}
}

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
	if e := w.do("routes", "pomeriun"); e.status != exitUsage || !strings.Contains(e.stderr, "did you mean pomerium?") {
		t.Errorf("%+v", e)
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

// listing is a provider with a program that lists its routes.
func listing(name, program string) string {
	return "[provider." + name + "]\nroutes = [\"" + name + "://{host}\"]\ncommand = [\"x\", \"{host}\", \"{listen}\"]\n" +
		"list = { command = [\"" + program + "\"], match = '(?m)^(?P<host>\\S+)$', route = \"" + name + "://{host}\" }\n"
}

// TestOneGatewayThatFailsIsALine where others list their routes, with a hint, and without what else it has said.
func TestOneGatewayThatFailsIsALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bin := w.path("bin")
	check(t, os.MkdirAll(bin, 0o700))
	fails, lists := filepath.Join(bin, "fails"), filepath.Join(bin, "lists")
	fakeProgram(t, fails, "#!/bin/sh\necho E1126 memcache.go >&2; echo 'the gateway was refused' >&2; exit 1\n")
	fakeProgram(t, lists, "#!/bin/sh\necho desk\n")
	const line = "tunhook: afails: fails: the gateway was refused: run it by hand, or give it arguments behind --\n"
	for _, tc := range []struct {
		config string
		status int
		stdout string
	}{
		{listing("afails", fails) + listing("lists", lists), exitDone, "lists://desk"},
		{listing("afails", fails), exitFailed, ""},
	} {
		config := filepath.Join(w.configFiles(map[string]string{"config.toml": tc.config}), "config.toml")
		stdout, err := os.Create(w.path("stdout"))
		check(t, err)
		stderr, err := os.Create(w.path("stderr"))
		check(t, err)
		c := &command{ui: newUI(stdout, stderr), patience: time.Hour} // however slow the program is
		status := exitDone
		if err := c.allRoutes(t.Context(), &hook.Env{
			Config: func() *tunnel.Config { return tunnel.LoadConfig(config) }, LogDir: w.path("state", "log"), Environ: []string{"PATH=" + bin},
		}); err != nil {
			c.ui.failure(err)
			status = exitStatus(err, false)
		}
		check(t, errors.Join(stdout.Close(), stderr.Close()))
		listed, err := os.ReadFile(stdout.Name())
		check(t, err)
		said, err := os.ReadFile(stderr.Name())
		check(t, err)
		if status != tc.status || string(said) != line || !strings.Contains(string(listed), tc.stdout) {
			t.Errorf("%d, %q, %q", status, listed, said)
		}
	}
}

// TestWhatAGatewayAsksIsSeenWhileItWaits for whoever has to sign in.
func TestWhatAGatewayAsksIsSeenWhileItWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bin := w.path("bin")
	check(t, os.MkdirAll(bin, 0o700))
	lists, answer := filepath.Join(bin, "lists"), w.path("answer")
	fakeProgram(t, lists, "#!/bin/sh\necho 'sign in at https://x/' >&2\nuntil [ -e '"+answer+"' ]; do /bin/sleep 0.1; done\necho desk\n")
	w.configFiles(map[string]string{"config.toml": listing("lists", lists)})
	w = w.with("PATH=" + bin)
	cmd := w.command("routes")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewReader(stderr)
	first, err := lines.ReadString('\n')
	check(t, err)
	check(t, os.WriteFile(answer, nil, 0o600))
	rest, err := io.ReadAll(lines)
	check(t, err)
	check(t, cmd.Wait())
	if first != "sign in at https://x/\n" || len(rest) > 0 || !strings.Contains(stdout.String(), "lists://desk") {
		t.Errorf("%q, %q, %q", first, rest, stdout.String())
	}
}
