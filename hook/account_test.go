package hook_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// The routes of a world's gateway.
const (
	desk    = "desk.example.com:3389"    // to the world's server
	dead    = "dead.example.com:3389"    // to nobody
	refused = "refused.example.com:3389" // to nobody's but others' use
)

// account is an account of its own, with a gateway that demands a sign-in, a server behind it, and a stand-in for pomerium-cli
// on its PATH. No process of it outlives its test.
type account struct {
	*hook.Env
	t       *testing.T
	dir     string
	gateway *tunneltest.Gateway
	server  *tunneltest.Responder
	address string // a listen address that nobody else uses
}

func newAccount(t *testing.T, server tunneltest.ResponderOptions, environ ...string) *account {
	t.Helper()
	w := &account{t: t, dir: t.TempDir(), address: loopbackAddress()}
	var err error
	if w.server, err = tunneltest.StartResponder(server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.server.Close() })
	nobody, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	w.gateway, err = tunneltest.StartGateway(tunneltest.GatewayOptions{
		Routes: map[string]string{desk: w.server.Addr(), dead: nobody.Addr()}, Refused: []string{refused}, DemandSignIn: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.gateway.Close() })
	w.writeConfig()
	w.Env = hookOf(slices.Concat(tunneltest.ProgramEnviron(), []string{
		dirVariable + "=" + w.dir,
		"HOME=" + w.dir,
		"PATH=" + w.dir + ":/usr/bin:/bin",
		racedVariable + "=" + raced,
	}, environ))
	t.Cleanup(func() {
		left := w.left()
		for _, id := range left {
			kill(id)
		}
		if t.Failed() {
			log, _ := filepath.Glob(filepath.Join(w.dir, "log", "*"))
			for _, path := range log {
				data, _ := os.ReadFile(path)
				t.Logf("%s:\n%s", filepath.Base(path), data)
			}
		}
	})
	return w
}

// loopbackAddress is one of 16 million, on a port that the system gives nobody by itself.
func loopbackAddress() string {
	return fmt.Sprintf("127.%d.%d.%d:3389", 2+rand.IntN(250), rand.IntN(256), 1+rand.IntN(254))
}

func (w *account) writeConfig() {
	w.t.Helper()
	if err := os.Symlink(self, filepath.Join(w.dir, "pomerium-cli")); err != nil {
		w.t.Fatal(err)
	}
	config, err := w.gateway.Config(w.dir, "--browser-cmd", "true")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "config.toml"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// relay is a route to the world's server that no gateway guards.
func (w *account) relay() string { return "relay://" + w.server.Addr() }

// context bounds a whole test.
func (w *account) context() context.Context {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*tunneltest.Patience)
	w.t.Cleanup(cancel)
	return ctx
}

// request is for a tunnel at the world's address.
func (w *account) request(route, ready string) hook.StartRequest {
	return hook.StartRequest{Route: route, Listen: w.address, Ready: ready}
}

// outcome is how a call of Start ended.
type outcome struct {
	started hook.Started
	err     error
	took    time.Duration
}

// starting calls Start beside the test.
func (w *account) starting(ctx context.Context, req hook.StartRequest) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		began := time.Now()
		started, err := w.Start(ctx, req)
		done <- outcome{started, err, time.Since(began)}
	}()
	return done
}

// mustStart starts a tunnel that becomes ready.
func (w *account) mustStart(req hook.StartRequest) hook.Started {
	w.t.Helper()
	started, err := w.Start(w.context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return started
}

// mustStop stops the tunnel for a route at the world's address.
func (w *account) mustStop(req hook.StopRequest) hook.Stopped {
	w.t.Helper()
	req.Listen = w.address
	stopped, err := w.Stop(w.context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return stopped
}

// following follows the log of a route's tunnel at the world's address.
func (w *account) following(route string) (log *syncBuffer, done <-chan error) {
	log, ended := new(syncBuffer), make(chan error, 1)
	ctx := w.context()
	go func() { ended <- w.Logs(ctx, route, w.address, true, log) }()
	return log, ended
}

func (w *account) nextSignIn() string {
	w.t.Helper()
	page, err := w.gateway.NextSignIn(w.context())
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

// signInAlways is a person who signs in whenever a page is asked for, until the test ends.
func (w *account) signInAlways() {
	ctx := w.t.Context()
	go func() {
		for {
			page, err := w.gateway.NextSignIn(ctx)
			if err != nil {
				return
			}
			_ = w.gateway.SignIn(ctx, page) // the program may be gone meanwhile
		}
	}()
}

func (w *account) expectTabs(want int) {
	w.t.Helper()
	if got := w.gateway.SignIns(); got != want {
		w.t.Errorf("%d browser tabs were opened, want %d", got, want)
	}
}

// served tells whether anybody listens at the world's address. It does not connect.
func (w *account) served() bool { return !tunnel.Free(netip.MustParseAddrPort(w.address)) }

// answers tells whether an RDP server answers through the tunnel.
func (w *account) answers() error {
	return tunnel.Probe(w.context(), netip.MustParseAddrPort(w.address), tunnel.ReadyRDP)
}

// record reads the only record there is; ok is false where there is none.
func (w *account) record() (rec pidfile.Record, ok bool) {
	w.t.Helper()
	dir, err := pidfile.PrivateDir(w.RunDir, false, false)
	if err != nil {
		w.t.Fatal(err)
	}
	entries, err := dir.List()
	if err != nil || len(entries) > 1 {
		w.t.Fatalf("%d records, %v", len(entries), err)
	}
	if len(entries) == 0 {
		return pidfile.Record{}, false
	}
	return entries[0].Record, true
}

// freeze stops a process, as Ctrl-Z does, at a moment at which it does not hold the lock of the only record.
func (w *account) freeze(pid int) {
	w.t.Helper()
	dir, err := pidfile.PrivateDir(w.RunDir, false, false)
	check(w.t, err)
	lock, err := dir.Lock(w.context(), w.mustRecord().Key())
	check(w.t, err)
	check(w.t, syscall.Kill(pid, syscall.SIGSTOP))
	check(w.t, lock.Unlock())
}

// mustRecord is the record of a tunnel whose program has been launched. Its identity is recorded after that: by then it may be doing
// what the test waited for.
func (w *account) mustRecord() pidfile.Record {
	w.t.Helper()
	var rec pidfile.Record
	tunneltest.Eventually(w.t, "the program is recorded", func() bool {
		var ok bool
		if rec, ok = w.record(); !ok {
			w.t.Fatal("there is no record")
		}
		return rec.Tunnel.PID != 0
	})
	return rec
}

// keeper is the tunnel's living keeper.
func (w *account) keeper() process.Identity {
	w.t.Helper()
	rec := w.mustRecord()
	if !rec.Keeper.Alive() {
		w.t.Fatalf("the tunnel has no keeper: %+v", rec)
	}
	return rec.Keeper
}

// awaitKeeper waits until the keeper waits for the end of the tunnel program.
func (w *account) awaitKeeper() {
	w.t.Helper()
	w.keeperWatches(w.mustRecord().Tunnel)
}

// keeperWatches waits until the keeper waits for the end of a process: fdinfo tells which one a pidfd is of, proc_pid_fdinfo(5).
func (w *account) keeperWatches(id process.Identity) {
	w.t.Helper()
	keeper := w.mustRecord().Keeper
	want := fmt.Sprintf("\nPid:\t%d\n", id.PID)
	tunneltest.Eventually(w.t, "the keeper is at work", func() bool {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", keeper.PID))
		return slices.ContainsFunc(files, func(file string) bool {
			info, err := os.ReadFile(file)
			return err == nil && bytes.Contains(info, []byte(want))
		})
	})
}

// left are the processes of the world that live.
func (w *account) left() []process.Identity {
	var found []process.Identity
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		environ, err := os.ReadFile(name + "/environ")
		if err != nil || !bytes.Contains(environ, []byte(dirVariable+"="+w.dir+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil {
			if id, err := process.Identify(pid); err == nil {
				found = append(found, id)
			}
		}
	}
	return found
}

// nothingLeft waits until there is neither a process nor a file of the tunnel: a keeper notices the end of its tunnel only when
// it looks next.
func (w *account) nothingLeft() {
	w.t.Helper()
	var what string
	for began := time.Now(); ; tunneltest.Pause(began) {
		files, err := filepath.Glob(filepath.Join(w.RunDir, "*"))
		what = fmt.Sprint(w.left(), files, err)
		if what == fmt.Sprint([]process.Identity{}, []string(nil), nil) && !w.served() {
			return
		}
		if time.Since(began) > tunneltest.Patience {
			w.t.Fatalf("left behind: %s, address served: %v", what, w.served())
		}
	}
}

// never watches for a time that something does not happen.
func (w *account) never(d time.Duration, what string, happened func() bool) {
	w.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if happened() {
			w.t.Fatalf("happened: %s", what)
		}
	}
}

func (w *account) gone() bool {
	_, ok := w.record()
	return !ok && !w.served()
}

func kill(id process.Identity) {
	if p, err := process.Open(id); err == nil {
		_ = p.Signal(syscall.SIGKILL)
		p.Close()
	}
}

// send sends a signal to a process that must be there.
func send(t *testing.T, id process.Identity, sig syscall.Signal) {
	t.Helper()
	p, err := process.Open(id)
	if err == nil {
		err = p.Signal(sig)
		p.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// player is a program of the world's, in a role of TestMain.
type player struct {
	t     *testing.T
	cmd   *exec.Cmd
	id    process.Identity
	lines *bufio.Scanner
	stdin io.WriteCloser
}

// start starts a program in a role; what is neither a string is handed over as JSON.
func (w *account) process(role string, argument any) *player {
	w.t.Helper()
	text, ok := argument.(string)
	if !ok {
		data, err := json.Marshal(argument)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(data)
	}
	p := &player{t: w.t, cmd: &exec.Cmd{Path: w.Self, Args: []string{w.Self, role, text}, Env: w.Environ}}
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err == nil {
		p.id, err = process.Identify(p.cmd.Process.Pid)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	w.t.Cleanup(p.kill)
	return p
}

// client is a client of the world's tunnel.
func (w *account) client() *player {
	w.t.Helper()
	p := w.process("client", w.address)
	p.expect("connected")
	return p
}

// holder is a process that a tunnel may be there for, and that does nothing.
func (w *account) holder() *player {
	w.t.Helper()
	return w.process("client", w.server.Addr())
}

func (p *player) expect(line string) {
	p.t.Helper()
	if !p.lines.Scan() || p.lines.Text() != line {
		p.t.Fatalf("the process says %q (%v), want %q", p.lines.Text(), p.lines.Err(), line)
	}
}

func (p *player) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed: the status says so
}

// failedWith checks that an error is a *hook.FailedError with that cause.
func failedWith(t *testing.T, err, cause error) *hook.FailedError {
	t.Helper()
	var failed *hook.FailedError
	if !errors.As(err, &failed) || !errors.Is(err, cause) {
		t.Fatalf("got %T %v, want a *FailedError for %v", err, err, cause)
	}
	return failed
}
