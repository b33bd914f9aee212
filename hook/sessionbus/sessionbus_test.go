package sessionbus_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/tunhook/tunhook/hook/sessionbus"
	"github.com/tunhook/tunhook/hook/sessionbus/bustest"
)

func TestNoBusIsStartedAndNoneBehindTheNetworkIsUsed(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	listen(t, filepath.Join(with, "bus"))
	if err := os.WriteFile(filepath.Join(without, "bus"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := "unix:path=" + dbus.EscapeBusAddressValue(filepath.Join(with, "bus"))
	for name, test := range map[string]struct {
		environ []string
		want    string
	}{
		"nothing":        {nil, ""},
		"the address":    {[]string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/x,guid=1"}, "unix:path=/x,guid=1"},
		"the last one":   {[]string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/x", "DBUS_SESSION_BUS_ADDRESS=unix:path=/y"}, "unix:path=/y"},
		"autolaunch":     {[]string{"DBUS_SESSION_BUS_ADDRESS=autolaunch:", "XDG_RUNTIME_DIR=" + with}, ""},
		"tcp":            {[]string{"DBUS_SESSION_BUS_ADDRESS=tcp:host=localhost,port=1"}, ""},
		"one of several": {[]string{"DBUS_SESSION_BUS_ADDRESS=tcp:host=localhost,port=1;unix:abstract=/z"}, "unix:abstract=/z"},
		"systemd's":      {[]string{"DBUS_SESSION_BUS_ADDRESS=", "XDG_RUNTIME_DIR=" + with}, socket},
		"not a socket":   {[]string{"XDG_RUNTIME_DIR=" + without}, ""},
		"relative":       {[]string{"XDG_RUNTIME_DIR=."}, ""},
	} {
		if got := sessionbus.Address(test.environ); got != test.want {
			t.Errorf("%s: address %q, want %q", name, got, test.want)
		}
	}
	if _, err := sessionbus.Dial(t.Context(), nil); !errors.Is(err, sessionbus.ErrNone) {
		t.Errorf("Dial without a bus: %v", err)
	}
}

func TestConnectionOutlivesTheContextOfItsDialling(t *testing.T) {
	bus := bustest.Start(t, func(*bustest.Bus, bustest.Call) ([]any, *dbus.Error) { return []any{"pong"}, nil })
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := sessionbus.Dial(ctx, bus.Environ())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	var answer string
	if err := conn.Object("com.example", "/").Call("com.example.Ping", 0).Store(&answer); err != nil || answer != "pong" {
		t.Errorf("answer %q, error %v", answer, err)
	}
}

func TestDiallingABusThatSaysNothingEndsWithTheContext(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	listen(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := sessionbus.Dial(ctx, []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + dbus.EscapeBusAddressValue(socket)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func listen(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}
