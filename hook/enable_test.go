package hook_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// newDesktop makes a world without a systemd user manager, in which listeners may be enabled.
func newDesktop(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.ConfigHome = w.path("config")
	check(t, os.Symlink(w.Self, w.path("bin", listenerName)))
	w.Self = w.path("bin", listenerName)
	check(t, tunneltest.WriteProgram(w.path("bin", "systemctl"), []byte("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")))
	t.Cleanup(func() {
		if _, err := w.DisableAll(context.Background(), true); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) enable(req hook.EnableRequest) hook.Enabled {
	w.t.Helper()
	enabled, err := w.Enable(w.t.Context(), req)
	check(w.t, err)
	return enabled
}

// listener gives the one process that listens on the address.
func (w *world) listener(address string) int {
	w.t.Helper()
	holder, ok := tunnel.Holder(addrPort(w.t, address))
	if !ok || holder.PID == 0 {
		w.t.Fatalf("nobody listens on %s", address)
	}
	return holder.PID
}

func addrPort(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	l, err := tunnel.ParseAddress(address)
	check(t, err)
	return l.Addr
}

// entries gives the files below the configuration.
func (w *world) entries() []string {
	found, _ := filepath.Glob(w.path("config", "*", "*"))
	more, _ := filepath.Glob(w.path("config", "*"))
	return append(found, more...)
}

func TestEnableWithoutSystemdStartsAListener(t *testing.T) {
	t.Parallel()
	w, port := newDesktop(t), freePort(t)
	address := "127.0.0.1:" + port
	enabled := w.enable(hook.EnableRequest{Route: relayRoute, Listen: port})
	if !enabled.Changed || enabled.By != autostart.ByDesktop || enabled.NoManager == nil || enabled.Address.String() != address {
		t.Errorf("%+v", enabled)
	}
	first := w.listener(address)
	if again := w.enable(hook.EnableRequest{Route: relayRoute, Listen: port}); again.Changed || w.listener(address) != first {
		t.Errorf("again: %+v, pid %d after %d", again, w.listener(address), first)
	}
	other := w.enable(hook.EnableRequest{Route: relayRoute, Listen: port, Ready: "rdp"})
	if !other.Changed || w.listener(address) == first {
		t.Errorf("with another flag: %+v, pid %d after %d", other, w.listener(address), first)
	}

	tunnels, bad, err := w.Status("", "")
	check(t, err)
	if len(tunnels) != 1 || len(bad) > 0 || tunnels[0].State != hook.Waiting || !tunnels[0].Enabled ||
		tunnels[0].Record.Address.String() != address {
		t.Errorf("status is %+v, %v", tunnels, bad)
	}
	if got, err := w.Wait(t.Context(), relayRoute, "", 0); err != nil || got.String() != address {
		t.Errorf("wait gives %s, %v", got, err)
	}
	started, err := w.Start(t.Context(), hook.StartRequest{Route: relayRoute, Listen: port})
	if err != nil || !started.Listener || started.Address.String() != address {
		t.Errorf("start gives %+v, %v", started, err)
	}
	_, err = w.Start(t.Context(), hook.StartRequest{Route: "relay://127.0.0.1:10", Listen: port})
	if !errors.As(err, new(*hook.EnabledError)) {
		t.Errorf("start of another route: %v", err)
	}
	stopped, err := w.Stop(t.Context(), hook.StopRequest{Route: relayRoute, Listen: port})
	if err != nil || stopped.Waits.String() != address {
		t.Errorf("stop gives %+v, %v", stopped, err)
	}

	last, err := process.Identify(w.listener(address))
	check(t, err)
	disabled, err := w.Disable(t.Context(), relayRoute, "", false)
	if err != nil || !disabled.Found || last.Alive() {
		t.Errorf("disable: %+v, %v; the listener lives: %v", disabled, err, last.Alive())
	}
	if left := w.entries(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if again, err := w.Disable(t.Context(), relayRoute, port, false); err != nil || again.Found {
		t.Errorf("disable again: %+v, %v", again, err)
	}
	w.nothingLeft()
}

// TestListenerInUseIsNotCut by a disable, nor by an enable with other flags; --now cuts it.
func TestListenerInUseIsNotCut(t *testing.T) {
	t.Parallel()
	w, port := newDesktop(t), freePort(t)
	w.enable(hook.EnableRequest{Route: relayRoute, Listen: port})
	pid := w.listener(":" + port)
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	check(t, err)
	defer conn.Close()
	_, err = w.Disable(t.Context(), relayRoute, port, false)
	var used *hook.InUseError
	if !errors.As(err, &used) || len(used.Clients) != 1 || used.Clients[0].PID != os.Getpid() {
		t.Errorf("disable: %v, want an error that names this process", err)
	}
	enabled := w.enable(hook.EnableRequest{Route: relayRoute, Listen: port, Ready: "rdp"})
	if !enabled.Changed || w.listener(":"+port) != pid {
		t.Errorf("enable with another flag: %+v; the listener has changed: %v", enabled, w.listener(":"+port) != pid)
	}
	if disabled, err := w.Disable(t.Context(), relayRoute, port, true); err != nil || !disabled.Found {
		t.Errorf("disable now: %+v, %v", disabled, err)
	}
	w.nothingLeft()
}

// TestDisableEndsTheTunnelBehindADeadListener: nobody else would.
func TestDisableEndsTheTunnelBehindADeadListener(t *testing.T) {
	t.Parallel()
	w, port := newDesktop(t), freePort(t)
	w.enable(hook.EnableRequest{Route: relayRoute, Listen: port})
	check(t, syscall.Kill(w.listener(":"+port), syscall.SIGKILL))
	tunneltest.Eventually(t, "the listener is gone", func() bool { return tunnel.Free(addrPort(t, port)) })
	if _, bad, err := w.Status(relayRoute, ""); err != nil || len(bad) != 1 || !strings.Contains(bad[0].Error(), "nothing listens there") {
		t.Errorf("status: %v, %v", bad, err)
	}
	dir, err := pidfile.PrivateDir(w.RunDir, false, true)
	check(t, err)
	behind := w.start(relayRoute, freePort(t)).Record // as the listener has it: under its own key, elsewhere
	moveRecord(t, dir, behind.Key(), pidfile.Key{Route: relayRoute, Listen: "127.0.0.1:" + port})
	disabled, err := w.Disable(t.Context(), relayRoute, "", false)
	if err != nil || !disabled.Found {
		t.Errorf("%+v, %v", disabled, err)
	}
	w.nothingLeft(behind)
}

// moveRecord makes a tunnel one behind a listener.
func moveRecord(t *testing.T, dir pidfile.Dir, from, to pidfile.Key) {
	t.Helper()
	old, err := dir.Lock(t.Context(), from)
	check(t, err)
	rec, err := old.Read()
	check(t, errors.Join(err, old.Remove(), old.Unlock()))
	lock, err := dir.Lock(t.Context(), to)
	check(t, err)
	rec.Front = addrPort(t, to.Listen)
	check(t, errors.Join(lock.Write(rec), lock.Unlock()))
}

// TestNobodyElseIsTakenForTheListener: neither one who has the address, nor a listener for another route.
func TestNobodyElseIsTakenForTheListener(t *testing.T) {
	t.Parallel()
	for what, other := range map[string][]string{
		"another program":                  nil,
		"a listener for another route":     {"listen", "relay://127.0.0.1:10", "ADDRESS"},
		"one whose tunnel program gets it": {"listen", "relay://127.0.0.1:10", "ADDRESS", "--", relayRoute},
	} {
		w, port := newDesktop(t), freePort(t)
		address := "127.0.0.1:" + port
		w.enable(hook.EnableRequest{Route: relayRoute, Listen: port})
		check(t, syscall.Kill(w.listener(address), syscall.SIGKILL))
		tunneltest.Eventually(t, "the listener is gone", func() bool { return tunnel.Free(addrPort(t, address)) })
		pid := serve(t, w, address, other)
		_, bad, err := w.Status(relayRoute, "")
		if err != nil || len(bad) != 1 || !strings.Contains(bad[0].Error(), fmt.Sprintf("(pid %d)", pid)) {
			t.Errorf("%s: status: %v, %v", what, bad, err)
		}
		var taken *hook.TakenError
		_, err = w.Enable(t.Context(), hook.EnableRequest{Route: relayRoute, Listen: port})
		if !errors.As(err, &taken) || taken.Holder.PID != pid {
			t.Errorf("%s: enable: %v", what, err)
		}
		if _, err := w.Disable(t.Context(), relayRoute, port, true); err != nil {
			t.Errorf("%s: disable: %v", what, err)
		}
		if w.listener(address) != pid {
			t.Errorf("%s was ended", what)
		}
	}
}

// serve runs a listener with those arguments; where there are none this process itself listens.
func serve(t *testing.T, w *world, address string, argv []string) int {
	t.Helper()
	if argv == nil {
		ln, err := net.Listen("tcp", address)
		check(t, err)
		t.Cleanup(func() { ln.Close() })
		return os.Getpid()
	}
	argv[slices.Index(argv, "ADDRESS")] = address
	cmd := exec.Command(w.Self, argv...)
	cmd.Env = w.Environ
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	tunneltest.Eventually(t, "it listens", func() bool { return !tunnel.Free(addrPort(t, address)) })
	return cmd.Process.Pid
}

func TestListenerThatEndsAtOnceIsTold(t *testing.T) {
	t.Parallel()
	w, port := newDesktop(t), freePort(t)
	_, err := w.Enable(t.Context(), hook.EnableRequest{Route: relayRoute, Listen: port, Ready: "vnc"})
	var failed *hook.FailedError
	if !errors.As(err, &failed) || !slices.Contains(failed.Lines, "no listener today") {
		t.Errorf("%v: %+v", err, failed)
	}
	if left := w.entries(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	w.nothingLeft()
}

// TestEnableIsRefusedForATunnelThatRuns, which is named.
func TestEnableIsRefusedForATunnelThatRuns(t *testing.T) {
	t.Parallel()
	w, port := newDesktop(t), freePort(t)
	w.start(relayRoute, port)
	var taken *hook.TakenError
	_, err := w.Enable(t.Context(), hook.EnableRequest{Route: relayRoute, Listen: port})
	if !errors.As(err, &taken) || taken.Route != relayRoute {
		t.Errorf("%v", err)
	}
	if left := w.entries(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestRewriteGoesByWhatIsThereNow: whoever has looked at an entry before may have looked long.
func TestRewriteGoesByWhatIsThereNow(t *testing.T) {
	t.Parallel()
	w, address := newDesktop(t), "127.0.0.1:"+freePort(t)
	look := func() autostart.Entry {
		t.Helper()
		entries, err := w.Enabled()
		check(t, err)
		if len(entries) != 1 {
			t.Fatalf("%+v", entries)
		}
		whole, ok := w.Store().Read(entries[0])
		if !ok {
			t.Fatalf("%+v cannot be read", whole)
		}
		return whole
	}
	w.enable(hook.EnableRequest{Route: relayRoute, Listen: address})
	old := look()
	w.enable(hook.EnableRequest{Route: relayRoute, Listen: address, Ready: tunnel.ReadySSH})
	fresh := look()
	check(t, w.Rewrite(t.Context(), old))
	if now := look(); !slices.Equal(now.Args, fresh.Args) || slices.Equal(now.Args, old.Args) {
		t.Errorf("it is started with %q; with %q before, and with %q at first", now.Args, fresh.Args, old.Args)
	}
	_, err := w.Disable(t.Context(), relayRoute, address, false)
	check(t, err)
	check(t, w.Rewrite(t.Context(), old))
	if entries, err := w.Enabled(); err != nil || len(entries) > 0 || !tunnel.Free(addrPort(t, address)) {
		t.Errorf("what was disabled is enabled again: %+v, %v", entries, err)
	}
	w.nothingLeft()
}
