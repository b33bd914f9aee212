package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// world is a user's account as tunhook sees it: its own HOME and runtime directory, and a mark in the environment by which
// every process that was started in it is found, whatever became of the process that started it.
type world struct {
	t       testing.TB
	dir     string
	program string // path of tunhook
	environ []string
	mark    string
}

// markVariable carries the mark of a world.
const markVariable = "TUNHOOK_TEST_MARK"

// newWorld makes a world with tunhook as it is released. It fails the test where a process is left in the end.
func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	bin := programDir(t)
	w := &world{t: t, dir: dir, program: filepath.Join(bin, "tunhook"), mark: newMark()}
	w.environ = worldEnviron(dir, bin, w.mark)
	if err := makeWorld(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := w.left(); len(left) > 0 {
			t.Errorf("left behind: %s", describe(left))
			killAll(left)
		}
	})
	return w
}

func makeWorld(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "home"), 0o700); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(dir, "run"), 0o700)
}

func worldEnviron(dir, bin, mark string) []string {
	return append(tunneltest.ProgramEnviron(),
		"HOME="+filepath.Join(dir, "home"),
		"XDG_RUNTIME_DIR="+filepath.Join(dir, "run"),
		"XDG_CONFIG_DIRS="+filepath.Join(dir, "etc"),
		"PATH="+bin+":/usr/bin:/bin",
		markVariable+"="+mark,
	)
}

func newMark() string { return fmt.Sprintf("%d-%d", os.Getpid(), rand.Uint64()) }

// with gives the same world with more variables.
func (w *world) with(variables ...string) *world {
	more := *w
	more.environ = slices.Concat(w.environ, variables)
	return &more
}

// without gives the same world without some variables.
func (w *world) without(names ...string) *world {
	less := *w
	less.environ = slices.DeleteFunc(slices.Clone(w.environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(names, name)
	})
	return &less
}

func (w *world) path(elements ...string) string {
	return filepath.Join(append([]string{w.dir}, elements...)...)
}

// runDir is where the records are.
func (w *world) runDir() string { return w.path("run", "tunhook") }

// command is tunhook with these arguments.
func (w *world) command(args ...string) *exec.Cmd {
	return &exec.Cmd{Path: w.program, Args: append([]string{"tunhook"}, args...), Env: w.environ, Dir: w.dir}
}

// result is what a finished process has left.
type result struct {
	stdout, stderr string
	status         int
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("status %d after %v, stdout %q, stderr %q", r.status, r.took, r.stdout, r.stderr)
}

// do runs tunhook.
func (w *world) do(args ...string) result {
	w.t.Helper()
	return w.finish(w.command(args...))
}

// finish runs a command that must be done in time, and reads its output through pipes, to their end.
func (w *world) finish(cmd *exec.Cmd) result {
	w.t.Helper()
	return <-w.background(cmd)
}

// background runs such a command and returns when it has started; the channel gives its result.
func (w *world) background(cmd *exec.Cmd) <-chan result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	done := make(chan result, 1)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		w.t.Errorf("%q: %v", cmd.Args, err)
		done <- result{status: -1}
		return done
	}
	late := time.AfterFunc(5*tunneltest.Patience, func() { _ = cmd.Process.Kill() })
	go func() {
		_ = cmd.Wait() // the state says it all
		if !late.Stop() {
			stderr.WriteString("(killed: it took too long)")
		}
		done <- result{stdout.String(), stderr.String(), shellStatus(cmd.ProcessState), time.Since(began)}
	}()
	return done
}

// shellStatus is the status as a shell has it: 128+N for signal N.
func shellStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}

// must runs tunhook, which must succeed, and gives its output without the newline.
func (w *world) must(args ...string) string {
	w.t.Helper()
	r := w.do(args...)
	if r.status != 0 {
		w.t.Fatalf("tunhook %s: %v", strings.Join(args, " "), r)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// records reads the records there are; each must be a good one.
func (w *world) records() []pidfile.Record {
	w.t.Helper()
	dir, err := pidfile.PrivateDir(w.runDir(), true, false)
	if err != nil {
		w.t.Fatal(err)
	}
	entries, err := dir.List()
	if err != nil {
		w.t.Fatal(err)
	}
	var records []pidfile.Record
	for _, e := range entries {
		if e.Err != nil {
			w.t.Fatal(e.Err)
		}
		records = append(records, e.Record)
	}
	return records
}

// record reads the one record there is.
func (w *world) record() pidfile.Record {
	w.t.Helper()
	records := w.records()
	if len(records) != 1 {
		w.t.Fatalf("there are %d records, want 1: %+v", len(records), records)
	}
	return records[0]
}

// recordFile gives the path of the one record there is.
func (w *world) recordFile() string {
	w.t.Helper()
	return filepath.Join(w.runDir(), w.record().Key().Name()+".json")
}

// editRecord changes keys of the one record there is, as somebody with an editor would.
func (w *world) editRecord(change func(record map[string]any)) {
	w.t.Helper()
	path := w.recordFile()
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	var record map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&record); err != nil {
		w.t.Fatal(err)
	}
	change(record)
	if data, err = json.Marshal(record); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// left gives the processes of this world that live.
func (w *world) left() []process.Identity { return marked(w.mark) }

// nothingLeft fails the test where the world has a process or a record.
func (w *world) nothingLeft() {
	w.t.Helper()
	if left := w.left(); len(left) > 0 {
		w.t.Errorf("left behind: %s", describe(left))
	}
	files, _ := filepath.Glob(filepath.Join(w.runDir(), "*"))
	if len(files) > 0 {
		w.t.Errorf("left behind: %q", files)
	}
}

// marked finds the live processes with a mark in their environment.
func marked(mark string) []process.Identity {
	var found []process.Identity
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		environ, err := os.ReadFile(name + "/environ")
		if err != nil || !bytes.Contains(environ, []byte(markVariable+"="+mark+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if id, err := process.Identify(pid); err == nil {
			found = append(found, id)
		}
	}
	return found
}

func describe(processes []process.Identity) string {
	var b strings.Builder
	for _, id := range processes {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
		fmt.Fprintf(&b, "%d %q; ", id.PID, strings.Split(string(cmdline), "\x00"))
	}
	return b.String()
}

func killAll(processes []process.Identity) {
	for _, id := range processes {
		if p, err := process.Open(id); err == nil {
			_ = p.Signal(syscall.SIGKILL)
			p.Close()
		}
	}
}

// files gives the regular files below some directories with what they hold, except logs, which stay for people to read.
func files(dirs ...string) map[string]string {
	found := map[string]string{}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".log") {
				data, _ := os.ReadFile(path)
				found[path] = string(data)
			}
			return nil // what cannot be read now could not before
		})
	}
	return found
}

// echoServer answers with what it is sent; it is where the tests' tunnels lead.
func echoServer(t testing.TB) string {
	t.Helper()
	r, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.Addr()
}

// roundTrip sends a few bytes to address, reads them back, and waits for the other side to hang up after it has. Closing alone
// would leave the connection open for as long as a program that another test starts at this moment still has it, too.
func roundTrip(address string) error {
	conn, err := net.DialTimeout("tcp", address, tunneltest.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(tunneltest.Patience))
	const text = "there and back"
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != text {
		return fmt.Errorf("sent %q, got %q, %w", text, got, err)
	}
	return nil
}

// Ports of the tests lie below those that the system gives out by itself.
const firstPort, lastPort = 20000, 32000

var nextPort atomic.Uint32

// freePort finds a port that nobody has and that no other test, of this run or another, gets while guard is open.
func freePort() (port string, guard net.Listener, err error) {
	nextPort.CompareAndSwap(0, rand.Uint32N(lastPort-firstPort))
	for range 1000 {
		port := strconv.Itoa(int(firstPort + nextPort.Add(1)%(lastPort-firstPort)))
		guard, err := net.Listen("tcp", "127.255.255.254:"+port)
		if err != nil {
			continue
		}
		if free("127.0.0.1:" + port) {
			return port, guard, nil
		}
		guard.Close()
	}
	return "", nil, errors.New("no free port was found")
}

// port gives a free port for the whole test.
func port(t testing.TB) string {
	t.Helper()
	port, guard, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guard.Close() })
	return port
}

// served tells whether anybody listens on address, without an attempt to do so: that would be in the way of who is about to.
func served(address string) bool { return !tunnel.Free(netip.MustParseAddrPort(address)) }

// free tells whether one could listen on address this instant. Nothing is forked meanwhile: what another test starts would have
// the listener open for a moment more.
func free(address string) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// wildcardAddress is every interface, at a port that the system gives nobody by itself, nor freePort any test.
func wildcardAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		if address := fmt.Sprintf("0.0.0.0:%d", 5000+rand.IntN(7000)); free(address) {
			return address
		}
	}
	t.Fatal("no free port was found")
	return ""
}

// times is by how much tests with many rounds have more of them than usual: TUNHOOK_TIMES.
func times(t *testing.T) uint64 {
	t.Helper()
	return fromEnviron(t, "TUNHOOK_TIMES", 1)
}

func fromEnviron(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	check(t, err)
	return n
}
