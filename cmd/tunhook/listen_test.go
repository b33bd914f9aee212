package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// activated is "tunhook listen" as a service manager starts it, with those sockets: only the process itself knows its pid.
func (w *world) activated(sockets []*os.File, args ...string) *exec.Cmd {
	script := fmt.Sprintf(`LISTEN_PID=$$ LISTEN_FDS=%d exec "$0" listen "$@"`, len(sockets))
	return &exec.Cmd{
		Path: "/bin/sh", Args: append([]string{"sh", "-c", script, w.program}, args...), Env: w.environ, Dir: w.dir, ExtraFiles: sockets,
	}
}

// fileOf is a service manager's descriptor of a socket.
func fileOf(t *testing.T, socket any, err error) *os.File {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	file, err := socket.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		file.Close()
		socket.(io.Closer).Close()
	})
	return file
}

// listeningOn is a service manager's socket, and its address.
func listeningOn(t *testing.T, network, address string) (*os.File, net.Addr) {
	t.Helper()
	ln, err := net.Listen(network, address)
	file := fileOf(t, ln, err)
	return file, ln.Addr()
}

// connected is a client at a service manager's socket, which takes it whether or not a listener is there.
func connected(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(to.Network(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(tunneltest.Patience))
	return conn
}

func TestBadListenersAreRefusedWithTheWayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	taken := "127.0.0.1:" + port(t)
	ln, err := net.Listen("tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, tc := range []struct {
		status int
		listen string
		words  []string
	}{
		{exitTaken, taken, []string{taken, "is taken by", "choose another listen address, or end that program"}},
		{exitUsage, "192.0.2.1:3389", []string{"192.0.2.1:3389", "is not an address of this machine: use 127.0.0.1:PORT"}},
		{exitUsage, "127.0.0.1", []string{"127.0.0.1", "has no port between 1 and 65535: give PORT or IP:PORT"}},
		{exitUsage, "auto", []string{"is another one each time", "give PORT, IP:PORT or \"stable\""}},
		{exitUsage, "9", []string{"is where the route leads", "give another address"}},
	} {
		w.refuse(tc.status, tc.words, "listen", "relay://127.0.0.1:9", tc.listen)
	}
	w.refuse(exitUsage, []string{"which route?"}, "listen")
	w.refuse(exitUsage, []string{"--ready", "rdp, vnc or ssh"}, "listen", "--ready", "telnet", "relay://127.0.0.1:9")
	w.refuse(exitUsage, []string{"--linger"}, "listen", "--linger", "-1s", "relay://127.0.0.1:9")
}

// Whatever a service manager hands over, whoever is connected there is sent away, and the exit status is no failure: otherwise it would
// start the next process at once, until it gives up the socket for good.
func TestBadSocketsAreNamedAndTheirConnectionsClosed(t *testing.T) {
	oneStream := "the unit must have one ListenStream=, with an address and a port"
	for name, tc := range map[string]struct {
		words  []string
		listen string // "" for the address of the first socket
		hand   func(t *testing.T) (sockets []*os.File, clients []net.Addr)
	}{
		"a Unix socket": {[]string{"is not TCP's", oneStream}, "3389", func(t *testing.T) ([]*os.File, []net.Addr) {
			file, addr := listeningOn(t, "unix", t.TempDir()+"/socket")
			return []*os.File{file}, []net.Addr{addr}
		}},
		"a UDP socket": {[]string{"takes no connections", oneStream}, "3389", func(t *testing.T) ([]*os.File, []net.Addr) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			return []*os.File{fileOf(t, conn, err)}, nil
		}},
		"several": {[]string{"handed over 2 sockets", oneStream}, "3389", func(t *testing.T) ([]*os.File, []net.Addr) {
			a, toA := listeningOn(t, "tcp", "127.0.0.1:0")
			b, toB := listeningOn(t, "tcp", "127.0.0.1:0")
			return []*os.File{a, b}, []net.Addr{toA, toB}
		}},
		"none": {[]string{"handed over 0 sockets", oneStream}, "3389", func(*testing.T) ([]*os.File, []net.Addr) { return nil, nil }},
		"another address": {
			[]string{"holds a socket for 127.0.0.1:", "this listener is for 127.0.0.1:3389: give 127.0.0.1:", "ListenStream=127.0.0.1:3389"},
			"3389", func(t *testing.T) ([]*os.File, []net.Addr) {
				file, addr := listeningOn(t, "tcp", "127.0.0.1:0")
				return []*os.File{file}, []net.Addr{addr}
			},
		},
		"every interface": {[]string{"holds a socket for [::]:", "this listener is for 127.0.0.1:3389"}, "3389", func(t *testing.T) ([]*os.File, []net.Addr) {
			file, addr := listeningOn(t, "tcp", "[::]:0") // ListenStream=PORT
			return []*os.File{file}, []net.Addr{addr}
		}},
		"a connection": {[]string{"handed over a connection", "leave Accept= out of the unit"}, "3389", func(t *testing.T) ([]*os.File, []net.Addr) {
			_, addr := listeningOn(t, "tcp", "127.0.0.1:0")
			return []*os.File{fileOf(t, connected(t, addr), nil)}, nil
		}},
		"a bad command line": {[]string{"--ready is \"telnet\""}, "--ready=telnet", func(t *testing.T) ([]*os.File, []net.Addr) {
			file, addr := listeningOn(t, "tcp", "127.0.0.1:0")
			return []*os.File{file}, []net.Addr{addr}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			sockets, addresses := tc.hand(t)
			var clients []net.Conn
			for _, address := range addresses {
				clients = append(clients, connected(t, address))
			}
			cmd := w.activated(sockets, "relay://127.0.0.1:9", tc.listen)
			done := w.background(cmd)
			for _, client := range clients {
				if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
					t.Errorf("a client got %q, %v; want an orderly end", rest, err)
				}
			}
			if len(clients) > 0 {
				_ = cmd.Process.Signal(syscall.SIGTERM) // otherwise it sends away for some seconds more
			}
			r := <-done
			if r.status != 0 || r.stdout != "" || !isOneMessage(r.stderr) {
				t.Errorf("%v; want status 0 and one line on stderr", r)
			}
			for _, word := range tc.words {
				if !strings.Contains(r.stderr, word) {
					t.Errorf("it says %q, which lacks %q", r.stderr, word)
				}
			}
		})
	}
}

func TestActivatedListenerServesAndLeavesByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	socket, address := listeningOn(t, "tcp", "127.0.0.1:0")
	done := w.background(w.activated([]*os.File{socket}, "--linger", "1s", "relay://"+echoServer(t), address.String()))
	client := connected(t, address)
	echo(t, client)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.record().Tunnel.PID))
	if err != nil || bytes.Contains(environ, []byte("LISTEN_")) {
		t.Errorf("the tunnel program is told of sockets that it has not got: %q, %v", environ, err)
	}
	client.Close()
	if r := <-done; r.status != 0 || r.stderr != "" || r.stdout != address.String()+"\n" {
		t.Errorf("%v; want status 0 and the address", r)
	}
	w.nothingLeft()
}

func TestListenerThatIsToldToEndEndsItsTunnel(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		hand   bool
	}{"by itself": {exitSignalledOffset + int(syscall.SIGTERM), false}, "by a service manager": {exitDone, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			socket, address := listeningOn(t, "tcp", "127.0.0.1:0")
			route := "relay://" + echoServer(t)
			cmd := w.activated([]*os.File{socket}, route, address.String())
			if !tc.hand {
				address, _ = net.ResolveTCPAddr("tcp", "127.0.0.1:"+port(t))
				cmd = w.with("LISTEN_PID=1", "LISTEN_FDS=1").command("listen", route, address.String()) // somebody else's
			}
			done := w.background(cmd)
			tunneltest.Eventually(t, "it listens", func() bool { return served(address.String()) })
			client := connected(t, address)
			echo(t, client)
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if rest, err := io.ReadAll(client); len(rest) != 0 || err != nil {
				t.Errorf("the session ends with %q, %v; want an orderly end", rest, err)
			}
			if r := <-done; r.status != tc.status {
				t.Errorf("%v; want status %d", r, tc.status)
			}
			w.nothingLeft()
		})
	}
}

// A listener that has just launched its tunnel knows how to wait for the program's end, which is not what a signal is.
func TestListenerThatIsToldToEndDoesNotWaitForAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	address, err := net.ResolveTCPAddr("tcp", "127.0.0.1:"+port(t))
	check(t, err)
	cmd := w.command("listen", "--ready", "ssh", "relay://"+silent.Addr().String(), address.String())
	done := w.background(cmd)
	tunneltest.Eventually(t, "it listens", func() bool {
		select {
		case r := <-done:
			t.Fatalf("it has ended: %v", r)
		default:
		}
		return served(address.String())
	})
	_, err = io.WriteString(connected(t, address), "SSH-2.0-test\r\n")
	check(t, err)
	_ = silent.(*net.TCPListener).SetDeadline(time.Now().Add(tunneltest.Patience))
	waits, err := silent.Accept()
	check(t, err)
	defer waits.Close()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if r := <-done; r.status != exitSignalledOffset+int(syscall.SIGTERM) {
		t.Errorf("%v; want the status of the signal", r)
	}
	w.nothingLeft()
}

// echo sends a few bytes and reads them back.
func echo(t *testing.T, conn net.Conn) {
	t.Helper()
	const text = "there and back"
	got := make([]byte, len(text))
	_, err := io.WriteString(conn, text)
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if err != nil || string(got) != text {
		t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}
