//go:build e2e

package e2essh

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
	"github.com/tunhook/tunhook/scripts/internal/sshd"
)

// program is the tunhook that the tests run.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tunhook-")
	if err == nil {
		program = filepath.Join(dir, "tunhook")
		build := exec.Command("go", "build", "-o", program, "../../cmd/tunhook")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

func startServer(t *testing.T) *sshd.Server {
	t.Helper()
	server, err := sshd.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func newHome(t *testing.T) *sandbox.Home {
	t.Helper()
	home, err := sandbox.New(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	return home
}

func tunhook(t *testing.T, home *sandbox.Home, args ...string) string {
	t.Helper()
	out, err := home.Tunhook(context.Background(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// size is what goes through the tunnel, each way.
const size = 64 << 20

// randomBytes are not random to who knows the seed, so that the far end need not send them along.
func randomBytes(seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

// exchange sends one thing and receives another at the same time, and ends its own direction.
func exchange(conn *net.TCPConn, send, want []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(send)
		if err == nil {
			err = conn.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes arrived, and not the %d that were sent", len(got), len(want))
	}
	return <-sent
}

// serveExchange is the far end of one exchange.
func serveExchange(t *testing.T, send, want []byte) (addr string, result <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	done := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		done <- exchange(conn.(*net.TCPConn), send, want)
	}()
	return ln.Addr().String(), done
}

func TestSSHRouteCarries64MiBUnchangedBothWays(t *testing.T) {
	there, back := randomBytes(1), randomBytes(2)
	for _, tc := range []struct {
		name string
		args func(t *testing.T, home *sandbox.Home, options []string) []string // what follows ROUTE
	}{
		{"options after dashes", func(_ *testing.T, _ *sandbox.Home, options []string) []string {
			return append([]string{"--"}, options...)
		}},
		{"options from the configuration", func(t *testing.T, home *sandbox.Home, options []string) []string {
			config := "[provider.ssh]\nargs = ['" + strings.Join(options, "', '") + "']\n"
			if _, err := home.Write(".config/tunhook/config.toml", config, 0o600); err != nil {
				t.Fatal(err)
			}
			return nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, home := startServer(t), newHome(t)
			target, far := serveExchange(t, back, there)
			route := "ssh://" + server.Addr() + "/" + target
			address := tunhook(t, home, append([]string{"start", route}, tc.args(t, home, server.Options())...)...)

			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatalf("the first connection after start: %v", err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if err := exchange(conn.(*net.TCPConn), there, back); err != nil {
				t.Errorf("near end: %v", err)
			}
			if err := <-far; err != nil {
				t.Errorf("far end: %v", err)
			}

			tunhook(t, home, "stop", route)
			ln, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatalf("after stop: %v", err)
			}
			_ = ln.Close()
		})
	}
}

func TestSSHRouteThatTheServerRefusesSaysWhy(t *testing.T) {
	server, stranger, home := startServer(t), startServer(t), newHome(t)
	options := stranger.Options() // another server's keys
	_, err := home.Tunhook(context.Background(), append([]string{"start", "ssh://" + server.Addr() + "/127.0.0.1:9", "--"}, options...)...)
	if err == nil || !strings.Contains(err.Error(), "Host key verification failed") {
		t.Errorf("got %v, want ssh's own reason", err)
	}
	if left := tunhook(t, home, "status"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// TestSSHRouteLeavesSharedConnectionsAlone: nobody can share the tunnel's, which would end with it, and nothing of the tunnel is left in
// one that the user shares.
func TestSSHRouteLeavesSharedConnectionsAlone(t *testing.T) {
	server, home := startServer(t), newHome(t)
	shared := home.Path("shared")
	config, err := home.Write("ssh_config", "ControlMaster auto\nControlPath "+shared+"\n", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	options := server.Options()
	options[1] = config // behind -F
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	route := "ssh://" + server.Addr() + "/127.0.0.1:9"
	startAndStop := func() {
		t.Helper()
		address := tunhook(t, home, append([]string{"start", route, "--"}, options...)...)
		tunhook(t, home, "stop", route)
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("after stop: %v", err)
		}
		_ = ln.Close()
	}

	startAndStop()
	if _, err := os.Stat(shared); err == nil {
		t.Error("the tunnel's connection can be shared")
	}
	master := exec.Command("ssh", append(options, "-M", "-N", "-p", port, host)...)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = master.Process.Kill()
		_ = master.Wait() // it was killed
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(shared); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("ssh shares no connection")
		}
	}
	startAndStop()
	if out, err := exec.Command("ssh", append(options, "-O", "check", "-p", port, host)...).CombinedOutput(); err != nil {
		t.Errorf("the user's own connection: %v: %s", err, out)
	}
}
