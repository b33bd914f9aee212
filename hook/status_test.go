package hook_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestStatesOfATunnel follows one from its launch to its end, and one to its death.
func TestStatesOfATunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_IGNORE_TERM=1"), freePort(t)
	listens := w.programsAwait()
	started := make(chan error, 1)
	go func() {
		_, err := w.Start(t.Context(), hook.StartRequest{Route: pomeriumRoute, Listen: port, Timeout: tunneltest.Patience})
		started <- err
	}()
	rec := w.eventualState(pomeriumRoute, port, hook.Starting).Record
	listens()
	w.eventualState(pomeriumRoute, port, hook.Ready)
	check(t, <-started)

	stopped := make(chan error, 1)
	go func() {
		_, err := w.Stop(t.Context(), hook.StopRequest{Route: pomeriumRoute, Listen: port, Grace: tunneltest.Patience})
		stopped <- err
	}()
	w.eventualState(pomeriumRoute, port, hook.Ending)
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	check(t, <-stopped)
	w.nothingLeft(rec)

	rec = w.start(relayRoute, port).Record
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	w.eventualState(relayRoute, port, hook.Dead)
	w.stop(relayRoute, port)
	w.nothingLeft(rec)
}

// TestStartDuringAStopWaitsForTheEndAndStartsAnew: the last wish counts.
func TestStartDuringAStopWaitsForTheEndAndStartsAnew(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_IGNORE_TERM=1"), freePort(t)
	first := w.start(pomeriumRoute, port).Record
	stopped := make(chan error, 1)
	go func() {
		_, err := w.Stop(t.Context(), hook.StopRequest{Route: pomeriumRoute, Listen: port, Grace: tunneltest.Patience})
		stopped <- err
	}()
	w.eventualState(pomeriumRoute, port, hook.Ending)
	second := w.start(pomeriumRoute, port) // which is not as patient as the stop
	if second.Found || second.Record.Token == first.Token || first.Tunnel.Alive() {
		t.Errorf("the start gives %+v, the first tunnel being %+v", second, first)
	}
	check(t, <-stopped)
	if !second.Record.Tunnel.Alive() {
		t.Error("the stop of the first tunnel ended the second")
	}
	_, err := w.Stop(t.Context(), hook.StopRequest{Route: pomeriumRoute, Listen: port, Grace: 50 * time.Millisecond})
	check(t, err)
	w.nothingLeft(first, second.Record)
}

func TestStatusNamesClientsAndChangesNothing(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	if tunnels, bad, err := w.Status("", ""); len(tunnels)+len(bad) > 0 || err != nil {
		t.Errorf("%v, %v, %v", tunnels, bad, err)
	}
	if _, err := os.Stat(w.RunDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("status made the directory of records: %v", err)
	}
	server, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	check(t, err)
	defer server.Close()
	route := "relay://" + server.Addr()
	address := w.start(route, port).Address.String()
	var conns []net.Conn
	for range 3 { // one client, whatever number of connections
		conn, err := net.Dial("tcp", address)
		check(t, err)
		conns = append(conns, conn)
	}
	tunnels, _, err := w.Status(route, port)
	if err != nil || len(tunnels) != 1 || len(tunnels[0].Clients) != 1 || tunnels[0].Clients[0].PID != os.Getpid() {
		t.Errorf("%+v, %v; want this process, %d, as the one client", tunnels, err, os.Getpid())
	}
	_, _, err = w.Status("relay://127.0.0.1:10", "")
	if !errors.As(err, new(*hook.NoTunnelError)) {
		t.Errorf("another route: %v", err)
	}
	for _, conn := range conns {
		check(t, conn.Close())
	}
	tunneltest.Eventually(t, "the client has left", func() bool { // what another test starts at this moment has the connections, too
		tunnels, _, err := w.Status(route, port)
		return err == nil && len(tunnels) == 1 && len(tunnels[0].Clients) == 0
	})
	w.nothingLeft(w.stop(route, port).Record)
}

func TestStopTellsOfOtherTunnelsOfTheRoute(t *testing.T) {
	t.Parallel()
	w, p, q := newWorld(t), freePort(t), freePort(t)
	w.start(relayRoute, p)
	stopped, err := w.Stop(t.Context(), hook.StopRequest{Route: relayRoute, Listen: q})
	if err != nil || stopped.Record.Route != "" || len(stopped.Others) != 1 || stopped.Others[0].Address.String() != "127.0.0.1:"+p {
		t.Errorf("%+v, %v", stopped, err)
	}
	w.nothingLeft(w.stop(relayRoute, p).Record)
}

// TestStopAllEndsWhatItCanAndLeavesTheRest: a file that is no record stays, and is an error.
func TestStopAllEndsWhatItCanAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var records []pidfile.Record
	for range 3 {
		records = append(records, w.start(relayRoute, freePort(t)).Record)
	}
	bad := filepath.Join(w.RunDir, "bad.json")
	check(t, os.WriteFile(bad, []byte("{"), 0o600))
	stopped, err := w.StopAll(t.Context(), hook.StopRequest{Grace: time.Second})
	if len(stopped) != 3 || !errors.As(err, new(*pidfile.BadRecordError)) || !strings.Contains(err.Error(), bad) {
		t.Errorf("stopped %d, %v", len(stopped), err)
	}
	if data, err := os.ReadFile(bad); err != nil || string(data) != "{" {
		t.Errorf("the bad record: %q, %v", data, err)
	}
	check(t, os.Remove(bad))
	w.nothingLeft(records...)
}

func TestWaitSeesTheTunnelThatSomethingElseStarts(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	waited := make(chan error, 2)
	go func() {
		address, err := w.Wait(t.Context(), relayRoute, port, tunneltest.Patience)
		if err == nil && address.String() != "127.0.0.1:"+port {
			t.Errorf("waited for %s", address)
		}
		waited <- err
	}()
	go func() {
		_, err := w.WaitListen(t.Context(), port, tunneltest.Patience)
		waited <- err
	}()
	w.start(relayRoute, port)
	check(t, <-waited)
	check(t, <-waited)
	w.nothingLeft(w.stop(relayRoute, port).Record)
}

// TestWaitFindsATunnelThatOnlyChildrenServe: its program has ended and left them behind.
func TestWaitFindsATunnelThatOnlyChildrenServe(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t, "TUNNELTEST_GENERATIONS=1"), freePort(t)
	rec := w.start(pomeriumRoute, port).Record
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	tunneltest.Eventually(t, "the program has ended", func() bool { return !rec.Tunnel.Alive() })
	if address, err := w.Wait(t.Context(), pomeriumRoute, port, tunneltest.Patience); err != nil || address != rec.Address {
		t.Errorf("waited for %s, %v, want %s", address, err, rec.Address)
	}
	w.nothingLeft(w.stop(pomeriumRoute, port).Record)
}

func TestWaitGivesUp(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	const timeout = 30 * time.Millisecond
	if _, err := w.Wait(t.Context(), relayRoute, port, timeout); !errors.As(err, new(*hook.NoTunnelError)) {
		t.Errorf("%v, want a *hook.NoTunnelError", err)
	}
	if _, err := w.WaitListen(t.Context(), port, timeout); !errors.As(err, new(*hook.TimeoutError)) {
		t.Errorf("%v, want a *hook.TimeoutError", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Wait(ctx, relayRoute, port, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if _, err := w.WaitListen(ctx, port, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	w.nothingLeft()
}

func TestFollowedLogEndsWithTheTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	w.start(pomeriumRoute, port)
	var log syncBuffer
	done := make(chan error, 1)
	go func() { done <- w.Logs(t.Context(), pomeriumRoute, port, true, &log) }()
	tunneltest.Eventually(t, "the log is copied", func() bool { return strings.Contains(log.String(), "started tcp listener") })
	select {
	case err := <-done:
		t.Fatalf("it ended before the tunnel: %v", err)
	default:
	}
	w.stop(pomeriumRoute, port)
	check(t, <-done)
	last := "caught signal, quitting"
	if os.Getenv(tunneltest.RealPomeriumCLI) != "" {
		last = "" // it may end before it says so
	}
	if text := log.String(); !strings.Contains(text, last) || strings.Count(text, "started tcp listener") != 1 {
		t.Errorf("the log is %q", text)
	}

	if err := w.Logs(t.Context(), "never.example.com:3389", port, true, &log); !errors.As(err, new(*hook.NoTunnelError)) {
		t.Errorf("the log of what never was: %v", err)
	}
	w.nothingLeft()
}

// TestFollowedLogEndsWhenNobodyWantsItAnyMore though the tunnel goes on.
func TestFollowedLogEndsWhenNobodyWantsItAnyMore(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	w.start(pomeriumRoute, port)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var log syncBuffer
	if err := w.Logs(ctx, pomeriumRoute, port, true, &log); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the end of its time", err)
	}
	w.nothingLeft(w.stop(pomeriumRoute, port).Record)
}

// TestFollowedLogEndsWithATunnelThatDies and that nobody starts again, though its record stays.
func TestFollowedLogEndsWithATunnelThatDies(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	rec := w.start(pomeriumRoute, port).Record
	ctx, cancel := context.WithTimeout(t.Context(), tunneltest.Patience)
	defer cancel()
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	var log syncBuffer
	check(t, w.Logs(ctx, pomeriumRoute, port, true, &log))
	check(t, ctx.Err())
	w.nothingLeft(w.stop(pomeriumRoute, port).Record)
}

// syncBuffer is a bytes.Buffer that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestStopNeedsNoConfiguration: a tunnel that runs can be ended when the configuration cannot be read any more.
func TestStopNeedsNoConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	route := "relay://127.0.0.1:" + freePort(t)
	rec := w.start(route, "stable").Record
	check(t, os.WriteFile(w.path("config.toml"), []byte("[tunnel."), 0o600))
	w.stop(route, "stable")
	w.nothingLeft(rec)
	check(t, os.Remove(w.path("config.toml"))) // the end of the test stops what is left
}
