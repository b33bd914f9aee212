package hook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// lateServer is a server that comes up late: until then each connection to it is closed, as a tunnel's is whose server is not there.
type lateServer struct {
	net.Listener
	up    atomic.Bool
	asked atomic.Int32 // connections before it was up
}

func (w *account) lateServer() *lateServer {
	w.t.Helper()
	ln, err := net.Listen("tcp", loopbackAddress())
	check(w.t, err)
	s := &lateServer{Listener: ln}
	w.t.Cleanup(func() { ln.Close() })
	go func() {
		_ = tunnel.AcceptAll(ln.Accept, func(conn net.Conn) {
			if s.up.Load() {
				go relayOne(conn, w.server.Addr())
				return
			}
			s.asked.Add(1)
			conn.Close()
		})
	}()
	return s
}

// config adds to the configuration.
func (w *account) config(format string, args ...any) {
	w.t.Helper()
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(w.t, err)
	_, err = fmt.Fprintf(config, format, args...)
	check(w.t, errors.Join(err, config.Close()))
}

// asks waits until the server was asked so often.
func (s *lateServer) asks(t *testing.T, times int32) {
	t.Helper()
	tunneltest.Eventually(t, "the server was asked again", func() bool { return s.asked.Load() >= times })
}

// closedAtOnce is a client that nobody answers.
func (w *account) closedAtOnce(client io.Reader) {
	w.t.Helper()
	if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
		w.t.Errorf("%q, %v; want an orderly end", rest, err)
	}
}

// TestAClientWaitsForAServerThatComesUpLate by connection as a start does by command, also where the program ends with each connection,
// and where the tunnel was up before.
func TestAClientWaitsForAServerThatComesUpLate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ kind, said string }{
		"said in the configuration":       {"relay", "timeout = '2m'"},
		"said to the listener":            {"relay", ""},
		"the program ends with each time": {"lost", "timeout = '2m'"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			late := w.lateServer()
			w.config("[tunnel.late]\nroute = '%s://%s'\nready = 'rdp'\n%s\n", tc.kind, late.Addr(), tc.said)
			req := hook.ListenRequest{Route: "late"}
			if tc.said == "" {
				req.Timeout = 2 * time.Minute
			}
			l := w.listen(req)
			for range 2 {
				late.up.Store(false)
				before, connected := late.asked.Load(), w.server.Connections()
				client := w.connect(connectionRequest)
				late.asks(t, before+2)
				late.up.Store(true)
				if err := errors.Join(answered(client), goesOn(client)); err != nil {
					t.Fatalf("%v; told %v", err, l.failed())
				}
				if now := w.server.Connections() - connected; now != 1 {
					t.Errorf("%d connections to the server that is up, want that of the client", now)
				}
				client.Close()
			}
			if l.failed() != nil {
				t.Errorf("told %v", l.failed())
			}
		})
	}
}

// TestVNCClientsWaitForALateServerLikewise though it is the server's turn to speak.
func TestVNCClientsWaitForALateServerLikewise(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Protocol: tunneltest.VNC})
	late := w.lateServer()
	w.listen(hook.ListenRequest{Route: "relay://" + late.Addr().String(), Ready: tunnel.ReadyVNC, Timeout: 2 * time.Minute})
	client := w.connect("")
	late.asks(t, 2)
	late.up.Store(true)
	got := make([]byte, 4)
	if _, err := io.ReadFull(client, got); string(got) != "RFB " || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestNobodyWaitsForALateServer who has not said how long, or where it would cost something: one connection is made.
func TestNobodyWaitsForALateServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config, ready string
	}{
		"nobody has said how long":            {"", tunnel.ReadyRDP},
		"connections cost something":          {"timeout = '2m'\nprobe = false", tunnel.ReadyRDP},
		"nothing is known of what they speak": {"timeout = '2m'", tunnel.ReadyListen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newAccount(t, tunneltest.ResponderOptions{})
			late := w.lateServer()
			w.config("[tunnel.late]\nroute = 'relay://%s'\n%s\n", late.Addr(), tc.config)
			w.listen(hook.ListenRequest{Route: "late", Ready: tc.ready})
			w.closedAtOnce(w.connect(connectionRequest))
			if asked := late.asked.Load(); asked != 1 {
				t.Errorf("%d connections, want one", asked)
			}
		})
	}
}

// TestNobodyWaitsForALateServerWhereSomebodyMayHaveToSignIn: each connection might ask for that.
func TestNobodyWaitsForALateServerWhereSomebodyMayHaveToSignIn(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	l := w.listen(hook.ListenRequest{Route: dead, Ready: tunnel.ReadyRDP, Timeout: 2 * time.Minute})
	w.closedAtOnce(w.connect(connectionRequest))
	if failed := l.failed(); len(failed) != 1 || !errors.Is(failed[0], tunnel.ErrClosed) {
		t.Errorf("told %v, want that the route is down", failed)
	}
	if connects := w.gateway.Connects(dead); connects > 2 { // without and with the token
		t.Errorf("%d connections to the gateway", connects)
	}
}

// TestAServerThatStaysAwayIsToldOnce when the time is over, for what it is, to all that have waited.
func TestAServerThatStaysAwayIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	late := w.lateServer()
	l := w.listen(hook.ListenRequest{Route: "relay://" + late.Addr().String(), Ready: tunnel.ReadyRDP, Timeout: 3 * time.Second})
	clients := []net.Conn{w.connect(connectionRequest), w.connect(connectionRequest), w.connect(connectionRequest)}
	for _, client := range clients {
		w.closedAtOnce(client)
	}
	failed := l.failed()
	if len(failed) != 1 || !errors.Is(failed[0], tunnel.ErrClosed) || errors.Is(failed[0], context.DeadlineExceeded) {
		t.Errorf("told %v, want once that the tunnel takes the connection and closes it", failed)
	}
	if asked := late.asked.Load(); asked > 4 {
		t.Errorf("asked %d times in 3 seconds", asked)
	}
}

// TestAClientThatLeavesIsNotAskedFor any more, and the next one is.
func TestAClientThatLeavesIsNotAskedFor(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	late := w.lateServer()
	l := w.listen(hook.ListenRequest{Route: "relay://" + late.Addr().String(), Ready: tunnel.ReadyRDP, Timeout: 2 * time.Minute})
	first := w.connect(connectionRequest)
	late.asks(t, 1)
	second := w.connect(connectionRequest + "and more that is not said again")
	first.Close()
	asked := late.asked.Load()
	late.asks(t, asked+1) // for the second one
	second.Close()
	var before int32
	tunneltest.Eventually(t, "nobody is asked for any more", func() bool {
		before = late.asked.Load()
		time.Sleep(3 * time.Second)
		return late.asked.Load() == before
	})
	late.up.Store(true)
	if err := answered(w.connect(connectionRequest)); err != nil {
		t.Error(err)
	}
	if l.failed() != nil {
		t.Errorf("told %v of clients that have left", l.failed())
	}
}

// TestStopEndsATunnelWhoseServerIsStillWaitedFor, and the clients that wait for it: a stop takes back what was promised before.
func TestStopEndsATunnelWhoseServerIsStillWaitedFor(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	late := w.lateServer()
	route := "relay://" + late.Addr().String()
	l := w.listen(hook.ListenRequest{Route: route, Ready: tunnel.ReadyRDP, Timeout: 2 * time.Minute})
	client := w.connect(connectionRequest)
	late.asks(t, 1)
	w.mustStop(hook.StopRequest{Route: route, Now: true})
	w.closedAtOnce(client)
	if _, ok := w.record(); ok {
		t.Error("the tunnel is there again after the stop")
	}
	if l.failed() != nil {
		t.Errorf("told %v of a stop that somebody has asked for", l.failed())
	}
	late.up.Store(true)
	if err := answered(w.connect(connectionRequest)); err != nil {
		t.Errorf("the next client: %v", err)
	}
}

// TestASessionIsNotCutWhileAnotherClientIsNotAnswered: where somebody is served the server is up, and nobody is asked for again.
func TestASessionIsNotCutWhileAnotherClientIsNotAnswered(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	late := w.lateServer()
	late.up.Store(true)
	w.listen(hook.ListenRequest{Route: "relay://" + late.Addr().String(), Ready: tunnel.ReadyRDP, Timeout: 2 * time.Minute})
	held := w.session()
	program := w.mustRecord().Tunnel
	late.up.Store(false)
	w.closedAtOnce(w.connect(connectionRequest))
	if asked := late.asked.Load(); asked != 1 {
		t.Errorf("%d connections, want one", asked)
	}
	if err := goesOn(held); err != nil || w.mustRecord().Tunnel != program {
		t.Errorf("the session: %v", err)
	}
}
