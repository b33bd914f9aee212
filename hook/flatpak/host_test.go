package flatpak

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/tunhook/tunhook/hook/sessionbus"
	"github.com/tunhook/tunhook/hook/sessionbus/bustest"
)

const (
	hostPID = uint32(4242)
	owned   = "org.freedesktop.DBus.NameOwnerChanged"
	busPath = dbus.ObjectPath("/org/freedesktop/DBus")
)

var remmina = Sandbox{AppID: "org.remmina.Remmina"}

// helper is a flatpak-session-helper.
type helper struct {
	*bustest.Bus
	signals chan []any // the arguments of HostCommandSignal
}

// startHelper starts a helper; run stands for the programs that it starts.
func startHelper(t *testing.T, run func(*bustest.Bus, bustest.Call) *dbus.Error) *helper {
	h := &helper{signals: make(chan []any, 10)}
	h.Bus = bustest.Start(t, func(b *bustest.Bus, c bustest.Call) ([]any, *dbus.Error) {
		switch c.Method {
		case development + ".HostCommand":
			defer closeAll(c)
			if failure := run(b, c); failure != nil {
				return nil, failure
			}
			return []any{hostPID}, nil
		case development + ".HostCommandSignal":
			h.signals <- c.Args
			return nil, nil
		case "org.freedesktop.DBus.Properties.Get":
			return []any{dbus.MakeVariant(uint32(1))}, nil
		}
		return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", nil)
	})
	return h
}

func exit(b *bustest.Bus, pid, raw uint32) {
	b.Emit(object, development+".HostCommandExited", pid, raw)
}

func closeAll(c bustest.Call) {
	for _, fd := range c.FDs {
		syscall.Close(fd)
	}
}

// command is a Command with streams of its own.
func command(t *testing.T, argv ...string) Command {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return Command{Argv: argv, Stdin: null, Stdout: null, Stderr: null}
}

func TestProgramGetsItsArgumentsEnvironmentAndStreams(t *testing.T) {
	var got []any
	h := startHelper(t, func(b *bustest.Bus, c bustest.Call) *dbus.Error {
		got = c.Args
		fds := c.Args[2].(map[uint32]dbus.UnixFDIndex)
		for fd, text := range map[uint32]string{1: "to stdout", 2: "to stderr"} {
			if _, err := syscall.Write(c.FDs[fds[fd]], []byte(text)); err != nil {
				t.Error(err)
			}
		}
		exit(b, hostPID, 0)
		return nil
	})
	c := command(t, "/usr/bin/tunhook", "start", "a b")
	c.Env = []string{"EXTRA=1", "LANG=C"}
	readOut, out, _ := os.Pipe()
	readErr, errs, _ := os.Pipe()
	c.Stdout, c.Stderr = out, errs
	status, err := remmina.Run(t.Context(), append(h.Environ(), "LANG=de", "PATH=/app/bin"), c)
	if status != 0 || err != nil {
		t.Fatalf("status %d, error %v", status, err)
	}
	out.Close()
	errs.Close()
	for want, r := range map[string]io.Reader{"to stdout": readOut, "to stderr": readErr} {
		if text, _ := io.ReadAll(r); string(text) != want {
			t.Errorf("read %q, want %q", text, want)
		}
	}
	got[2] = len(got[2].(map[uint32]dbus.UnixFDIndex))
	want := []any{
		[]byte("/\x00"),
		[][]byte{[]byte("/usr/bin/tunhook\x00"), []byte("start\x00"), []byte("a b\x00")},
		3,
		map[string]string{"LANG": "C", "EXTRA": "1"},
		uint32(0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExitStatusIsTheProgramsOwn(t *testing.T) {
	for raw, want := range map[uint32]int{0: 0, 1792: 7, 9: 137, 15: 143, 0x80 | 11: 139, 255 << 8: 255} {
		h := startHelper(t, func(b *bustest.Bus, _ bustest.Call) *dbus.Error {
			exit(b, hostPID+1, 99<<8)                                                             // another program's
			b.EmitFrom(":1.66", object, development+".HostCommandExited", hostPID, uint32(98<<8)) // said by somebody else
			b.EmitFrom(":1.66", busPath, owned, service, ":1.7", "")
			exit(b, hostPID, raw) // before the pid is known to the caller
			return nil
		})
		if status, err := remmina.Run(t.Context(), h.Environ(), command(t, "x")); status != want || err != nil {
			t.Errorf("raw status %d: %d, error %v, want %d", raw, status, err, want)
		}
	}
}

func TestSignalsReachTheProgram(t *testing.T) {
	h := startHelper(t, func(*bustest.Bus, bustest.Call) *dbus.Error { return nil })
	signals := make(chan os.Signal, 3)
	c := command(t, "x")
	c.Signals = signals
	type result struct {
		status int
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		status, err := remmina.Run(t.Context(), h.Environ(), c)
		ended <- result{status, err}
	}()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGWINCH, syscall.SIGCONT} {
		signals <- sig
		toGroup := sig == syscall.SIGINT
		if diff := cmp.Diff([]any{hostPID, uint32(sig), toGroup}, receive(t, h.signals)); diff != "" {
			t.Error(diff)
		}
	}
	exit(h.Bus, hostPID, uint32(syscall.SIGTERM))
	if got := receive(t, ended); got != (result{143, nil}) {
		t.Errorf("got %+v", got)
	}
}

func TestMissingPermissionNamesTheOverride(t *testing.T) {
	for _, name := range []string{"ServiceUnknown", "NameHasNoOwner", "AccessDenied"} {
		proxy := bustest.Start(t, func(*bustest.Bus, bustest.Call) ([]any, *dbus.Error) {
			return nil, dbus.NewError("org.freedesktop.DBus.Error."+name, nil)
		})
		_, err := remmina.Run(t.Context(), proxy.Environ(), command(t, "x"))
		var denied *PermissionError
		if !errors.As(err, &denied) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if want := "flatpak override --user --talk-name=org.freedesktop.Flatpak org.remmina.Remmina"; denied.Override() != want {
			t.Errorf("override %q, want %q", denied.Override(), want)
		}
	}
}

func TestProgramThatTheHostCannotStartIsNamed(t *testing.T) {
	for name, want := range map[string]error{"FileNotFound": fs.ErrNotExist, "AccessDenied": fs.ErrPermission, "Failed": nil} {
		h := startHelper(t, func(*bustest.Bus, bustest.Call) *dbus.Error {
			return dbus.NewError("org.freedesktop.DBus.Error."+name, []any{"Failed to start command"})
		})
		_, err := remmina.Run(t.Context(), h.Environ(), command(t, "/no/such"))
		var failed *ProgramError
		if !errors.As(err, &failed) || failed.Program != "/no/such" || (want != nil && !errors.Is(err, want)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestProgramThatNobodyWatchesAnyMoreIsLost(t *testing.T) {
	for name, lose := range map[string]func(*helper){
		"helper ends": func(h *helper) { h.Emit(busPath, owned, service, ":1.7", "") },
		"bus ends":    func(h *helper) { h.Disconnect() },
	} {
		t.Run(name, func(t *testing.T) {
			started := make(chan struct{}, 1)
			h := startHelper(t, func(b *bustest.Bus, _ bustest.Call) *dbus.Error {
				b.Emit(busPath, owned, service, "", ":1.7") // the helper is started by this very call
				b.Emit(busPath, owned, "com.x", ":1.9", "") // somebody else
				started <- struct{}{}
				return nil
			})
			signals := make(chan os.Signal)
			c := command(t, "x")
			c.Signals = signals
			ended := make(chan error, 1)
			go func() {
				_, err := remmina.Run(t.Context(), h.Environ(), c)
				ended <- err
			}()
			signals <- syscall.SIGHUP // taken: the call has been answered
			receive(t, started)
			lose(h)
			if err := receive(t, ended); !errors.Is(err, ErrLost) {
				t.Errorf("error %v", err)
			}
			if rules := strings.Join(h.Matches(), "\n"); !strings.Contains(rules, "NameOwnerChanged") {
				t.Errorf("match rules %q", rules)
			}
		})
	}
}

func TestEndOfTheContextEndsTheProgram(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := startHelper(t, func(*bustest.Bus, bustest.Call) *dbus.Error { return nil })
	signals := make(chan os.Signal)
	c := command(t, "x")
	c.Signals = signals
	ended := make(chan error, 1)
	go func() {
		_, err := remmina.Run(ctx, h.Environ(), c)
		ended <- err
	}()
	signals <- syscall.SIGHUP
	receive(t, h.signals)
	cancel()
	if diff := cmp.Diff([]any{hostPID, uint32(syscall.SIGTERM), false}, receive(t, h.signals)); diff != "" {
		t.Error(diff)
	}
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSandboxWithoutABusSaysSo(t *testing.T) {
	if _, err := remmina.Run(t.Context(), nil, command(t, "x")); !errors.Is(err, sessionbus.ErrNone) {
		t.Errorf("error %v", err)
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}
