package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
				if limit := 1500 * time.Millisecond; e.took > limit {
					t.Errorf("--notify %s: took %v", when, e.took)
				}
			}
			if e := a.do("start", route, a.address, "--notify", "always"); e.status != 0 || e.stderr != "" || e.took > time.Second {
				t.Errorf("start: %+v", e)
			}
		})
	}
}

func TestAFailureIsToldToTheDesktopOnce(t *testing.T) {
	t.Parallel()
	shown := make(chan string, 10)
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
	a := newAccount(t)
	a.install("pomerium-cli", filepath.Join(programDir(a.t), "pomerium-cli"))
	a.environ = append(append(a.environ, bus.Environ()...), "TUNNELTEST_EXIT=1 no \x1b[31mluck")
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
