package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// The bounds of the listener's rows.
const (
	maxCold     = 1.3  // ÷ start and then a connection
	maxWarm     = 1.5  // ÷ a connection through the tunnel itself
	maxBulk     = 0.8  // ÷ socat's time
	maxResident = 14.0 // MB
	bulk        = 256 << 20
)

// settled is how long after a connection was answered what it took is given back.
const settled = 6 * time.Second

// connectionRequest is what an RDP client says first, [MS-RDPBCGR] 2.2.1.1.
const connectionRequest = "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"

// firstByte connects as an RDP client does and tells how long the first byte of the answer took.
func firstByte(addr string) (time.Duration, error) {
	began := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, connectionRequest); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	took := time.Since(began)
	_, _ = io.CopyN(io.Discard, conn, int64(len(connectionRequest)-1)) // as long as the request
	return took, err
}

// listenerRows compare a listener with what its clients would have without one.
func (b *bench) listenerRows() error {
	server, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	if err != nil {
		return err
	}
	defer server.Close()
	to := "relay://" + server.Addr()
	b.table.abbreviate(to, "RELAY")
	listener, front, err := b.startListener("--ready", "rdp", to)
	if err != nil {
		return err
	}
	defer listener.end()
	stop := func(addr string) error { _, err := b.run(b.home, b.tunhook, "stop", to, addr); return err }

	if err := b.compare(row{
		name: "cold listener ÷ start, connect", bound: maxCold, part: 2,
		ours: side{b.table.show(b.tunhook, "listen", to, b.addr), func() (time.Duration, error) {
			took, err := firstByte(front)
			return took, errors.Join(err, stop(front))
		}},
		other: side{b.table.show(b.tunhook, "start", to, b.addr), func() (time.Duration, error) {
			started, err := b.run(b.home, b.tunhook, "start", to, b.addr)
			if err != nil {
				return 0, err
			}
			took, err := firstByte(b.addr)
			return started + took, errors.Join(err, stop(b.addr))
		}},
	}); err != nil {
		return err
	}
	if _, err := b.run(b.home, b.tunhook, "start", to, b.addr); err != nil {
		return err
	}
	// A relay to the next process is the quickest tunnel that there can be. It shows what a listener adds, in milliseconds.
	err = b.warmRow("warm listener ÷ a bare relay", 0, to, front)
	err = errors.Join(err, stop(b.addr), b.bulkRow(), b.restRow(to))
	listener.end() // or it would share its pages with the one that is measured next
	return errors.Join(err, b.warmPomeriumRow(server.Addr()))
}

// warmRow compares the first byte through a listener whose tunnel is up with that through such a tunnel itself, at b.addr.
func (b *bench) warmRow(name string, bound float64, to, front string) error {
	return b.compare(row{
		name: name, bound: bound,
		ours:  side{b.table.show(b.tunhook, "listen", to, b.addr), func() (time.Duration, error) { return firstByte(front) }},
		other: side{b.table.show(b.tunhook, "start", to, b.addr), func() (time.Duration, error) { return firstByte(b.addr) }},
	})
}

// warmPomeriumRow is warmRow with the tunnel program that most people have, to a gateway on this machine: each connection is one of
// TLS to the gateway, as it is with the real one.
func (b *bench) warmPomeriumRow(target string) error {
	const to = "desk.example.com:3389"
	_, end, err := b.startGateway(to, target)
	if err != nil {
		return err
	}
	defer end()
	listener, front, err := b.startListener("--ready", "rdp", to)
	if err != nil {
		return err
	}
	defer listener.end()
	if _, err := b.run(b.home, b.tunhook, "start", to, b.addr); err != nil {
		return err
	}
	err = b.warmRow("warm listener ÷ its tunnel", maxWarm, to, front)
	resident := b.residentRows(front) // here no tunnel program shares tunhook's own pages
	_, stopErr := b.run(b.home, b.tunhook, "stop", to, b.addr)
	return errors.Join(err, resident, stopErr)
}

// startGateway starts a gateway whose only route leads to the target, and has the home use it until the function is called that it
// returns.
func (b *bench) startGateway(to, target string) (*tunneltest.Gateway, func(), error) {
	gateway, err := tunneltest.StartGateway(tunneltest.GatewayOptions{Routes: map[string]string{to: target}})
	if err != nil {
		return nil, nil, err
	}
	text, err := gateway.Config(b.home.Dir)
	if err != nil {
		return nil, nil, errors.Join(err, gateway.Close())
	}
	config, err := b.home.Write(".config/tunhook/config.toml", text, 0o600)
	if err != nil {
		return nil, nil, errors.Join(err, gateway.Close())
	}
	return gateway, func() {
		_ = os.Remove(config)
		_ = gateway.Close()
	}, nil
}

// listening is a listener that the bench has started.
type listening struct{ *exec.Cmd }

// end ends the listener as its user does, with Ctrl-C.
func (l listening) end() {
	_ = l.Process.Signal(os.Interrupt)
	_ = l.Wait() // it was interrupted
}

// startListener starts a listener, and tells where its clients connect.
func (b *bench) startListener(args ...string) (listening, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return listening{}, "", err
	}
	l := listening{b.home.Command(b.ctx, b.tunhook, append([]string{"listen", "--notify", "never"}, append(args, addr)...)...)}
	l.Stderr = b.stderr
	stdout, err := l.StdoutPipe()
	if err != nil {
		return l, "", err
	}
	if err := l.Start(); err != nil {
		return l, "", err
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || strings.TrimSpace(line) != addr {
		l.end()
		return l, "", fmt.Errorf("the listener says %q: %w", line, err)
	}
	return l, addr, nil
}

// residentRows count what is resident beside the tunnel program while a client is connected through a listener.
func (b *bench) residentRows(front string) error {
	conn, err := net.Dial("tcp", front)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, connectionRequest); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, len(connectionRequest))); err != nil {
		return err
	}
	time.Sleep(settled)
	pids, err := b.processes()
	if err != nil {
		return err
	}
	kib := 0
	for _, pid := range pids {
		argv, _ := os.ReadFile(inProc(pid, "cmdline"))
		if words := strings.Split(string(argv), "\x00"); len(words) > 1 && (words[1] == "listen" || words[1] == "keeper") {
			kib += proportionalKiB(pid)
		}
	}
	b.table.fact("resident while connected", float64(kib)*1024/1e6, "MB", maxResident, "the listener and its keeper; Pss in /proc/PID/smaps_rollup")
	return nil
}

// proportionalKiB is a process's part of the memory that it shares with others, and all of its own, proc_pid_smaps(5).
func proportionalKiB(pid int) int {
	smaps, _ := os.ReadFile(inProc(pid, "smaps_rollup"))
	return kibAfter(string(smaps), "\nPss:")
}

// bulkRow compares how fast much data gets through a listener and its tunnel, and through socat in its place.
func (b *bench) bulkRow() error {
	name := fmt.Sprintf("%d MiB: listener ÷ socat", bulk>>20)
	if _, err := exec.LookPath("socat"); err != nil {
		b.table.missing(name, "no socat here")
		return nil
	}
	source, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer source.Close()
	go pour(source)
	to := "relay://" + source.Addr().String()
	b.table.abbreviate(to, "RELAY")
	listener, front, err := b.startListener("--ready", "listen", to)
	if err != nil {
		return err
	}
	defer listener.end()
	if _, err := b.run(b.home, b.tunhook, "start", to, b.addr); err != nil {
		return err
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	socat := b.home.Command(b.ctx, "socat", "TCP-LISTEN:"+port+",bind=127.0.0.1,reuseaddr,fork", "TCP:"+b.addr)
	if err := socat.Start(); err != nil {
		return err
	}
	defer end(socat)
	if err := until("socat listens", func() bool { return answers(addr) }); err != nil {
		return err
	}
	err = b.compare(row{
		name: name, bound: maxBulk, part: 20,
		ours:  side{b.table.show(b.tunhook, "listen", "--ready", "listen", to, b.addr), func() (time.Duration, error) { return drink(front) }},
		other: side{"socat TCP-LISTEN:PORT,fork TCP:LISTEN, " + b.table.show(b.tunhook, "start", to, b.addr), func() (time.Duration, error) { return drink(addr) }},
	})
	_, stopErr := b.run(b.home, b.tunhook, "stop", to, b.addr)
	return errors.Join(err, stopErr)
}

// pour gives whoever connects and says something what drink wants.
func pour(source net.Listener) {
	for {
		conn, err := source.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				return
			}
			chunk := make([]byte, 1<<20)
			for range bulk / len(chunk) {
				if _, err := conn.Write(chunk); err != nil {
					return
				}
			}
		}()
	}
}

func drink(addr string) (time.Duration, error) {
	began := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, conn)
	if err == nil && n != bulk {
		err = fmt.Errorf("%d bytes came, not %d", n, bulk)
	}
	return time.Since(began), err
}

// restRow counts what is resident at rest where a service manager holds the socket.
func (b *bench) restRow(to string) error {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer socket.Close()
	file, err := socket.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	// LISTEN_PID must be the listener's own: the shell's, which becomes it.
	const activate = `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`
	cmd := b.home.Command(b.ctx, "sh", "-c", activate, "sh", b.tunhook, "listen", "--notify", "never", "--linger", "100ms", "--ready", "rdp", to, socket.Addr().String())
	cmd.Stderr, cmd.ExtraFiles = b.stderr, []*os.File{file}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := firstByte(socket.Addr().String()); err != nil {
		return errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	pids, err := b.processes()
	rest := 0
	for _, pid := range pids {
		argv, _ := os.ReadFile(inProc(pid, "cmdline"))
		if strings.Contains(string(argv), socket.Addr().String()) {
			rest++
		}
	}
	b.table.fact("resident at rest, socket held", float64(rest), "processes", 0, "systemd's part played by the bench: a connection, then --linger 100ms")
	return err
}
