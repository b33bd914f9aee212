package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// shell is a program that a shell's script is.
func shell(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", script, "sh"}, args...)
}

// relayStdio runs a relay to a program until the test ends, and gives its address.
func relayStdio(t *testing.T, argv []string) (addr, log string, stop func() error) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	for range 20 {
		addr = freeAddr(t)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- Stdio{argv, syscall.SIGTERM, file}.Relay(ctx, addr) }()
		stop = sync.OnceValue(func() error { cancel(); return <-done })
		t.Cleanup(func() { _ = stop() })
		if up(t, addr, done) {
			return addr, file.Name(), stop
		}
	}
	t.Fatal("no address stays free")
	return
}

func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ownPort()))
		if err == nil {
			l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// ownPort is one of those that the system gives nobody by itself, on this address or on all.
func ownPort() uint16 { return uint16(12000 + rand.IntN(8000)) }

// whose is the process whose pid is the first line that comes on a connection.
func whose(t *testing.T, conn io.Reader) process.Identity {
	t.Helper()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	id, err := process.Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func awaitGone(t *testing.T, ids ...process.Identity) {
	t.Helper()
	for _, id := range ids {
		tunneltest.Eventually(t, fmt.Sprintf("the end of process %d", id.PID), func() bool { return !id.Alive() })
	}
}

func TestStdioCarriesBothWaysUnchanged(t *testing.T) {
	t.Parallel()
	addr, _, _ := relayStdio(t, []string{"/bin/cat"})
	var all sync.WaitGroup
	for i := range 20 {
		conn, data := connect(t, addr), noise(1<<20+i)
		all.Go(func() {
			_, _ = conn.Write(data)
			_ = conn.CloseWrite()
		})
		all.Go(func() {
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back, %v; want %d unchanged", len(got), err, len(data))
			}
		})
	}
	all.Wait()
}

func TestStdioPassesHalfClosesOn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "heard")
	addr, _, _ := relayStdio(t, shell(`printf bye; exec >&-; cat > "$1.new"; mv "$1.new" "$1"`, file))
	conn := connect(t, addr)
	if said, err := io.ReadAll(conn); err != nil || string(said) != "bye" {
		t.Errorf("the program said %q, %v", said, err)
	}
	_, _ = conn.Write([]byte("still here"))
	_ = conn.CloseWrite()
	tunneltest.Eventually(t, "the end of what the client says", func() bool {
		heard, err := os.ReadFile(file)
		return err == nil && string(heard) == "still here"
	})
}

func TestStdioEndsTheConnectionWithTheProgram(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"and all it started":  `sleep 600 & echo said`,
		"but not its daemons": `setsid sleep 100 & echo said`, // which holds the program's output open
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _, _ := relayStdio(t, shell(script))
			if said, err := io.ReadAll(connect(t, addr)); err != nil || string(said) != "said\n" {
				t.Errorf("%q, %v", said, err)
			}
		})
	}
}

func TestStdioEndsTheProgramWithTheConnection(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"one that reads":               `echo $$; exec cat`,
		"one that has stopped to":      `echo $$; exec sleep 600`,
		"one that does not obey":       `trap "" TERM; echo $$; exec sleep 600`,
		"one that serves by a child":   `sh -c 'echo $$; exec sleep 600'; true`,
		"one that writes all the time": `echo $$; while :; do echo and on; done`,
	} {
		for how, leave := range map[string]func(*net.TCPConn){
			"in good order": func(conn *net.TCPConn) { conn.Close() },
			"by a reset":    func(conn *net.TCPConn) { _ = conn.SetLinger(0); conn.Close() },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				addr, log, _ := relayStdio(t, shell(script))
				conn := connect(t, addr)
				program := whose(t, conn)
				leave(conn)
				awaitGone(t, program)
				if said, _ := os.ReadFile(log); len(said) > 0 {
					t.Errorf("that it ended is no trouble, but the log says %q", said)
				}
			})
		}
	}
}

func TestStdioSaysWhyAProgramFailed(t *testing.T) {
	t.Parallel()
	addr, log, _ := relayStdio(t, shell(`echo not logged in >&2; exit 3`))
	if said, err := io.ReadAll(connect(t, addr)); err != nil || len(said) > 0 {
		t.Errorf("%q, %v", said, err)
	}
	tunneltest.Eventually(t, "both lines in the log", func() bool {
		text, _ := os.ReadFile(log)
		return strings.HasPrefix(string(text), "not logged in\nrelay: ") && strings.HasSuffix(string(text), ": sh: exit status 3\n")
	})
}

func TestStoppedStdioRelayLeavesNoProgram(t *testing.T) {
	t.Parallel()
	addr, _, stop := relayStdio(t, shell(`echo $$; exec cat`))
	var programs []process.Identity
	for range 10 {
		programs = append(programs, whose(t, connect(t, addr)))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, p := range programs {
		if p.Alive() {
			t.Errorf("process %d is left", p.PID)
		}
	}
}

// stdioRelay, a role, is a relay that somebody else ends. Its program reads nothing.
func stdioRelay(args []string) error {
	return Stdio{shell("echo $$; exec sleep 600"), syscall.SIGTERM, os.Stderr}.Relay(context.Background(), args[0])
}

func TestKilledStdioRelayLeavesNoProgram(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	relay := startHelper(t, "stdio", addr)
	up(t, addr, nil)
	program := whose(t, connect(t, addr))
	relay.kill()
	awaitGone(t, program)
}
