package tunneltest_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "pomerium-cli" {
		os.Exit(tunneltest.PomeriumCLI(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func startResponder(t *testing.T, opts tunneltest.ResponderOptions) *tunneltest.Responder {
	t.Helper()
	r, err := tunneltest.StartResponder(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// The routes of startGateway.
const (
	liveRoute    = "desk.example.com:3389"
	deadRoute    = "dead.example.com:3389"
	refusedRoute = "refused.example.com:3389"
)

// startGateway starts a gateway with a route to an echo server, a dead one and a refused one.
func startGateway(t *testing.T, demandSignIn bool) *tunneltest.Gateway {
	t.Helper()
	echo := startResponder(t, tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	g, err := tunneltest.StartGateway(tunneltest.GatewayOptions{
		Routes:       map[string]string{liveRoute: echo.Addr(), deadRoute: deadAddress(t)},
		Refused:      []string{refusedRoute},
		DemandSignIn: demandSignIn,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// deadAddress is the client's end of a connection: nobody listens there, and nobody else can meanwhile.
func deadAddress(t *testing.T) string {
	t.Helper()
	return dial(t, startResponder(t, tunneltest.ResponderOptions{Protocol: tunneltest.Echo}).Addr()).LocalAddr().String()
}

// freeAddress was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// deadline bounds a whole test.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tunneltest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// expectEcho proves that bytes pass both ways.
func expectEcho(t *testing.T, conn io.ReadWriter, message string) {
	t.Helper()
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, conn, message)
}

func expectBytes(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// dial connects to address with a deadline on everything.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, tunneltest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(tunneltest.Patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}
