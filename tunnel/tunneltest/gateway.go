// Package tunneltest holds the two ends of a tunnel, and a tunnel program to go between them, for tests, benchmarks and
// demonstrations: a gateway that speaks to pomerium-cli as Pomerium does, servers that answer as RDP, VNC and SSH servers
// do, and a stand-in for pomerium-cli with the habits and faults of the real program. All of it stays on loopback.
package tunneltest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	loginPath  = "/.pomerium/api/v1/login"
	signInPath = "/.pomerium/sign_in"

	// maxWaiting is how many sign-in pages can wait for NextSignIn; those beyond are counted, but not kept.
	maxWaiting = 1024
)

// GatewayOptions say what a gateway lets through.
type GatewayOptions struct {
	// Routes maps each route, the HOST:PORT of a CONNECT request, to the loopback address that it leads to. A route
	// whose target does not accept a connection is answered 503 (Service Unavailable).
	Routes map[string]string
	// Refused are the routes that nobody may use: 403 (Forbidden). Any route that is in neither list is answered 404.
	Refused []string
	// DemandSignIn has a CONNECT request without a valid token redirected to the sign-in page, for any route.
	DemandSignIn bool
}

// Gateway is a Pomerium-like gateway: HTTP/1.1 CONNECT over TLS (RFC 9110 section 9.3.6), and Pomerium's login API for
// programs (https://www.pomerium.com/docs/capabilities/programmatic-access).
type Gateway struct {
	opts   GatewayOptions
	ca     authority
	tokens tokenKey
	server *http.Server
	url    string

	signIns atomic.Int64
	waiting chan string // sign-in pages that nobody has taken from NextSignIn yet
	live    connSet     // of connPair

	mu       sync.Mutex
	connects map[string]int
}

// StartGateway starts a gateway on a free port of 127.0.0.1, with a certificate authority made for the occasion.
func StartGateway(opts GatewayOptions) (*Gateway, error) {
	ca, leaf, err := newAuthority()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		opts:     opts,
		ca:       ca,
		tokens:   newTokenKey(),
		url:      "https://" + ln.Addr().String(),
		waiting:  make(chan string, maxWaiting),
		connects: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+loginPath, g.login)
	mux.HandleFunc("GET "+signInPath, g.signIn)
	g.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				g.connect(w, r)
				return
			}
			mux.ServeHTTP(w, r)
		}),
		ErrorLog:          log.New(io.Discard, "", 0), // a client that goes away in a handshake is no news here
		ReadHeaderTimeout: Patience,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"http/1.1"}},
	}
	go func() { _ = g.server.ServeTLS(ln, "", "") }() // ends with Close
	return g, nil
}

// Close ends the gateway and every connection through it.
func (g *Gateway) Close() error {
	err := g.server.Close()
	g.live.closeAll()
	return err
}

// URL is the gateway's address, the value of pomerium-cli's --pomerium-url.
func (g *Gateway) URL() string { return g.url }

// CAFile writes the gateway's certificate authority into dir, as PEM, and returns the file's path, the value of
// pomerium-cli's --alternate-ca-path.
func (g *Gateway) CAFile(dir string) (string, error) {
	path := filepath.Join(dir, "gateway-ca.pem")
	return path, os.WriteFile(path, g.ca.pem(), 0o600)
}

// Config is the configuration by which tunhook has pomerium-cli use the gateway, with more arguments perhaps. The gateway's certificate
// authority is written into dir for it.
func (g *Gateway) Config(dir string, more ...string) (string, error) {
	ca, err := g.CAFile(dir)
	args := fmt.Sprintf("%q, %q, %q, %q", "--pomerium-url", g.URL(), "--alternate-ca-path", ca)
	for _, arg := range more {
		args += fmt.Sprintf(", %q", arg)
	}
	return "[provider.pomerium]\nargs = [" + args + "]\n", err
}

// CAPool trusts the gateway's certificate, and nothing else.
func (g *Gateway) CAPool() *x509.CertPool { return g.ca.pool() }

// Token is a token as a sign-in yields it, for a client that has signed in already or has a service account.
func (g *Gateway) Token() string { return g.tokens.issue() }

// Connects counts the CONNECT requests for route that were let through.
func (g *Gateway) Connects(route string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.connects[route]
}

// Live counts the connections that are open through the gateway now.
func (g *Gateway) Live() int { return g.live.size() }

// SignIns counts the sign-in pages that were asked for. pomerium-cli opens one browser tab for each.
func (g *Gateway) SignIns() int { return int(g.signIns.Load()) }

// NextSignIn waits for the next sign-in page that a program asked for, each one once, and returns its URL.
func (g *Gateway) NextSignIn(ctx context.Context) (string, error) {
	select {
	case page := <-g.waiting:
		return page, nil
	case <-ctx.Done():
		return "", fmt.Errorf("no sign-in page was asked for: %w", ctx.Err())
	}
}

// SignIn is the person at the browser: it opens the sign-in page and follows it to where it leads, which hands the token
// to the program that asked for the page.
func (g *Gateway) SignIn(ctx context.Context, page string) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.CAPool()}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("sign-in ended with %s at %s", res.Status, res.Request.URL.Redacted())
	}
	return nil
}

// login answers the login API: the URL of a page that signs in and then redirects to the caller's own loopback server.
func (g *Gateway) login(w http.ResponseWriter, r *http.Request) {
	back := r.FormValue("pomerium_redirect_uri")
	if _, err := parseCallback(back); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	page := g.signInPage(back)
	g.signIns.Add(1)
	select {
	case g.waiting <- page:
	default:
	}
	_, _ = io.WriteString(w, page)
}

func (g *Gateway) signInPage(back string) string {
	return g.url + signInPath + "?" + url.Values{
		"pomerium_issued":       {strconv.FormatInt(time.Now().Unix(), 10)},
		"pomerium_redirect_uri": {back},
	}.Encode()
}

// signIn is the sign-in page of a person whose identity provider asks nothing more.
func (g *Gateway) signIn(w http.ResponseWriter, r *http.Request) {
	back, err := parseCallback(r.FormValue("pomerium_redirect_uri"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query := back.Query()
	query.Set("pomerium_jwt", g.Token())
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// parseCallback insists on plain HTTP to loopback, the one place where a token is safe without TLS (RFC 8252 section 7.3).
func parseCallback(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "http" || ip == nil || !ip.IsLoopback() {
		return nil, errors.New("pomerium_redirect_uri is not a loopback address")
	}
	return u, nil
}

// connect answers a CONNECT request. Who is asking comes before what for, as with Pomerium: while signed out, a refused
// route and a dead one look like any other.
func (g *Gateway) connect(w http.ResponseWriter, r *http.Request) {
	route := r.Host
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Pomerium ")
	target, known := g.opts.Routes[route]
	switch {
	case g.opts.DemandSignIn && !g.tokens.valid(token):
		http.Redirect(w, r, g.signInPage("https://"+route), http.StatusFound)
		return
	case slices.Contains(g.opts.Refused, route):
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	case !known:
		http.Error(w, "no such route", http.StatusNotFound)
		return
	}
	remote, err := (&net.Dialer{Timeout: Patience}).DialContext(r.Context(), "tcp", target)
	if err != nil {
		http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		return
	}
	g.forward(w, route, remote.(*net.TCPConn))
}

// forward answers 200 and passes bytes between the client and remote until both directions have ended.
func (g *Gateway) forward(w http.ResponseWriter, route string, remote *net.TCPConn) {
	hijacked, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = remote.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pair := connPair{hijacked.(*tls.Conn), remote}
	defer func() { _ = pair.Close() }()
	if !g.live.add(pair) {
		return
	}
	defer g.live.remove(pair)
	g.mu.Lock()
	g.connects[route]++
	g.mu.Unlock()

	if _, err := io.WriteString(pair.client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(remote, buffered) // what the server read ahead, then the connection
		_ = remote.CloseWrite()
	}()
	_, _ = io.Copy(pair.client, remote)
	_ = pair.client.CloseWrite()
	<-sent
}

// connPair is the two ends of a connection through the gateway.
type connPair struct {
	client *tls.Conn
	remote *net.TCPConn
}

func (p connPair) Close() error { return errors.Join(p.client.Close(), p.remote.Close()) }
