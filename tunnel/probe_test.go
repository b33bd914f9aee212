package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// probed is a server that a test probes.
func probed(t *testing.T, opts tunneltest.ResponderOptions) (*tunneltest.Responder, netip.AddrPort) {
	t.Helper()
	r, err := tunneltest.StartResponder(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, netip.MustParseAddrPort(r.Addr())
}

func probeContext(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// protocols are all that can be probed for, with the server that speaks it.
var protocols = map[string]tunneltest.Protocol{
	tunnel.ReadyRDP: tunneltest.RDP,
	tunnel.ReadyVNC: tunneltest.VNC,
	tunnel.ReadySSH: tunneltest.SSH,
}

func TestEveryKindOfReadinessIsTried(t *testing.T) {
	t.Parallel()
	for _, ready := range tunnel.ReadyKinds()[1:] {
		if _, ok := protocols[ready]; !ok {
			t.Errorf("no server speaks %s", ready)
		}
	}
}

func TestProbeWaitsForTheAnswerOnOneConnection(t *testing.T) {
	t.Parallel()
	for ready, protocol := range protocols {
		for _, delay := range []time.Duration{0, 700 * time.Millisecond} {
			t.Run(fmt.Sprint(ready, " after ", delay), func(t *testing.T) {
				t.Parallel()
				server, addr := probed(t, tunneltest.ResponderOptions{Protocol: protocol, Delay: delay})
				began := time.Now()
				if err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, ready); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < delay {
					t.Errorf("an answer after %v, before the server gave one", took)
				}
				if got := server.Connections(); got != 1 {
					t.Errorf("%d connections were made, want 1", got)
				}
			})
		}
	}
}

// TestProbeDoesNotWaitForTheRestOfAWrongAnswer: most protocols have a server say something and then wait for its client.
func TestProbeDoesNotWaitForTheRestOfAWrongAnswer(t *testing.T) {
	t.Parallel()
	for ready := range protocols {
		for _, answer := range []string{"?", "\x03", "\x03\x00\x00", "R", "SSH", "\xff\xfd\x18", "220 "} {
			t.Run(fmt.Sprintf("%s %q", ready, answer), func(t *testing.T) {
				t.Parallel()
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				go func() {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = io.WriteString(conn, answer)
					_, _ = io.Copy(io.Discard, conn) // until the probe has gone
					_ = conn.Close()
				}()
				var other *tunnel.ProtocolError
				addr := netip.MustParseAddrPort(ln.Addr().String())
				if err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, ready); !errors.As(err, &other) {
					t.Errorf("got %v", err)
				} else if string(other.Got) != answer {
					t.Errorf("got %q", other.Got)
				}
			})
		}
	}
}

func TestProbeTellsFaultsApart(t *testing.T) {
	t.Parallel()
	closed := func(err error) bool { return errors.Is(err, tunnel.ErrClosed) }
	wrongProtocol := func(got string) func(error) bool {
		return func(err error) bool {
			var protocol *tunnel.ProtocolError
			return errors.As(err, &protocol) && !errors.Is(err, tunnel.ErrClosed) && strings.HasPrefix(string(protocol.Got), got)
		}
	}
	for ready, own := range protocols {
		for name, test := range map[string]struct {
			opts tunneltest.ResponderOptions
			want func(error) bool
		}{
			"closed at once": {tunneltest.ResponderOptions{Protocol: own, Fault: tunneltest.CloseAtOnce}, closed},
			"closed unheard": {tunneltest.ResponderOptions{Protocol: own, Fault: tunneltest.CloseUnheard}, closed},
			"garbage":        {tunneltest.ResponderOptions{Protocol: own, Fault: tunneltest.Garbage}, wrongProtocol("?!")},
		} {
			t.Run(ready+" "+name, func(t *testing.T) {
				t.Parallel()
				server, addr := probed(t, test.opts)
				// An SSH server may say other things first, so only the end of garbage tells: the server gives no end.
				if ready == tunnel.ReadySSH && test.opts.Fault == tunneltest.Garbage {
					time.AfterFunc(200*time.Millisecond, func() { _ = server.Close() })
				}
				err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, ready)
				if err == nil || !test.want(err) {
					t.Errorf("got %v", err)
				}
				if got := server.Connections(); got != 1 {
					t.Errorf("%d connections were made, want 1", got)
				}
			})
		}
	}
}

func TestProbeOfAnotherProtocolIsAProtocolError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ready  string
		speaks tunneltest.Protocol
	}{{tunnel.ReadyRDP, tunneltest.VNC}, {tunnel.ReadyRDP, tunneltest.SSH}, {tunnel.ReadyVNC, tunneltest.SSH}, {tunnel.ReadyRDP, tunneltest.Echo}} {
		t.Run(fmt.Sprint(test.ready, " of ", test.speaks), func(t *testing.T) {
			t.Parallel()
			_, addr := probed(t, tunneltest.ResponderOptions{Protocol: test.speaks})
			var protocol *tunnel.ProtocolError
			if err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, test.ready); !errors.As(err, &protocol) {
				t.Errorf("got %v, want a *ProtocolError", err)
			}
		})
	}
}

func TestProbeFindsSSHBehindOtherLines(t *testing.T) {
	t.Parallel()
	addr := serveOnce(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "Go away,\r\nunless you must.\r\nSSH-2.0-late\r\n")
	})
	if err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, tunnel.ReadySSH); err != nil {
		t.Error(err)
	}
}

func TestProbeGivesUpOnSSHThatOnlyTalks(t *testing.T) {
	t.Parallel()
	addr := serveOnce(t, func(conn *net.TCPConn) {
		for range 1000 {
			if _, err := io.WriteString(conn, strings.Repeat("x", 99)+"\n"); err != nil {
				return
			}
		}
	})
	var protocol *tunnel.ProtocolError
	if err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, tunnel.ReadySSH); !errors.As(err, &protocol) {
		t.Errorf("got %.100v, want a *ProtocolError", err)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for ready, protocol := range protocols {
		t.Run(ready, func(t *testing.T) {
			t.Parallel()
			server, addr := probed(t, tunneltest.ResponderOptions{Protocol: protocol, Delay: time.Hour})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for server.Connections() == 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			if err := tunnel.Probe(ctx, addr, ready); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			if err := tunnel.Probe(probeContext(t, 10*time.Second), addr, ready); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want context.DeadlineExceeded", err)
			}
			if got := server.Connections(); got != 2 {
				t.Errorf("two probes made %d connections", got)
			}
		})
	}
}

func TestProbeWhereNobodyListensIsClosed(t *testing.T) {
	t.Parallel()
	server, addr := probed(t, tunneltest.ResponderOptions{})
	_ = server.Close()
	if err := tunnel.Probe(probeContext(t, tunneltest.Patience), addr, tunnel.ReadyRDP); !errors.Is(err, tunnel.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// serveOnce is a server that does something with its first connection and then reads it to its end, which must be in good order.
func serveOnce(t *testing.T, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(tunneltest.Patience))
		serve(conn.(*net.TCPConn))
		_, err = io.Copy(io.Discard, conn)
		ended <- err
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		if err := <-ended; err != nil {
			t.Errorf("the connection did not end in good order: %v", err)
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

// A program that serves the tunnel sees a reset as a failure: pomerium-cli forgets that somebody has signed in.
func TestProbeNeverResetsTheConnection(t *testing.T) {
	t.Parallel()
	confirm := "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x02\x00\x00\x00"
	for _, test := range []struct{ ready, answer string }{
		{tunnel.ReadyRDP, confirm},
		{tunnel.ReadyRDP, confirm + "and more than anybody reads"},
		{tunnel.ReadyRDP, "HTTP/1.1 400 Bad Request\r\n\r\n"},
		{tunnel.ReadyVNC, "RFB 003.008\nand more"},
		{tunnel.ReadyVNC, "HTTP/1.1 400 Bad Request\r\n\r\n"},
		{tunnel.ReadySSH, "SSH-2.0-server\r\n" + strings.Repeat("key exchange", 1000)},
		{tunnel.ReadySSH, strings.Repeat("chatter without end\n", 2000)},
	} {
		t.Run(fmt.Sprintf("%s %.20q", test.ready, test.answer), func(t *testing.T) {
			t.Parallel()
			addr := serveOnce(t, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, test.answer) })
			_ = tunnel.Probe(probeContext(t, tunneltest.Patience), addr, test.ready) // its result is the other tests' affair
		})
	}
}

// The sign-in that a probe has waited for must hold for the client that comes after it, whatever the server answered.
func TestProbeLeavesTheSignInAlone(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "pomerium-cli")
	if out, err := exec.Command("go", "build", "-o", program, "./tunneltest/pomerium-cli").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, fault := range map[string]tunneltest.Fault{"right": tunneltest.NoFault, "garbage": tunneltest.Garbage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := probed(t, tunneltest.ResponderOptions{Fault: fault})
			const route = "desk.example.com:3389"
			gateway, err := tunneltest.StartGateway(tunneltest.GatewayOptions{Routes: map[string]string{route: server.Addr()}, DemandSignIn: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = gateway.Close() })
			addr := startPomeriumCLI(t, program, route, gateway)

			ctx := probeContext(t, tunneltest.Patience)
			signedIn := make(chan error, 1)
			go func() {
				page, err := gateway.NextSignIn(ctx)
				if err == nil {
					err = gateway.SignIn(ctx, page)
				}
				signedIn <- err
			}()
			for range 3 {
				var protocol *tunnel.ProtocolError
				if err := tunnel.Probe(ctx, addr, tunnel.ReadyRDP); err != nil && (fault == tunneltest.NoFault || !errors.As(err, &protocol)) {
					t.Fatal(err)
				}
			}
			if err := <-signedIn; err != nil {
				t.Fatal(err)
			}
			if got := gateway.SignIns(); got != 1 {
				t.Errorf("%d browser tabs were opened, want 1", got)
			}
		})
	}
}

// startPomeriumCLI starts the stand-in on a free port, and gives it.
func startPomeriumCLI(t *testing.T, program, route string, gateway *tunneltest.Gateway) netip.AddrPort {
	t.Helper()
	dir := t.TempDir()
	ca, err := gateway.CAFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := tunnel.Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0")}.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "tcp", route, "--listen", addr.String(), "--pomerium-url", gateway.URL(), "--alternate-ca-path", ca, "--browser-cmd", "true")
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	id, err := process.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	tunneltest.Eventually(t, "pomerium-cli listens", func() bool { return tunnel.Listening(addr, process.Session{Leader: id}) })
	return addr
}
