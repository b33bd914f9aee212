package hook_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// connectionRequest is what an RDP client says first, [MS-RDPBCGR] 2.2.1.1; confirm is how the answer begins.
const (
	connectionRequest = "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"
	confirm           = "\x03\x00\x00\x13\x0e\xd0"
)

// listening is a listener at the account's address, which ends with the test.
type listening struct {
	*account
	end  context.CancelFunc
	over chan error

	mu       sync.Mutex
	failures []error
	shown    []string // the addresses of the sign-ins that were shown
}

// quickLinger is for tests that wait for the end of a tunnel.
const quickLinger = 300 * time.Millisecond

func (w *account) listen(req hook.ListenRequest) *listening {
	w.t.Helper()
	l := &listening{account: w, over: make(chan error, 1)}
	up := make(chan struct{})
	req.Listen = w.address
	req.Listening = func(netip.AddrPort) error { close(up); return nil }
	req.Failed = func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failures = append(l.failures, err)
	}
	w.SignIn = func(rec pidfile.Record, _ string) func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.shown = append(l.shown, rec.Public().String())
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.end = cancel
	go func() { l.over <- w.Listen(ctx, req) }()
	w.t.Cleanup(func() {
		cancel()
		if err := l.returned(); err != nil && !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	})
	select {
	case <-up:
	case err := <-l.over:
		l.over <- err
		w.t.Fatal(err)
	}
	return l
}

// returned waits for the end of Listen.
func (l *listening) returned() error {
	err := <-l.over
	l.over <- err
	return err
}

func (l *listening) failed() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures
}

func (l *listening) shownFor() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shown
}

// connect is a client that says that.
func (w *account) connect(first string) *net.TCPConn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.address)
	if err == nil {
		_, err = conn.Write([]byte(first))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn.(*net.TCPConn)
}

// answered tells whether an RDP server answers the client.
func answered(conn net.Conn) error {
	got := make([]byte, 19)
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.HasPrefix(got, []byte(confirm)) {
		return errors.New("another answer")
	}
	return nil
}

// session is a client that was answered.
func (w *account) session() *net.TCPConn {
	w.t.Helper()
	conn := w.connect(connectionRequest)
	if err := answered(conn); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// goesOn tells whether a session still carries bytes both ways.
func goesOn(conn net.Conn) error {
	const text = "still there?"
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != text {
		return errors.New("something else came back")
	}
	return nil
}

// signIn signs in at the page that was opened last.
func (w *account) signInNow() {
	w.t.Helper()
	if err := w.gateway.SignIn(w.context(), w.nextSignIn()); err != nil {
		w.t.Fatal(err)
	}
}

func TestConnectionStartsTheTunnelAndWaitsThroughTheSignIn(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	l := w.listen(hook.ListenRequest{Route: desk, Linger: quickLinger})
	if _, ok := w.record(); ok {
		t.Fatal("there is a tunnel before anybody has connected")
	}
	client := w.connect(connectionRequest)
	page := w.nextSignIn()
	tunneltest.Eventually(t, "the sign-in is shown", func() bool { return len(l.shownFor()) > 0 }) // not where somebody is quicker
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	if err := answered(client); err != nil {
		t.Fatal(err)
	}
	if err := goesOn(client); err != nil {
		t.Fatal(err)
	}
	w.expectTabs(1)
	if shown := l.shownFor(); len(shown) != 1 || shown[0] != w.address {
		t.Errorf("the sign-in was shown for %q, want %s", shown, w.address)
	}
	rec := w.mustRecord()
	if rec.Public().String() != w.address || rec.Address == rec.Public() {
		t.Errorf("the tunnel listens on %s behind %s", rec.Address, rec.Public())
	}
	client.Close()
	tunneltest.Eventually(t, "the tunnel ends", func() bool { _, ok := w.record(); return !ok })
	l.end()
	if err := l.returned(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.nothingLeft()
}

func TestFiftyConnectionsDuringASignInOpenOneTab(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.listen(hook.ListenRequest{Route: desk})
	results := make(chan error, 50)
	for range cap(results) {
		client := w.connect(connectionRequest)
		go func() { results <- answered(client) }()
	}
	w.signInNow()
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	w.expectTabs(1)
}

func TestPortCheckStartsNothing(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	l := w.listen(hook.ListenRequest{Route: desk})
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x03\x00\x00\x13", "\x03\x00\x00\x13\x0e\xf0"} {
		client := w.connect(said)
		if said != "" && said != connectionRequest[:4] { // what no client begins with is closed by the listener
			if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
				t.Errorf("after %q: %q, %v; want an orderly end", said, rest, err)
			}
		}
		client.Close()
	}
	nothingStarted := func() {
		t.Helper()
		if left := w.left(); len(left) != 0 {
			t.Errorf("processes were started: %v", left)
		}
		if _, ok := w.record(); ok || len(l.failed()) != 0 {
			t.Errorf("a tunnel was started, or failed: %v", l.failed())
		}
	}
	time.Sleep(100 * time.Millisecond)
	nothingStarted()
	for _, said := range []string{"", connectionRequest[:4]} { // a monitor may hold its connection for a while
		silent := w.connect(said)
		w.never(time.Second, "a tunnel is started for one that is silent", func() bool { _, ok := w.record(); return ok })
		nothingStarted()
		silent.Close()
		w.never(300*time.Millisecond, "a tunnel is started for one that was silent", func() bool { _, ok := w.record(); return ok })
		nothingStarted()
	}
}

func TestCancelDuringTheSignInAndConnectingAgainOpensOneTab(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.listen(hook.ListenRequest{Route: desk})
	client := w.connect(connectionRequest)
	page := w.nextSignIn()
	for range 10 {
		client.Close()
		client = w.connect(connectionRequest)
		time.Sleep(50 * time.Millisecond)
	}
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	if err := answered(client); err != nil {
		t.Fatal(err)
	}
	w.expectTabs(1)
}

func TestAnotherClientWaitsForTheSignInOfOneThatHasLeft(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	l := w.listen(hook.ListenRequest{Route: desk})
	first := w.connect(connectionRequest)
	page := w.nextSignIn()
	tunneltest.Eventually(t, "the sign-in is shown", func() bool { return len(l.shownFor()) > 0 }) // otherwise nobody knows what first waits for
	first.Close()
	other := []byte(connectionRequest)
	other[15] = 1 // asks for TLS only
	second := w.connect(string(other))
	time.Sleep(200 * time.Millisecond)
	w.expectTabs(1)
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	if err := answered(second); err != nil {
		t.Fatal(err)
	}
	w.expectTabs(1)
}

func TestClientThatLeavesDuringTheSignInLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	l := w.listen(hook.ListenRequest{Route: desk, Linger: quickLinger})
	client := w.connect(connectionRequest)
	w.nextSignIn()
	client.Close()
	tunneltest.Eventually(t, "the tunnel ends", func() bool { _, ok := w.record(); return !ok })
	l.end()
	w.nothingLeft()
	if l.failed() != nil {
		t.Error(l.failed())
	}
}

func TestFailureIsToldOnceToAClientThatTriesAgain(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	l := w.listen(hook.ListenRequest{Route: refused})
	for range 20 {
		if rest, err := io.ReadAll(w.connect(connectionRequest)); len(rest) != 0 || err != nil {
			t.Fatalf("%q, %v; want an orderly end", rest, err)
		}
	}
	if failed := l.failed(); len(failed) != 1 || !errors.Is(failed[0], hook.ErrRefused) {
		t.Errorf("told %v, want that the gateway refuses the route, once", failed)
	}
	if connects := w.gateway.Connects(refused); connects > 2 { // without and with the token
		t.Errorf("%d connections to the gateway", connects)
	}
	if launches := w.launches(filepath.Join(w.LogDir, pidfile.Key{Route: refused, Listen: w.address}.Name()+".log"), 0); launches != 1 {
		t.Errorf("the tunnel program was launched %d times, want once", launches)
	}
	w.expectTabs(1)
}

func TestTunnelProgramThatCannotBeRunIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.Environ = append(w.Environ, "TUNNELTEST_EXIT=1 no luck")
	l := w.listen(hook.ListenRequest{Route: desk})
	for range 3 {
		if rest, err := io.ReadAll(w.connect(connectionRequest)); len(rest) != 0 || err != nil {
			t.Fatalf("%q, %v; want an orderly end", rest, err)
		}
	}
	failed := l.failed()
	if len(failed) != 1 {
		t.Fatalf("told %v, want one failure", failed)
	}
	// a private address means nothing to anybody, and being another one each time would make the same failure news
	if !strings.Contains(failed[0].Error(), w.address) || strings.Contains(failed[0].Error(), "127.0.0.1:") {
		t.Errorf("told %q, which should name %s only", failed[0], w.address)
	}
}

// A tunnel that is up may be dead in many ways; the next connection gets a new one, and a session through another tunnel goes on.
func TestDeadTunnelIsReplacedUnderTheNextConnection(t *testing.T) {
	t.Parallel()
	for name, death := range map[string]struct {
		kind   string // of odd's programs, "" for the gateway's
		signal syscall.Signal
		tabs   int
	}{
		"killed":                     {"", syscall.SIGKILL, 1},
		"stopped":                    {"", syscall.SIGSTOP, 1},
		"its own connection is dead": {"mute", syscall.SIGUSR1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			w.signInAlways()
			route := desk
			if death.kind != "" {
				route = w.odd(death.kind)
			}
			w.listen(hook.ListenRequest{Route: route, Ready: tunnel.ReadyRDP})
			w.session().Close()
			other := w.elsewhere()
			other.listen(hook.ListenRequest{Route: route, Ready: tunnel.ReadyRDP})
			held := other.session()
			old, beside := w.programOf(route), other.programOf(route)
			send(t, old, death.signal)
			tunneltest.Eventually(t, "it is dead", func() bool { return !old.Alive() || old.Stopped() || w.logged("mute now\n") })
			if err := goesOn(w.session()); err != nil {
				t.Fatal(err)
			}
			if now := w.programOf(route); now == old || old.Alive() {
				t.Errorf("the tunnel program %v is %v now, and the old one lives: %v", old, now, old.Alive())
			}
			if err := goesOn(held); err != nil || other.programOf(route) != beside {
				t.Errorf("the session through the other tunnel: %v; its program %v is %v now", err, beside, other.programOf(route))
			}
			w.expectTabs(death.tabs)
		})
	}
}

// elsewhere is the same account with another address.
func (w *account) elsewhere() *account {
	other := *w
	other.Env, other.address = hookOf(w.Environ), loopbackAddress()
	return &other
}

// programOf is the tunnel program of that route at the account's address.
func (w *account) programOf(route string) process.Identity {
	w.t.Helper()
	tunnels, _, err := w.Status(route, w.address)
	if err != nil || len(tunnels) != 1 {
		w.t.Fatalf("status of %s on %s: %+v, %v", route, w.address, tunnels, err)
	}
	return tunnels[0].Record.Tunnel
}

func TestTunnelThatDoesNotAnswerIsKeptWhileSomebodyIsServed(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.listen(hook.ListenRequest{Route: desk})
	first := w.session()
	program := w.mustRecord().Tunnel
	send(t, program, syscall.SIGSTOP)
	second := w.connect(connectionRequest)
	w.never(6*time.Second, "the tunnel ends under a session", func() bool { return !program.Alive() })
	send(t, program, syscall.SIGCONT)
	if err := answered(second); err != nil {
		t.Error(err)
	}
	if err := goesOn(first); err != nil {
		t.Error(err)
	}
}

func TestClientsThatBreakOffLeaveTheSignInAsItIs(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.listen(hook.ListenRequest{Route: desk})
	for range 20 {
		client := w.session()
		_ = client.SetLinger(0)
		client.Close()
	}
	if err := goesOn(w.session()); err != nil {
		t.Fatal(err)
	}
	w.expectTabs(1)
}

func TestStopEndsTheTunnelBehindAListenerAndNotTheListening(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.listen(hook.ListenRequest{Route: desk})
	client := w.session()
	stopped := w.mustStop(hook.StopRequest{Route: desk})
	if len(stopped.InUse) != 1 || stopped.InUse[0].PID != os.Getpid() {
		t.Fatalf("stop with a session: in use by %+v", stopped.InUse)
	}
	if err := goesOn(client); err != nil {
		t.Fatal(err)
	}
	client.Close()
	tunneltest.Eventually(t, "the tunnel ends with its last client", func() bool { _, ok := w.record(); return !ok })
	tunneltest.Eventually(t, "a client is answered again", func() bool {
		conn := w.connect(connectionRequest)
		defer conn.Close()
		return answered(conn) == nil
	})
	w.expectTabs(1)
}

func TestStopEndsATunnelThatAClientStillWaitsFor(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	l := w.listen(hook.ListenRequest{Route: desk})
	client := w.connect(connectionRequest)
	w.nextSignIn()
	if stopped := w.mustStop(hook.StopRequest{Route: desk}); len(stopped.InUse) != 0 {
		t.Fatalf("in use by %+v", stopped.InUse)
	}
	if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v; want an orderly end", rest, err)
	}
	if l.failed() != nil {
		t.Errorf("told %v of a stop that somebody has asked for", l.failed())
	}
	w.signInAlways() // whoever connects after the stop wants the tunnel again, at once
	if err := answered(w.connect(connectionRequest)); err != nil {
		t.Errorf("the next client: %v", err)
	}
}

func TestStartFindsTheTunnelBehindAListener(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.listen(hook.ListenRequest{Route: desk, Linger: quickLinger})
	client := w.session()
	started := w.mustStart(w.request(desk, tunnel.ReadyRDP))
	if !started.Found || started.Address.String() != w.address {
		t.Fatalf("started %+v", started)
	}
	client.Close()
	w.never(time.Second, "a tunnel ends that was started for good", func() bool { _, ok := w.record(); return !ok })
	w.mustStop(hook.StopRequest{Route: desk})
}

func TestServersThatSpeakFirstAreReachedAtTheConnection(t *testing.T) {
	t.Parallel()
	for _, ready := range []string{tunnel.ReadyVNC, tunnel.ReadySSH, tunnel.ReadyListen} {
		t.Run(ready, func(t *testing.T) {
			t.Parallel()
			protocol, first, want := tunneltest.VNC, "", "RFB "
			switch ready {
			case tunnel.ReadySSH:
				protocol, first, want = tunneltest.SSH, "SSH-2.0-test\r\n", "SSH-"
			case tunnel.ReadyListen:
				protocol, first, want = tunneltest.Echo, "anything", "anything"
			}
			w := newAccount(t, tunneltest.ResponderOptions{Protocol: protocol})
			w.signInAlways()
			w.listen(hook.ListenRequest{Route: desk, Ready: ready})
			client := w.connect(first)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(client, got); string(got) != want || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

func TestListenerReturnsAtRestWhereTheServiceManagerHoldsTheSocket(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	manager, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	for range 2 {
		file, err := manager.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		socket, err := net.FileListener(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		client := w.connect(connectionRequest) // waits at the socket
		l := w.listen(hook.ListenRequest{Route: desk, Linger: quickLinger, Socket: socket.(*net.TCPListener)})
		if err := answered(client); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if err := l.returned(); err != nil {
			t.Fatal(err)
		}
		if _, ok := w.record(); ok {
			t.Error("the tunnel is left behind")
		}
	}
}

func TestListenerRefusesAnAddressThatSomebodyHas(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.listen(hook.ListenRequest{Route: desk})
	var taken *hook.TakenError
	if err := w.Listen(w.context(), hook.ListenRequest{Route: desk, Listen: w.address}); !errors.As(err, &taken) || taken.Holder.PID != os.Getpid() {
		t.Errorf("%v, want that the address is taken by this process", err)
	}
	// Another user may have the address that is the same for everybody: how to choose another one is told by that.
	route := "relay://127.0.0.1:" + freePort(t)
	stable, err := w.ListenAddress(route, "stable")
	check(t, err)
	holder, err := net.Listen("tcp", stable)
	check(t, err)
	defer holder.Close()
	_, enableErr := w.Enable(w.context(), hook.EnableRequest{Route: route})
	for _, err := range []error{w.Listen(w.context(), hook.ListenRequest{Route: route}), enableErr} {
		if !errors.As(err, &taken) || !taken.Stable {
			t.Errorf("%v, want that it is the stable address", err)
		}
	}
	other, err := net.Listen("tcp", loopbackAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var socket *hook.SocketError
	if err := w.Listen(w.context(), hook.ListenRequest{Route: desk, Listen: w.address, Socket: other.(*net.TCPListener)}); !errors.As(err, &socket) {
		t.Errorf("%v, want that the socket is another address's", err)
	}
}

func TestConnectionToATunnelThatEndsWithItsLastClientKeepsIt(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Delay: 300 * time.Millisecond})
	w.signInAlways()
	l := w.listen(hook.ListenRequest{Route: desk})
	first := w.session()
	program := w.mustRecord().Tunnel
	if stopped := w.mustStop(hook.StopRequest{Route: desk}); len(stopped.InUse) != 1 {
		t.Fatalf("stop with a session: %+v", stopped)
	}
	second := w.connect(connectionRequest)
	if err := answered(second); err != nil {
		t.Fatalf("a client that comes after the stop: %v", err)
	}
	first.Close()
	w.never(2*time.Second, "the tunnel ends under the second client", func() bool { return !program.Alive() })
	if err := goesOn(second); err != nil {
		t.Error(err)
	}
	if l.failed() != nil {
		t.Error(l.failed())
	}
}

func TestSilentConnectionKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	l := w.listen(hook.ListenRequest{Route: w.relay(), Ready: tunnel.ReadyListen})
	first := w.connect("still there?")
	if err := goesOn(first); err != nil {
		t.Fatal(err)
	}
	silent := w.connect("") // of a protocol of which nothing is known it may be the server's turn, or the client's
	if err := goesOn(w.connect("")); err != nil {
		t.Errorf("a client beside a silent one: %v", err)
	}
	for _, conn := range []net.Conn{first, silent} {
		if err := goesOn(conn); err != nil {
			t.Error(err)
		}
	}
	if l.failed() != nil {
		t.Error(l.failed())
	}
}

func TestClientThatEndsWithoutAWordIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	l := w.listen(hook.ListenRequest{Route: w.relay(), Ready: tunnel.ReadyListen})
	for range 2 {
		client := w.connect("")
		_ = client.CloseWrite()
		if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
			t.Errorf("%q, %v; want an orderly end", rest, err)
		}
	}
	if err := goesOn(w.connect("")); err != nil {
		t.Error(err)
	}
	if l.failed() != nil {
		t.Error(l.failed())
	}
}

func TestListenerOnEveryInterface(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.address = wildcardAddress(t)
	w.listen(hook.ListenRequest{Route: desk})
	if conn, err := net.Dial("tcp", strings.Replace(w.address, "0.0.0.0", "[::1]", 1)); err == nil {
		conn.Close()
		t.Error("it listens on IPv6 too, which nobody has asked for")
	}
	client := w.connect(connectionRequest)
	w.nextSignIn()
	if stopped := w.mustStop(hook.StopRequest{Route: desk}); len(stopped.InUse) != 0 {
		t.Errorf("in use by %+v, which was not answered yet", stopped.InUse)
	}
	if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v; want an orderly end", rest, err)
	}
}

func TestPortChecksKeepNoTunnelUp(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	w.listen(hook.ListenRequest{Route: desk, Linger: 2 * time.Second})
	w.session().Close()
	tunneltest.Eventually(t, "the tunnel ends though somebody looks whether the port is open", func() bool {
		_, _ = io.ReadAll(w.connect("GET / HTTP/1.1\r\n\r\n"))
		_, ok := w.record()
		return !ok
	})
}

func TestStopSparesASessionThatIsHalfClosed(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	w.listen(hook.ListenRequest{Route: "relay://" + server.Addr().String(), Ready: tunnel.ReadyListen})
	client := w.connect("all that I have to say")
	_ = client.CloseWrite()
	atServer, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer atServer.Close()
	_, _ = io.ReadAll(atServer)
	hear := func() {
		t.Helper()
		_, err := atServer.Write([]byte("."))
		if err == nil {
			_, err = io.ReadFull(client, make([]byte, 1))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hear()
	rec := w.mustRecord()
	stopped := w.mustStop(hook.StopRequest{Route: rec.Route})
	if len(stopped.InUse) != 1 || stopped.InUse[0].PID != os.Getpid() {
		t.Fatalf("in use by %+v", stopped.InUse)
	}
	w.never(2*time.Second, "the keeper ends the tunnel", func() bool { return !rec.Tunnel.Alive() })
	hear()
	atServer.Close()
	client.Close()
	tunneltest.Eventually(t, "the tunnel ends with its last client", func() bool { _, ok := w.record(); return !ok })
}

// Whatever else is done to the tunnel behind a listener, the next connection is answered.
func TestNextConnectionIsAnsweredAfterWhateverWasDoneToTheTunnel(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	l := w.listen(hook.ListenRequest{Route: desk})
	keepAlive := w.request(desk, tunnel.ReadyListen)
	keepAlive.KeepAlive = true
	idleStop := w.request(desk, tunnel.ReadyListen)
	idleStop.IdleStop = 10 * time.Millisecond
	w.session().Close()
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"killed, with a keeper that starts it again", func() {
			w.mustStart(keepAlive)
			send(t, w.mustRecord().Tunnel, syscall.SIGKILL)
		}},
		{"stopped with --now", func() { w.mustStop(hook.StopRequest{Route: desk, Now: true}) }},
		{"started with --idle-stop", func() { w.mustStart(idleStop) }},
		{"its record removed", func() {
			if err := os.RemoveAll(w.RunDir); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		client := w.session()
		step.do()
		client.Close()
		next := w.connect(connectionRequest)
		if err := answered(next); err != nil {
			t.Fatalf("after it was %s: %v; told %v", step.what, err, l.failed())
		}
		if err := goesOn(next); err != nil {
			t.Errorf("after it was %s: %v", step.what, err)
		}
	}
	w.expectTabs(1)
}

// TestAListenerTellsOnceOfASignInBeforeItsProgramListens: what its client waits for afterwards is the server.
func TestAListenerTellsOnceOfASignInBeforeItsProgramListens(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Delay: 200 * time.Millisecond}) // time to look at the log
	config := "[provider.early]\ncommand = [\"{tunhook}\", \"asking\", \"early\", \"{listen}\", \"{host}:{port}\"]\n" +
		"sign_in = 'sign in at (\\S+)'\n"
	check(t, os.WriteFile(filepath.Join(w.dir, "config.toml"), []byte(config), 0o600))
	w.browser("xdg-open")
	l := w.listen(hook.ListenRequest{Route: "early://" + w.server.Addr()})
	client := w.connect(connectionRequest)
	tunneltest.Eventually(t, "the sign-in is told", func() bool { return len(l.shownFor()) > 0 })
	check(t, os.WriteFile(filepath.Join(w.dir, "signed"), nil, 0o600))
	check(t, answered(client))
	if told := len(l.shownFor()); told != 1 {
		t.Errorf("it was told %d times", told)
	}
}

// TestASignInThatNoClientWaitsForIsToldByTheListener: the program of a tunnel that is up may ask for one at any time.
func TestASignInThatNoClientWaitsForIsToldByTheListener(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	w.signInAlways()
	l := w.listen(hook.ListenRequest{Route: desk})
	client := w.session()
	defer client.Close()
	tunneltest.Eventually(t, "the log was looked at", func() bool { return len(l.shownFor()) > 0 })
	time.Sleep(4 * time.Second) // for what it has told so far
	before := len(l.shownFor())
	log, err := os.OpenFile(w.mustRecord().Log, os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = log.WriteString(`{"auth-url":"https://sign.in/later"}` + "\n")
	check(t, errors.Join(err, log.Close()))
	tunneltest.Eventually(t, "the sign-in is told", func() bool { return len(l.shownFor()) > before })
	if before != 1 {
		t.Errorf("the first one was told %d times", before)
	}
}
