//go:build e2e

package e2essh

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
)

// lossy carries connections to the server, until those that are there by then are cut in silence: neither end hears of it.
type lossy struct {
	net.Listener
	mu  sync.Mutex
	all []chan struct{}
}

func (c *client) lossy() *lossy {
	c.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = ln.Close() })
	l := &lossy{Listener: ln}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			cut := make(chan struct{})
			l.mu.Lock()
			l.all = append(l.all, cut)
			l.mu.Unlock()
			server, err := net.Dial("tcp", c.server.Addr())
			if err != nil {
				_ = client.Close()
				continue
			}
			go pour(server, client, cut)
			go pour(client, server, cut)
		}
	}()
	return l
}

// pour copies until it is cut, and then swallows what comes.
func pour(to, from net.Conn, cut <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-cut:
			if err != nil {
				return
			}
			continue
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}

func (l *lossy) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cut := range l.all {
		close(cut)
	}
	l.all = nil
}

// TestSSHRouteWhereTheSharedConnectionIsDead, as after a suspend: its process is there, says so, and takes all that it is asked for.
func TestSSHRouteWhereTheSharedConnectionIsDead(t *testing.T) {
	for name, forwards := range map[string]bool{"alone": false, "with forwards": true} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			link, shared := c.lossy(), c.home.Path("shared")
			_, port, _ := net.SplitHostPort(link.Addr().String())
			lines := []string{"HostName 127.0.0.1", "Port " + port, "HostKeyAlias [127.0.0.1]:" + c.server.Addr()[len("127.0.0.1:"):]}
			c.configure(lines...)
			c.master(shared)
			lines = append(lines, "ControlMaster auto", "ControlPath "+shared)
			if forwards {
				lines = append(lines, "LocalForward "+freePort(t)+" 127.0.0.1:9")
			}
			c.configure(lines...)
			before := len(c.processes())

			address := c.start() // through it, while it lives
			if err := works(address); err != nil {
				t.Fatal(err)
			}
			if logged := tunhook(t, c.home, "logs", c.route()); !strings.Contains(logged, "through the ssh connection that is open already") {
				t.Errorf("logged %q", logged)
			}
			c.ends(address, before)

			link.cut()
			if out, err := c.ssh("-O", "check", "gate").CombinedOutput(); err != nil {
				t.Fatalf("ssh itself takes it for dead: %v: %s", err, out)
			}
			start := []string{"start", "--timeout", "1m", c.route(), "--", "-F", c.config}
			address = tunhook(t, c.home, start...)
			if err := works(address); err != nil {
				t.Error(err)
			}
			c.ends(address, before)

			c.configure(append([]string{"IdentityFile /nowhere", "PubkeyAuthentication no"}, lines...)...) // it was the only way in
			_, err := c.home.Tunhook(context.Background(), start...)
			for _, part := range []string{"ssh -O exit gate", "Permission denied"} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("where it was the only way in: %v, want %q", err, part)
				}
			}
			c.until("the end of all that the start has started", func() bool { return len(c.processes()) == before })
			if out, err := c.ssh("-O", "check", "gate").CombinedOutput(); err != nil {
				t.Errorf("the user's own connection was ended: %v: %s", err, out)
			}
		})
	}
}
