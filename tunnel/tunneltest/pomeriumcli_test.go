package tunneltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// noBrowser is a browser that stays closed: the test signs in by itself.
const noBrowser = "true"

// process is a pomerium-cli that runs.
type process struct {
	cmd    *exec.Cmd
	home   string
	stdout output // its log
	stderr output
	ended  chan struct{}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startProcess runs program with home for its only state.
func startProcess(t *testing.T, program, home string, args ...string) *process {
	t.Helper()
	return startFaulty(t, program, home, nil, args...)
}

func startFaulty(t *testing.T, program, home string, faults []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), home: home, ended: make(chan struct{})}
	p.cmd.Env = append(faults, "HOME="+home, "PATH="+os.Getenv("PATH"), tunneltest.QuickExit)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("stdout and stderr of %v:\n%s%s", args, p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

// startTunnel runs `program tcp route` against g, listening on a free port.
func startTunnel(t *testing.T, program, home string, g *tunneltest.Gateway, route string, args ...string) *process {
	t.Helper()
	return startProcess(t, program, home, append(tunnelArgs(t, g, route), args...)...)
}

func tunnelArgs(t *testing.T, g *tunneltest.Gateway, route string) []string {
	t.Helper()
	ca, err := g.CAFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"tcp", route, "--listen", "127.0.0.1:0",
		"--pomerium-url", g.URL(), "--alternate-ca-path", ca, "--browser-cmd", noBrowser,
	}
}

var listenerPattern = regexp.MustCompile(`"addr":"([^"]+)".*"message":"started tcp listener"`)

// addr waits until the process says where it listens.
func (p *process) addr(t *testing.T) string {
	t.Helper()
	p.expect(t, "started tcp listener")
	match := listenerPattern.FindStringSubmatch(p.stdout.String())
	if match == nil {
		t.Fatal("the listening address is not in the log")
	}
	return match[1]
}

// expect waits for a line with text in its log.
func (p *process) expect(t *testing.T, text string) {
	t.Helper()
	tunneltest.Eventually(t, "the program writes "+text, func() bool { return strings.Contains(p.stdout.String(), text) })
}

// expectStatus waits for the process to end by itself.
func (p *process) expectStatus(t *testing.T, want int) {
	t.Helper()
	tunneltest.Eventually(t, "the program ends", p.hasEnded)
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("exit status %d, want %d", got, want)
	}
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signInNext takes the next sign-in page and signs in there.
func signInNext(t *testing.T, ctx context.Context, g *tunneltest.Gateway) {
	t.Helper()
	page, err := g.NextSignIn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.SignIn(ctx, page); err != nil {
		t.Fatal(err)
	}
}

func TestPomeriumCLIHoldsTheFirstConnectionThroughTheSignIn(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g, home, ctx := startGateway(t, true), t.TempDir(), deadline(t)
		p := startTunnel(t, program, home, g, liveRoute)
		conn := dial(t, p.addr(t))
		if _, err := io.WriteString(conn, "sent before the sign-in"); err != nil {
			t.Fatal(err)
		}
		page, err := g.NextSignIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p.expect(t, `"auth-url":"`+page+`"`)
		p.expect(t, `"message":"auth required"`)
		if err := g.SignIn(ctx, page); err != nil {
			t.Fatal(err)
		}
		expectBytes(t, conn, "sent before the sign-in")

		expectEcho(t, dial(t, p.addr(t)), "a later connection")
		another := startTunnel(t, program, home, g, liveRoute)
		expectEcho(t, dial(t, another.addr(t)), "another process")
		if got := g.SignIns(); got != 1 {
			t.Errorf("%d sign-ins, want 1", got)
		}
	})
}

func TestPomeriumCLIOpensOneTabAConnectionWhileSignedOut(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g, browser := startGateway(t, true), recordingBrowser(t)
		p := startTunnel(t, program, t.TempDir(), g, liveRoute, "--browser-cmd", browser)
		for range 3 {
			dial(t, p.addr(t))
		}
		tunneltest.Eventually(t, "three tabs", func() bool {
			tabs, _ := os.ReadFile(browser + ".tabs")
			return bytes.Count(tabs, []byte(g.URL()+"/")) == 3 && bytes.Count(tabs, []byte("\n")) == 3
		})
		if got := g.SignIns(); got != 3 {
			t.Errorf("%d sign-ins, want 3", got)
		}
	})
}

// recordingBrowser is a browser command that writes each address it is given to a file beside it, one line each.
func recordingBrowser(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "browser")
	if err := tunneltest.WriteProgram(path, []byte("#!/bin/sh\necho \"$@\" >>\"$0.tabs\"\n")); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPomeriumCLIGoesOnSigningInWithoutItsClient(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g, ctx := startGateway(t, true), deadline(t)
		p := startTunnel(t, program, t.TempDir(), g, liveRoute)
		conn := dial(t, p.addr(t))
		p.expect(t, "auth required")
		_ = conn.Close()
		signInNext(t, ctx, g)
		p.expect(t, "disconnected")
		if got := g.Connects(liveRoute); got != 1 {
			t.Errorf("%d connects for a client that has left, want 1", got)
		}
	})
}

func TestPomeriumCLIForgetsTheSignInWhenAClientResets(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g, ctx := startGateway(t, true), deadline(t)
		p := startTunnel(t, program, t.TempDir(), g, liveRoute)
		conn := dial(t, p.addr(t))
		signInNext(t, ctx, g)
		expectEcho(t, conn, "hello")
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		p.expect(t, "connection reset by peer")
		p.expect(t, "error serving local connection")

		dial(t, p.addr(t))
		if _, err := g.NextSignIn(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPomeriumCLITakesAServiceAccountFile(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g := startGateway(t, true)
		file := filepath.Join(t.TempDir(), "service-account")
		if err := os.WriteFile(file, []byte(g.Token()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := startTunnel(t, program, t.TempDir(), g, liveRoute, "--service-account-file", file)
		expectEcho(t, dial(t, p.addr(t)), "hello")
		if got := g.SignIns(); got != 0 {
			t.Errorf("%d sign-ins, want none", got)
		}
	})
}

func TestPomeriumCLILogsWhyARouteFails(t *testing.T) {
	for _, tc := range []struct{ name, route, reason string }{
		{"refused", refusedRoute, "unauthorized"},
		{"dead", deadRoute, "unavailable"},
		{"unknown", "nowhere.example.com:3389", "invalid http response code: 404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
				g, ctx := startGateway(t, true), deadline(t)
				p := startTunnel(t, program, t.TempDir(), g, tc.route)
				conn := dial(t, p.addr(t))
				signInNext(t, ctx, g)
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("client got %v, want EOF", err)
				}
				p.expect(t, `"error":"`+tc.reason+`"`)
				if p.hasEnded() {
					t.Error("the program ended with the connection")
				}
			})
		})
	}
}

func TestPomeriumCLIMistrustsAnUnknownCertificate(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g, home := startGateway(t, false), t.TempDir()
		args := []string{"tcp", liveRoute, "--listen", "127.0.0.1:0", "--pomerium-url", g.URL()}
		p := startProcess(t, program, home, args...)
		if n, _ := dial(t, p.addr(t)).Read(make([]byte, 1)); n != 0 {
			t.Error("the client got an answer")
		}
		p.expect(t, "x509: ")

		p = startProcess(t, program, home, append(args, "--disable-tls-verification")...)
		expectEcho(t, dial(t, p.addr(t)), "hello")
	})
}

func TestPomeriumCLITakesTheGatewayFromTheRoute(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g := startGateway(t, false)
		for _, scheme := range []string{"", "tcp+"} {
			p := startProcess(t, program, t.TempDir(), "tcp", scheme+g.URL()+"/"+liveRoute, "--disable-tls-verification")
			expectEcho(t, dial(t, p.addr(t)), "hello")
		}
	})
}

func TestPomeriumCLIListensWhereAsked(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		want := freeAddress(t)
		p := startProcess(t, program, t.TempDir(), "tcp", liveRoute, "--listen="+want, "--pomerium-url", "https://"+deadAddress(t))
		if got := p.addr(t); got != want {
			t.Errorf("listens on %s, want %s", got, want)
		}
		dial(t, want)
	})
}

func TestPomeriumCLIExitStatusProvesNothing(t *testing.T) {
	taken := startResponder(t, tunneltest.ResponderOptions{}).Addr()
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"bad route", []string{"tcp", "desk"}, 0, "invalid destination"},
		{"no route", []string{"tcp"}, 0, "accepts 1 arg(s), received 0"},
		{"two routes", []string{"tcp", "a:1", "--listen", "127.0.0.1:0", "b:1"}, 0, "accepts 1 arg(s), received 2"},
		{"unknown flag", []string{"tcp", "a:1", "--frobnicate"}, 0, "frobnicate"},
		{"unknown command", []string{"tpc", "a:1"}, 0, "unknown command"},
		{"bad gateway", []string{"tcp", "a:1", "--pomerium-url", "nonsense"}, 0, "invalid pomerium url"},
		{"missing CA file", []string{"tcp", "a:1", "--alternate-ca-path", "/nonexistent"}, 0, "get CA cert: "},
		{"bare port", []string{"tcp", "a:1", "--listen", "3389"}, 1, "address 3389: missing port in address"},
		{"address taken", []string{"tcp", "a:1", "--listen", taken}, 1, "address already in use"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
				p := startProcess(t, program, t.TempDir(), tc.args...)
				p.expectStatus(t, tc.status)
				if got := p.stderr.String(); !strings.Contains(got, tc.says) {
					t.Errorf("stderr is %q, want %q in it", got, tc.says)
				}
			})
		})
	}
}

func TestPomeriumCLIEndsOnSignals(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g := startGateway(t, false)
		for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			p := startTunnel(t, program, t.TempDir(), g, liveRoute)
			conn := dial(t, p.addr(t))
			expectEcho(t, conn, "hello")
			if err := p.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			p.expectStatus(t, 0)
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%v: the connection outlived the program", sig)
			}
		}
	})
}

func TestPomeriumCLILogsJSONLines(t *testing.T) {
	tunneltest.EachPomeriumCLI(t, func(t *testing.T, program string) {
		g := startGateway(t, false)
		p := startTunnel(t, program, t.TempDir(), g, liveRoute)
		expectEcho(t, dial(t, p.addr(t)), "hello")
		p.expect(t, `"message":"connected"`)
		lines := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
		for _, line := range lines {
			var event struct{ Level, Time, Message string }
			if err := json.Unmarshal([]byte(line), &event); err != nil || event.Level == "" || event.Time == "" || event.Message == "" {
				t.Errorf("line %q: %v, %+v", line, err, event)
			}
		}
	})
}
