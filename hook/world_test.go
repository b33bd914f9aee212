package hook_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// Routes of the tests. Nothing connects through them.
const (
	relayRoute    = "relay://127.0.0.1:9"
	pomeriumRoute = "desk.example.com:3389"
)

// world is a hook with directories of its own, and what it has told.
type world struct {
	*hook.Env
	t   *testing.T
	dir string

	mu      sync.Mutex
	notices []hook.Notice
	waits   map[string]int // waits that have begun and are not over
	onWait  func(what string)
}

// newWorld makes a world whose tunnel programs get more variables.
func newWorld(t *testing.T, variables ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), waits: map[string]int{}}
	check(t, os.Mkdir(w.path("bin"), 0o700))
	check(t, os.Symlink(self, w.path("bin", "pomerium-cli")))
	w.Env = &hook.Env{
		Config: func() *tunnel.Config { return tunnel.LoadConfig(w.path("config.toml")) },
		RunDir: w.path("run"),
		LogDir: w.path("log"),
		Self:   self,
		Environ: slices.Concat(tunneltest.ProgramEnviron(), []string{
			"PATH=" + w.path("bin") + ":/usr/bin:/bin", "HOME=" + w.dir, dirVariable + "=" + w.dir, racedVariable + "=" + raced,
		}, variables),
		Now:     time.Now,
		Notice:  w.noticed,
		Waiting: w.waiting,
	}
	t.Cleanup(func() {
		if _, err := w.StopAll(context.Background(), hook.StopRequest{Grace: time.Second, Now: true}); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) path(elements ...string) string {
	return filepath.Join(append([]string{w.dir}, elements...)...)
}

func (w *world) noticed(n hook.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = append(w.notices, n)
}

func (w *world) waiting(what string) (done func()) {
	w.mu.Lock()
	w.waits[what]++
	onWait := w.onWait
	w.mu.Unlock()
	if onWait != nil {
		onWait(what)
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waits[what]--
	}
}

// programsAwait has pomerium-cli listen only once that is called which it returns.
func (w *world) programsAwait() (listen func()) {
	file := w.path("listen")
	w.Environ = append(w.Environ, "TUNNELTEST_AWAIT="+file)
	return func() { check(w.t, os.WriteFile(file, nil, 0o600)) }
}

// told gives the notices so far.
func (w *world) told() []hook.Notice {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.notices)
}

// start starts a tunnel that must become ready.
func (w *world) start(route, listen string, args ...string) hook.Started {
	w.t.Helper()
	started, err := w.Start(w.t.Context(), hook.StartRequest{Route: route, Listen: listen, Args: args})
	check(w.t, err)
	return started
}

// stop stops a tunnel that must be there.
func (w *world) stop(route, listen string) hook.Stopped {
	w.t.Helper()
	stopped, err := w.Stop(w.t.Context(), hook.StopRequest{Route: route, Listen: listen})
	check(w.t, err)
	if stopped.Record.Route != route {
		w.t.Errorf("stopped %+v, want the tunnel for %s", stopped, route)
	}
	return stopped
}

// nothingLeft wants no record, no live tunnel, and no wait that has not ended.
func (w *world) nothingLeft(tunnels ...pidfile.Record) {
	w.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(w.RunDir, "*")); len(left) > 0 {
		w.t.Errorf("left behind: %q", left)
	}
	for _, rec := range tunnels {
		members, err := tunnel.Members(rec.Session(), rec.Address)
		check(w.t, err)
		for _, p := range members {
			w.t.Errorf("left behind: process %d", p.PID())
			p.Close()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for what, n := range w.waits {
		if n != 0 {
			w.t.Errorf("%d waits %s are not over", n, what)
		}
	}
}

// eventualState waits until the tunnel is in that state, its record complete.
func (w *world) eventualState(route, listen string, want hook.State) hook.Tunnel {
	w.t.Helper()
	var found hook.Tunnel
	tunneltest.Eventually(w.t, "the tunnel is "+string(want), func() bool {
		tunnels, _, err := w.Status(route, listen)
		if err != nil || len(tunnels) != 1 {
			return false
		}
		found = tunnels[0]
		return found.State == want && found.Record.Tunnel.PID != 0
	})
	return found
}

// wildcardAddress is every interface at a port that the system gives nobody by itself, nor freePort any test.
func wildcardAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		ln, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", 5000+rand.IntN(7000)))
		if err == nil {
			ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal("no free port was found")
	return ""
}

// freePort gives a port that was free a moment ago, below those that the system gives out by itself.
func freePort(t *testing.T) string {
	t.Helper()
	for port := 12000 + os.Getpid()%1000*7; port < 32000; port++ {
		guard, err := net.Listen("tcp", fmt.Sprintf("127.255.255.254:%d", port))
		if err != nil {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			guard.Close()
			continue
		}
		ln.Close()
		t.Cleanup(func() { guard.Close() }) // while it is open no other test gets the port
		return fmt.Sprint(port)
	}
	t.Fatal("no free port was found")
	return ""
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
