package hook_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// seen is what a watch has told once.
type seen struct {
	tunnels []hook.Tunnel
	bad     []error
}

// watch watches until the end of the test. What it tells is read from the channel, which it waits for.
func (w *world) watch(req hook.WatchRequest) <-chan seen {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	told, done := make(chan seen), make(chan error, 1)
	go func() {
		done <- w.Watch(ctx, req, func(tunnels []hook.Tunnel, bad []error) error {
			select {
			case told <- seen{tunnels, bad}:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("the watch ended with %v", err)
		}
	})
	return told
}

// expect reads what a watch tells until that is as it should be. Only the last that it tells counts: nothing but a change makes it tell
// more.
func expect(t *testing.T, told <-chan seen, what string, is func(seen) bool) {
	t.Helper()
	late := time.After(tunneltest.Patience)
	var last seen
	for {
		select {
		case last = <-told:
			if is(last) {
				return
			}
		case <-late:
			t.Fatalf("the watch does not tell that %s, but last %+v", what, last)
		}
	}
}

// inState tells of a single tunnel in that state.
func inState(state hook.State) func(seen) bool {
	return func(s seen) bool { return len(s.tunnels) == 1 && s.tunnels[0].State == state }
}

func noTunnel(s seen) bool { return len(s.tunnels)+len(s.bad) == 0 }

// TestWatchTellsWhatBecomesOfATunnel from before there is a directory for its record, over its death, to its end; the directory may be
// removed and made again, and those above it, too.
func TestWatchTellsWhatBecomesOfATunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	w.RunDir = w.path("above", "run")
	for name, req := range map[string]hook.WatchRequest{"all": {}, "one": {Route: relayRoute, Listen: port}, "route": {Route: relayRoute}} {
		told := w.watch(req)
		expect(t, told, name+": there is none", noTunnel)
		go func() { // all the others go on, too
			for range told {
			}
		}()
	}
	told := w.watch(hook.WatchRequest{Route: relayRoute})
	expect(t, told, "there is none", noTunnel)
	for range 2 {
		rec := w.start(relayRoute, port).Record
		expect(t, told, "it is ready", inState(hook.Ready))
		check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
		expect(t, told, "it has died", inState(hook.Dead))
		w.stop(relayRoute, port)
		expect(t, told, "it is gone", noTunnel)

		w.start(relayRoute, port)
		expect(t, told, "it is ready", inState(hook.Ready))
		w.stop(relayRoute, port)
		expect(t, told, "it is stopped", noTunnel)
		check(t, os.RemoveAll(w.path("above")))
	}
}

// TestWatchTellsWhoComesAndGoes, and that a stop waits for them.
func TestWatchTellsWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	server, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	check(t, err)
	defer server.Close()
	route := "relay://" + server.Addr()
	address := w.start(route, port).Address.String()
	told := w.watch(hook.WatchRequest{})
	clients := func(n int) func(seen) bool {
		return func(s seen) bool { return len(s.tunnels) == 1 && len(s.tunnels[0].Clients) == n }
	}
	expect(t, told, "nobody is connected", clients(0))
	for range 2 {
		conn, err := net.Dial("tcp", address)
		check(t, err)
		expect(t, told, "somebody is connected", clients(1))
		check(t, conn.Close())
		expect(t, told, "nobody is connected any more", clients(0))
	}
	conn, err := net.Dial("tcp", address)
	check(t, err)
	expect(t, told, "somebody is connected", clients(1))
	_, err = w.Stop(t.Context(), hook.StopRequest{Route: route, Listen: port})
	check(t, err)
	expect(t, told, "it ends when idle", inState(hook.EndsIdle))
	check(t, conn.Close())
	expect(t, told, "it has ended", noTunnel)
}

// TestWatchTellsThatAProgramListens when it does, however late, and that it does not any more.
func TestWatchTellsThatAProgramListens(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_DELAY=2s"), freePort(t)
	told := w.watch(hook.WatchRequest{})
	expect(t, told, "there is none", noTunnel)
	started := make(chan error, 1)
	go func() {
		_, err := w.Start(t.Context(), hook.StartRequest{Route: pomeriumRoute, Listen: port})
		started <- err
	}()
	expect(t, told, "it starts", inState(hook.Starting))
	expect(t, told, "it listens", inState(hook.Ready))
	check(t, <-started)
	w.stop(pomeriumRoute, port)
	expect(t, told, "it has ended", noTunnel)
}

// TestWatchTellsTheEndOfATunnelThatOnlyChildrenServe: its program has ended before.
func TestWatchTellsTheEndOfATunnelThatOnlyChildrenServe(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_GENERATIONS=1"), freePort(t)
	rec := w.start(pomeriumRoute, port).Record
	told := w.watch(hook.WatchRequest{})
	expect(t, told, "it is ready", inState(hook.Ready))
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	tunneltest.Eventually(t, "the program has ended", func() bool { return !rec.Tunnel.Alive() })
	children := tunnel.PIDs(rec.Session(), rec.Address)
	if len(children) == 0 {
		t.Fatal("no child is left")
	}
	for _, pid := range children {
		check(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	expect(t, told, "it has died", inState(hook.Dead))
	w.stop(pomeriumRoute, port)
	expect(t, told, "it is gone", noTunnel)
}

// TestWatchTellsWhatTheConfigurationNames as it changes: a file, a drop-in, and what is wrong with them.
func TestWatchTellsWhatTheConfigurationNames(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	told := w.watch(hook.WatchRequest{All: true})
	expect(t, told, "there is none", noTunnel)
	check(t, os.WriteFile(w.path("config.toml"), []byte("[tunnel.a]\nroute = \"relay://127.0.0.1:9\"\nlisten = \""+port+"\"\n"), 0o600))
	expect(t, told, "a does not run", inState(hook.Idle))
	check(t, os.Mkdir(w.path("config.d"), 0o700))
	check(t, os.WriteFile(w.path("config.d", "b.toml"), []byte("[tunnel.b]\nroute = \"relay://127.0.0.1:9\"\n"), 0o600))
	expect(t, told, "there is b, too", func(s seen) bool { return len(s.tunnels) == 2 })
	check(t, os.RemoveAll(w.path("config.d")))
	expect(t, told, "there is no b any more", inState(hook.Idle))
	w.start("a", "")
	expect(t, told, "a is ready", inState(hook.Ready))
	check(t, os.WriteFile(w.path("config.toml"), []byte("[tunnel.a]\nroute ="), 0o600))
	expect(t, told, "a typo", func(s seen) bool {
		var fault *tunnel.ConfigError
		return len(s.bad) == 1 && errors.As(s.bad[0], &fault) && len(s.tunnels) == 1
	})
	check(t, os.Remove(w.path("config.toml")))
	expect(t, told, "nothing is wrong", func(s seen) bool { return len(s.bad) == 0 })
	w.stop("a", port)
	expect(t, told, "there is none any more", noTunnel)
}

// TestWatchTellsWhatIsEnabled, and whether anybody listens for it.
func TestWatchTellsWhatIsEnabled(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	w.ConfigHome = w.path("xdg")
	told := w.watch(hook.WatchRequest{})
	expect(t, told, "there is none", noTunnel)
	address := netip.MustParseAddrPort("127.0.0.1:" + port)
	store := autostart.Store{ConfigHome: w.ConfigHome}
	e := autostart.Entry{By: autostart.ByDesktop, Route: relayRoute, Address: address, Program: self, Since: time.Now()}
	_, err := store.Write(e)
	check(t, err)
	reason := func(words string) func(seen) bool {
		return func(s seen) bool {
			return inState(hook.Waiting)(s) && slices.ContainsFunc(s.bad, func(err error) bool { return strings.Contains(err.Error(), words) })
		}
	}
	expect(t, told, "nobody listens", reason("nothing listens"))
	other, err := net.Listen("tcp", address.String())
	check(t, err)
	expect(t, told, "another program has the address", reason("is taken by"))
	check(t, other.Close())
	expect(t, told, "nobody listens any more", reason("nothing listens"))
	_, err = store.Remove(e)
	check(t, err)
	expect(t, told, "there is none any more", noTunnel)
}

// TestWatchTellsWhatIsNoRecord, and when a directory cannot be trusted any more.
func TestWatchTellsWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	told := w.watch(hook.WatchRequest{})
	expect(t, told, "there is none", noTunnel)
	check(t, os.Mkdir(w.RunDir, 0o700))
	bad := filepath.Join(w.RunDir, "bad.json")
	check(t, os.WriteFile(bad, []byte("{"), 0o600))
	expect(t, told, "a bad record", func(s seen) bool { return len(s.bad) == 1 && errors.As(s.bad[0], new(*pidfile.BadRecordError)) })
	check(t, os.Remove(bad))
	expect(t, told, "there is none any more", noTunnel)
	check(t, os.Chmod(w.RunDir, 0o755))
	expect(t, told, "others may read it", func(s seen) bool { return len(s.bad) == 1 && errors.As(s.bad[0], new(*pidfile.DirError)) })
	check(t, os.Rename(w.RunDir, w.path("away")))
	expect(t, told, "it is gone", noTunnel)
	check(t, os.Rename(w.path("away"), w.RunDir))
	expect(t, told, "it is there again", func(s seen) bool { return len(s.bad) == 1 })
	check(t, os.Chmod(w.RunDir, 0o700))
	expect(t, told, "all is well", noTunnel)
}

// TestWatchFindsWhatChangesWhileItReads: however many changes there are at once, the last one is told.
func TestWatchFindsWhatChangesWhileItReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	told := w.watch(hook.WatchRequest{})
	expect(t, told, "there is none", noTunnel)
	for n := range 20 {
		check(t, errors.Join(os.RemoveAll(w.RunDir), os.Mkdir(w.RunDir, 0o700)))
		for i := range n {
			check(t, os.WriteFile(filepath.Join(w.RunDir, string(rune('a'+i))+".json"), []byte("{"), 0o600))
		}
		expect(t, told, "all of them", func(s seen) bool { return len(s.bad) == n })
	}
	check(t, os.RemoveAll(w.RunDir))
}

func TestWatchThatCannotBeginIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quiet := func([]hook.Tunnel, []error) error { return nil }
	if err := w.Watch(t.Context(), hook.WatchRequest{Route: "no route"}, quiet); err == nil {
		t.Error("a route that is none is watched")
	}
	if err := w.Watch(t.Context(), hook.WatchRequest{}, func([]hook.Tunnel, []error) error { return fs.ErrClosed }); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v, want what show gave", err)
	}
	check(t, os.Mkdir(w.RunDir, 0o755))
	check(t, os.Chmod(w.RunDir, 0o755))
	if err := w.Watch(t.Context(), hook.WatchRequest{}, quiet); !errors.As(err, new(*pidfile.DirError)) {
		t.Errorf("%v, want a *pidfile.DirError", err)
	}
	check(t, os.Remove(w.RunDir))
}

// TestWatchLeavesNoHandle on a process that it has followed.
func TestWatchLeavesNoHandle(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	rec := w.start(relayRoute, port).Record
	ctx, cancel := context.WithCancel(t.Context())
	calls, before := 0, pidfds(t, rec.Tunnel) // whoever has started it has one
	err := w.Watch(ctx, hook.WatchRequest{}, func([]hook.Tunnel, []error) error {
		if calls++; calls == 2 { // the second follows what the first has told of
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if held := pidfds(t, rec.Tunnel); held > before {
		t.Errorf("%d handles on the tunnel program are left, there were %d", held, before)
	}
	w.nothingLeft(w.stop(relayRoute, port).Record)
}

// pidfds counts this process's handles on another one, proc_pid_fdinfo(5).
func pidfds(t *testing.T, id process.Identity) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	check(t, err)
	for _, info := range infos {
		text, _ := os.ReadFile(info)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "Pid:" && f[1] == strconv.Itoa(id.PID) {
				n++
			}
		}
	}
	return n
}
