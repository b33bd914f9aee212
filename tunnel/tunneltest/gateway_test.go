package tunneltest_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// connect sends a CONNECT request over a connection of its own, and returns the answer and what follows it.
func connect(t *testing.T, g *tunneltest.Gateway, route, token string) (*http.Response, net.Conn) {
	t.Helper()
	conn := tls.Client(dial(t, strings.TrimPrefix(g.URL(), "https://")), &tls.Config{RootCAs: g.CAPool(), ServerName: "127.0.0.1"})
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", route)
	if token != "" {
		fmt.Fprintf(conn, "Authorization: Pomerium %s\r\n", token)
	}
	fmt.Fprint(conn, "\r\n")
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return res, conn
}

func TestGatewayAnswersByRouteAndSignIn(t *testing.T) {
	open, guarded := startGateway(t, false), startGateway(t, true)
	for _, tc := range []struct {
		name    string
		gateway *tunneltest.Gateway
		route   string
		token   string
		want    int
	}{
		{"no sign-in demanded", open, liveRoute, "", http.StatusOK},
		{"refused", open, refusedRoute, "", http.StatusForbidden},
		{"dead", open, deadRoute, "", http.StatusServiceUnavailable},
		{"unknown", open, "nowhere.example.com:22", "", http.StatusNotFound},
		{"signed out", guarded, liveRoute, "", http.StatusFound},
		{"signed out, refused", guarded, refusedRoute, "", http.StatusFound},
		{"signed out, dead", guarded, deadRoute, "", http.StatusFound},
		{"token is nonsense", guarded, liveRoute, "a.b.c", http.StatusFound},
		{"token of another gateway", guarded, liveRoute, open.Token(), http.StatusFound},
		{"signed in", guarded, liveRoute, guarded.Token(), http.StatusOK},
		{"signed in, refused", guarded, refusedRoute, guarded.Token(), http.StatusForbidden},
		{"signed in, dead", guarded, deadRoute, guarded.Token(), http.StatusServiceUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, conn := connect(t, tc.gateway, tc.route, tc.token)
			if res.StatusCode != tc.want {
				t.Fatalf("CONNECT %s: %s, want %d", tc.route, res.Status, tc.want)
			}
			switch tc.want {
			case http.StatusOK:
				expectEcho(t, conn, "hello")
			case http.StatusFound:
				if page := res.Header.Get("Location"); !strings.HasPrefix(page, tc.gateway.URL()+"/") {
					t.Errorf("redirected to %q, not to a page of the gateway", page)
				}
			}
		})
	}
	if got := guarded.SignIns(); got != 0 {
		t.Errorf("%d sign-in pages counted without a call of the login API", got)
	}
}

func TestGatewayLoginHandsTheTokenToTheCallback(t *testing.T) {
	g, ctx := startGateway(t, true), deadline(t)
	tokens := make(chan string, 1)
	callback := callbackServer(t, func(r *http.Request) { tokens <- r.FormValue("pomerium_jwt") })

	status, page := login(t, g, callback)
	if status != http.StatusOK {
		t.Fatalf("login API: %d %s", status, page)
	}
	if next, err := g.NextSignIn(ctx); err != nil || next != page {
		t.Errorf("NextSignIn = %q, %v; want %q", next, err, page)
	}
	if err := g.SignIn(ctx, page); err != nil {
		t.Fatal(err)
	}
	res, conn := connect(t, g, liveRoute, <-tokens)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT with the token of the sign-in: %s", res.Status)
	}
	expectEcho(t, conn, "hello")
	if got := g.SignIns(); got != 1 {
		t.Errorf("%d sign-in pages counted, want 1", got)
	}
}

func TestGatewayHandsTokensOnlyToLoopback(t *testing.T) {
	g := startGateway(t, true)
	for _, callback := range []string{"", "http://192.0.2.1:80", "https://127.0.0.1:1", "http://localhost.example.com", "://"} {
		if status, body := login(t, g, callback); status != http.StatusBadRequest {
			t.Errorf("login API for callback %q: %d %s", callback, status, body)
		}
	}
}

func TestGatewayCountsConnections(t *testing.T) {
	g := startGateway(t, false)
	_, first := connect(t, g, liveRoute, "")
	_, second := connect(t, g, liveRoute, "")
	expectEcho(t, first, "1")
	expectEcho(t, second, "2")
	if connects, live := g.Connects(liveRoute), g.Live(); connects != 2 || live != 2 {
		t.Errorf("%d connects, %d live; want 2, 2", connects, live)
	}
	_ = first.Close()
	tunneltest.Eventually(t, "one connection left", func() bool { return g.Live() == 1 })
	_ = g.Close()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("the second connection outlived the gateway")
	}
	if got := g.Connects(liveRoute); got != 2 {
		t.Errorf("%d connects in the end, want 2", got)
	}
}

func TestGatewayCarriesAllBytesPastAHalfClose(t *testing.T) {
	_, conn := connect(t, startGateway(t, false), liveRoute, "")
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(*tls.Conn).CloseWrite()
	}()
	if received, err := io.ReadAll(conn); err != nil || !bytes.Equal(received, sent) {
		t.Errorf("received %d bytes, %v; sent %d", len(received), err, len(sent))
	}
}

func TestGatewayCAFileHoldsOnlyTheAuthority(t *testing.T) {
	path, err := startGateway(t, false).CAFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(pem), "-----BEGIN"); n != 1 || !bytes.Contains(pem, []byte("BEGIN CERTIFICATE")) {
		t.Errorf("%d PEM blocks, want one certificate:\n%s", n, pem)
	}
}

// callbackServer is the loopback server of a program that signs in.
func callbackServer(t *testing.T, received func(*http.Request)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received(r) })}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + ln.Addr().String()
}

func login(t *testing.T, g *tunneltest.Gateway, callback string) (status int, body string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.CAPool()}}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := (&http.Client{Transport: transport}).Get(g.URL() + "/.pomerium/api/v1/login?pomerium_redirect_uri=" +
		url.QueryEscape(callback))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}
