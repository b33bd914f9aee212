package tunnel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// relayTo runs a relay to target until the test ends, and gives its address. Its own port is PORT in target.
func relayTo(t *testing.T, target string) (addr string, log *lockedBuffer, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log = &lockedBuffer{}
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		l.Close()
		done := make(chan error, 1)
		_, port, _ := net.SplitHostPort(addr)
		go func() { done <- Relay(ctx, addr, strings.ReplaceAll(target, "PORT", port), log) }()
		stop = sync.OnceValue(func() error { cancel(); return <-done })
		t.Cleanup(func() { _ = stop() })
		if up(t, addr, done) {
			return addr, log, stop
		}
	}
	t.Fatal("no address stays free")
	return
}

// up waits until somebody listens on addr; false where the relay ended because another program was faster.
func up(t *testing.T, addr string, done chan error) bool {
	t.Helper()
	l, err := ParseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < deadline; tunneltest.Pause(began) {
		if len(done) > 0 {
			return false
		}
		if !Free(l.Addr) {
			return true
		}
	}
	t.Fatalf("the relay does not listen on %s", addr)
	return false
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve runs a server that handles each connection like that.
func serve(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

func echo(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) }

func connect(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(deadline))
	return conn.(*net.TCPConn)
}

func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

func TestARelayDoesNotConnectToItself(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"127.0.0.1:PORT", "0.0.0.0:PORT", "[::ffff:127.0.0.1]:PORT"} {
		addr, log, stop := relayTo(t, target)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(deadline))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection was not closed: %d, %v", target, n, err)
		}
		conn.Close()
		_ = stop()
		if said := log.String(); strings.Count(said, "each connection would make another one") != 1 {
			t.Errorf("%s: the relay says:\n%s", target, said)
		}
	}
}

func TestRelayCarriesBothWaysUnchanged(t *testing.T) {
	t.Parallel()
	there, back := noise(8<<20), noise(8<<20-1)
	got := make(chan [32]byte, 1)
	addr, _, _ := relayTo(t, serve(t, func(conn *net.TCPConn) {
		go func() {
			_, _ = conn.Write(back)
			_ = conn.CloseWrite()
		}()
		data, _ := io.ReadAll(conn)
		got <- sha256.Sum256(data)
	}))
	conn := connect(t, addr)
	go func() {
		_, _ = conn.Write(there)
		_ = conn.CloseWrite()
	}()
	data, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(data, back) {
		t.Errorf("%d bytes came back, %v; want %d unchanged", len(data), err, len(back))
	}
	if sum := <-got; sum != sha256.Sum256(there) {
		t.Error("what arrived is not what was sent")
	}
}

func TestRelayPassesAHalfCloseOn(t *testing.T) {
	t.Parallel()
	addr, _, _ := relayTo(t, serve(t, func(conn *net.TCPConn) {
		data, _ := io.ReadAll(conn) // until the client's end
		_, _ = conn.Write(append([]byte("got "), data...))
	}))
	conn := connect(t, addr)
	_, _ = conn.Write([]byte("all of it"))
	_ = conn.CloseWrite()
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "got all of it" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestRelayPassesAResetOn(t *testing.T) {
	t.Parallel()
	reset := make(chan error, 1)
	addr, _, _ := relayTo(t, serve(t, func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("x"))
		_ = conn.SetReadDeadline(time.Now().Add(deadline))
		_, err := io.ReadAll(conn)
		reset <- err
	}))
	conn := connect(t, addr)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetLinger(0)
	conn.Close()
	var late net.Error
	if err := <-reset; errors.As(err, &late) && late.Timeout() {
		t.Error("the target still waits for a client that is gone")
	}
}

func TestTargetThatIsDownEndsOnlyThatConnection(t *testing.T) {
	t.Parallel()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := target.Addr().String()
	target.Close()
	addr, log, _ := relayTo(t, down)
	for range 2 {
		if data, err := io.ReadAll(connect(t, addr)); len(data) > 0 {
			t.Errorf("%q, %v from a target that is down", data, err)
		}
	}
	tunneltest.Eventually(t, "two lines in the log", func() bool { return strings.Count(log.String(), "\n") == 2 })
	if text := log.String(); !strings.Contains(text, down) || !strings.Contains(text, "refused") {
		t.Errorf("the log says %q", text)
	}
	if target, err = net.Listen("tcp", down); err != nil {
		t.Skipf("another program has taken the target's address: %v", err)
	}
	defer target.Close()
	conn := connect(t, addr)
	server, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_, _ = conn.Write([]byte("x"))
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Errorf("the target is back, and unreachable: %v", err)
	}
}

func TestRelayCarriesManyConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	addr, _, _ := relayTo(t, serve(t, echo))
	var all sync.WaitGroup
	for i := range 100 {
		conn := connect(t, addr) // all of them are open before the first is used
		all.Go(func() {
			data := noise(10_000 + i)
			go func() {
				_, _ = conn.Write(data)
				_ = conn.CloseWrite()
			}()
			if back, err := io.ReadAll(conn); err != nil || !bytes.Equal(back, data) {
				t.Errorf("connection %d: %d of %d bytes, %v", i, len(back), len(data), err)
			}
		})
	}
	all.Wait()
}

// TestRelayLeavesNothingBehind is not parallel: it counts goroutines.
func TestRelayLeavesNothingBehind(t *testing.T) {
	target := serve(t, echo)
	before := runtime.NumGoroutine()
	addr, _, stop := relayTo(t, target)
	var open []*net.TCPConn
	for range 10 {
		conn := connect(t, addr)
		_, _ = conn.Write([]byte("x"))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	for _, conn := range open {
		var late net.Error
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.As(err, &late) && late.Timeout() {
			t.Errorf("a connection is still open: %d, %v", n, err)
		}
	}
	if _, err := net.Dial("tcp", addr); err == nil && Listening(netip.MustParseAddrPort(addr), identified(t, os.Getpid())) {
		t.Error("it listens still") // and not another process, which the system gave the port since
	}
	tunneltest.Eventually(t, "its goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestRelaySaysWhereItCannotListen(t *testing.T) {
	taken := serve(t, echo)
	if err := Relay(t.Context(), taken, "127.0.0.1:1", io.Discard); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("error %v, want one that names %s", err, taken)
	}
}
