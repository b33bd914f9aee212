package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/tunhook/tunhook/hook/sessionbus/bustest"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// hungBus is a socket that takes connections and says nothing.
func hungBus(t *testing.T) (environ []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + dbus.EscapeBusAddressValue(path)}
}

func TestNotificationsNeitherFailNorDelayAnything(t *testing.T) {
	t.Parallel()
	route := relayTo(t, tunneltest.ResponderOptions{})
	for name, bus := range map[string][]string{
		"no bus":         nil,
		"no such socket": {"DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent/bus"},
		"no address":     {"DBUS_SESSION_BUS_ADDRESS=nonsense"},
		"hung bus":       hungBus(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			a.environ = append(a.environ, bus...)
			for _, when := range []string{"always", "auto", "never"} {
				e := a.do("start", "desk.example.com:3389", a.address, "--notify", when)
				if e.status != exitNoProgram || strings.Count(e.stderr, "\n") != 1 || !strings.Contains(e.stderr, "pomerium-cli was not found on PATH") {
					t.Errorf("--notify %s: %+v", when, e)
				}
				if e.took > tunneltest.Patience { // without a bound of our own it would be for ever
					t.Errorf("--notify %s: took %v", when, e.took)
				}
			}
			e := a.do("start", route, a.address, "--notify", "always")
			if e.status != 0 || e.stderr != "" || e.took > tunneltest.Patience {
				t.Errorf("start: %+v", e)
			}
		})
	}
}

// desktop is a session bus with a notification server; what that shows, summary and body, comes through shown.
func desktop(t *testing.T) (environ []string, shown chan string) {
	t.Helper()
	shown = make(chan string, 10)
	bus := bustest.Start(t, func(_ *bustest.Bus, c bustest.Call) ([]any, *dbus.Error) {
		switch {
		case strings.HasSuffix(c.Method, ".GetCapabilities"):
			return []any{[]string{"body"}}, nil
		case strings.HasSuffix(c.Method, ".Notify"):
			shown <- c.Args[3].(string) + "\n" + c.Args[4].(string)
			return []any{uint32(1)}, nil
		}
		return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", nil)
	})
	return bus.Environ(), shown
}

func TestAFailureIsToldToTheDesktopOnce(t *testing.T) {
	t.Parallel()
	bus, shown := desktop(t)
	a := newAccount(t)
	a.install("pomerium-cli", filepath.Join(programDir(a.t), "pomerium-cli"))
	a.environ = append(append(a.environ, bus...), "TUNNELTEST_EXIT=1 no \x1b[31mluck")
	expect := func(words ...string) {
		t.Helper()
		select {
		case text := <-shown:
			for _, word := range words {
				if !strings.Contains(text, word) || strings.Contains(text, "\x1b") {
					t.Errorf("the desktop shows %q, want %q", text, word)
				}
			}
		default:
			t.Errorf("the desktop shows nothing, want %q", words)
		}
	}
	a.refused(exitFailed, "luck", "start", "desk.example.com:3389", a.address)
	expect("desk.example.com:3389", "luck")
	a.refused(exitUsage, "--redy", "start", "--redy", "rdp", "desk.example.com:3389", a.address)
	expect("unknown flag --redy")
	a.refused(exitUsage, "sometimes", "start", "desk.example.com:3389", a.address, "--notify", "sometimes")
	expect("--notify", "sometimes")
	a.refused(exitUsage, "--redy", "start", "--redy", "rdp", "desk.example.com:3389", a.address, "--notify", "never")
	a.refused(exitUsage, "--redy", "start", "--redy", "rdp", "--notify=never", "desk.example.com:3389", a.address)
	a.refused(exitFailed, "luck", "start", "desk.example.com:3389", a.address, "--notify", "never")
	if len(shown) > 0 {
		t.Errorf("the desktop shows %q", <-shown)
	}
}

// TestAMissingClientIsToldAsThat, and not as a tunnel that could not be started.
func TestAMissingClientIsToldAsThat(t *testing.T) {
	t.Parallel()
	bus, shown := desktop(t)
	a := newAccount(t)
	a.environ = append(a.environ, bus...)
	plain := filepath.Join(a.dir, "plain")
	check(t, os.WriteFile(plain, nil, 0o600))
	for client, want := range map[string]struct {
		status  int
		summary string
	}{
		"sdl-freerdp": {exitClientNotFound, "sdl-freerdp is not installed\n"},
		plain:         {exitClientNotRun, plain + " cannot be started\n"},
	} {
		a.refused(want.status, "client "+client, "run", "desk.example.com:3389", a.address, "--", client)
		select {
		case text := <-shown:
			if !strings.HasPrefix(text, want.summary) || !strings.Contains(text, "client "+client) {
				t.Errorf("the desktop shows %q, want %q", text, want.summary)
			}
		default:
			t.Errorf("%s: the desktop shows nothing", client)
		}
	}
}

// TestNoPasswordIsShown: a notification is on the screen for all who can see it, and so may be what a command prints.
func TestNoPasswordIsShown(t *testing.T) {
	t.Parallel()
	bus, shown := desktop(t)
	a := newAccount(t)
	a.install("pomerium-cli", filepath.Join(programDir(a.t), "pomerium-cli"))
	config := filepath.Join(a.dir, "home", ".config", "tunhook")
	check(t, os.MkdirAll(config, 0o700))
	check(t, os.WriteFile(filepath.Join(config, "config.toml"), []byte(`[provider.own]
routes = ["own://{user}:{password}@{host}:{port}"]
command = ["pomerium-cli", "{host}"]
`), 0o600))
	const route = "ssh://me:S3cret@gate/desk:3389"
	a.environ = append(append(a.environ, bus...), "TUNNELTEST_EXIT=1 no way through "+route)
	for _, args := range [][]string{
		{route},
		{"desk:3389", route},
		{"desk:3389", a.address, route},
		{"desk:3389", a.address, "--ready", route},
		{"own://me:S3cret@desk:3389", a.address},
		{"desk:3389", a.address}, // its log has the password
	} {
		e := a.do(append([]string{"start", "--notify", "always"}, args...)...)
		said, _, _ := strings.Cut(e.stderr, "\n    ") // behind that come lines of the log, as they are
		if e.status == 0 || strings.Contains(said, "S3cret") {
			t.Errorf("start %q: %+v", args, e)
		}
		select {
		case text := <-shown:
			if strings.Contains(text, "S3cret") {
				t.Errorf("start %q: the desktop shows %q", args, text)
			}
		default:
			t.Errorf("start %q: the desktop shows nothing", args)
		}
	}
	if e := a.do(route); e.status != exitUsage || strings.Contains(e.stderr, "S3cret") {
		t.Errorf("a command of that name: %+v", e)
	}
}
