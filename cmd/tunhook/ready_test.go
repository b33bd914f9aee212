package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// account is a user's account with tunhook as it is released, and a listen address that nobody else uses.
type account struct {
	t       *testing.T
	dir     string
	program string // path of tunhook
	address string
	environ []string
}

// newAccount makes an account. What was started in it ends with the test.
func newAccount(t *testing.T) *account {
	t.Helper()
	dir := t.TempDir()
	a := &account{
		t: t, dir: dir, program: filepath.Join(dir, "bin", "tunhook"),
		address: fmt.Sprintf("127.%d.%d.%d:3389", 2+rand.IntN(250), rand.IntN(256), 1+rand.IntN(254)),
		environ: append(tunneltest.ProgramEnviron(),
			"HOME="+filepath.Join(dir, "home"), "XDG_RUNTIME_DIR="+filepath.Join(dir, "run"), "PATH="+filepath.Join(dir, "bin")+":/usr/bin:/bin"),
	}
	for _, sub := range []string{"home", "run", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a.install("tunhook", filepath.Join(programDir(t), "tunhook"))
	t.Cleanup(func() { a.do("stop", "--all", "--now") })
	return a
}

// install puts one of the tests' programs into the account, by a link: a file that this process writes cannot be executed for as
// long as a program that another test starts at this moment still has it open.
func (a *account) install(name, program string) {
	a.t.Helper()
	check(a.t, os.Link(program, filepath.Join(a.dir, "bin", name)))
}

// ended is what a call of tunhook has left.
type ended struct {
	stdout, stderr string
	status         int
	took           time.Duration
}

func (a *account) command(args ...string) *exec.Cmd {
	return &exec.Cmd{Path: a.program, Args: append([]string{"tunhook"}, args...), Env: a.environ, Dir: a.dir}
}

func (a *account) do(args ...string) ended {
	a.t.Helper()
	return a.finish(a.command(args...))
}

func (a *account) finish(cmd *exec.Cmd) ended {
	a.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		a.t.Fatalf("%q: %v", cmd.Args, err)
	}
	return ended{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(began)}
}

// must is do for what must succeed, and gives its output without the newline.
func (a *account) must(args ...string) string {
	a.t.Helper()
	e := a.do(args...)
	if e.status != 0 {
		a.t.Fatalf("tunhook %q: %+v", args, e)
	}
	return strings.TrimSuffix(e.stdout, "\n")
}

// refused is do for what must fail with a status and a message on stderr, and leave no tunnel behind.
func (a *account) refused(status int, message string, args ...string) {
	a.t.Helper()
	e := a.do(args...)
	if e.status != status || e.stdout != "" || !strings.HasPrefix(e.stderr, "tunhook: ") || !strings.Contains(e.stderr, message) {
		a.t.Errorf("tunhook %q: %+v, want status %d and %q", args, e, status, message)
	}
	if status == exitUsage && strings.Count(e.stderr, "\n") != 1 {
		a.t.Errorf("tunhook %q says %q, want one line", args, e.stderr)
	}
	a.nothingRuns()
}

func (a *account) nothingRuns() {
	a.t.Helper()
	if e := a.do("status"); e.stdout != "" || a.served() {
		a.t.Errorf("status is %+v, address served: %v", e, a.served())
	}
}

func (a *account) served() bool { return !tunnel.Free(netip.MustParseAddrPort(a.address)) }

func relayTo(t *testing.T, opts tunneltest.ResponderOptions) (route string) {
	t.Helper()
	server, err := tunneltest.StartResponder(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return "relay://" + server.Addr()
}

func TestWrongPromisesAreUsageErrors(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	route := relayTo(t, tunneltest.ResponderOptions{})
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][]string{
		{`--ready is "https": give listen, rdp, vnc or ssh`, "--ready", "https"},
		{`--ready is "RDP": give`, "--ready=RDP"},
		{`--end-with is "": give the PID`, "--end-with", ""},
		{`--end-with is "remmina": give the PID`, "--end-with", "remmina"},
		{`--end-with is "-1": give the PID`, "--end-with=-1"},
		{`--end-with is "0": give the PID`, "--end-with", "0"},
		{`--end-with is "1": give the PID`, "--end-with", "1"},
		{`--end-with is "99999999999999999999": give`, "--end-with", "99999999999999999999"},
		{"nothing to end with", "--end-with", strconv.Itoa(gone.Process.Pid)},
		{`--end-with is "1": give the PID`, "--end-with", "parent", "--end-with", "1"},
		{`idle-stop`, "--idle-stop", "soon"},
		{`--idle-stop is 0s`, "--idle-stop", "0s"},
		{`--idle-stop is -5s`, "--idle-stop=-5s"},
		{`--timeout is 0s`, "--timeout", "0"},
		{`--notify is "loud": give auto, always or never`, "--notify", "loud"},
	} {
		a.refused(exitUsage, test[0], append([]string{"start", route, a.address}, test[1:]...)...)
	}
	a.refused(exitRunFailed, `--ready is "https"`, "run", route, a.address, "--ready", "https", "--", "true")
}

func TestEndWithParentEndsTheTunnelWithTheCaller(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	caller := &exec.Cmd{
		Path: "/bin/sh", Env: a.environ, Dir: a.dir,
		Args: []string{"sh", "-c", `tunhook start "$1" "$2" --end-with parent; read _`, "sh", relayTo(t, tunneltest.ResponderOptions{}), a.address},
	}
	stdin, err := caller.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caller.Wait() })
	line := make([]byte, len(a.address))
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != a.address {
		t.Fatalf("start printed %q, %v", line, err)
	}
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !a.served() {
			t.Fatal("the tunnel ends while its caller lives")
		}
	}
	_ = stdin.Close()
	tunneltest.Eventually(t, "the tunnel ends with its caller", func() bool { return !a.served() })
	tunneltest.Eventually(t, "and its record", func() bool { return a.do("status").stdout == "" })
}

// TestEndWithParentOfAScriptLeavesTheTunnelToItsCaller, where the script does no more than to start the tunnel before somebody connects.
func TestEndWithParentOfAScriptLeavesTheTunnelToItsCaller(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	route := relayTo(t, tunneltest.ResponderOptions{})
	for name, script := range map[string]string{
		"a shell": `tunhook start "$1" "$2" --end-with parent; exit`, "a program that runs another": `timeout 60 tunhook start "$1" "$2" --end-with parent`,
	} {
		cmd := &exec.Cmd{Path: "/bin/sh", Env: a.environ, Dir: a.dir, Args: []string{"sh", "-c", script, "sh", route, a.address}}
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			if !a.served() {
				t.Fatalf("%s: the tunnel ends with it", name)
			}
		}
		a.do("stop", route, a.address)
		a.nothingRuns()
	}
}

// Remmina may be gone before its hook has got to it: then the hook's parent is whoever takes in orphans.
func TestEndWithParentOfAnOrphanIsRefused(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	out := filepath.Join(a.dir, "out")
	const script = `(while kill -0 $$ 2>/dev/null; do sleep 0.02; done
		exec sh -c 'echo $PPID; exec tunhook start "$1" "$2" --end-with parent' sh "$1" "$2" >"$3" 2>&1) &`
	if err := (&exec.Cmd{
		Path: "/bin/sh", Env: a.environ, Dir: a.dir,
		Args: []string{"sh", "-c", script, "sh", relayTo(t, tunneltest.ResponderOptions{}), a.address, out},
	}).Run(); err != nil {
		t.Fatal(err)
	}
	var text string
	tunneltest.Eventually(t, "start says something", func() bool {
		data, _ := os.ReadFile(out)
		text = string(data)
		return strings.Count(text, "\n") > 1
	})
	parent, said, _ := strings.Cut(text, "\n")
	if parent != "1" {
		t.Skipf("orphans go to process %s here", parent)
	}
	if !strings.HasPrefix(said, "tunhook: --end-with parent: ") || !strings.Contains(said, "nothing to end with") {
		t.Errorf("start said %q", said)
	}
	a.nothingRuns()
}

// startGateway gives the account a stand-in for pomerium-cli and a gateway that demands a sign-in.
func (a *account) startGateway(opts tunneltest.GatewayOptions) *tunneltest.Gateway {
	a.t.Helper()
	gateway, err := tunneltest.StartGateway(opts)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = gateway.Close() })
	a.install("pomerium-cli", filepath.Join(programDir(a.t), "pomerium-cli"))
	config, err := gateway.Config(a.dir, "--browser-cmd", "true")
	if err != nil {
		a.t.Fatal(err)
	}
	dir := filepath.Join(a.dir, "home", ".config", "tunhook")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return gateway
}

func TestEachWayNotToBecomeReadyHasItsStatus(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	right, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer right.Close()
	wrong, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.VNC})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	nobody, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	gateway := a.startGateway(tunneltest.GatewayOptions{
		DemandSignIn: true,
		Routes:       map[string]string{"right.example.com:3389": right.Addr(), "wrong.example.com:3389": wrong.Addr(), "down.example.com:3389": nobody.Addr()},
		Refused:      []string{"refused.example.com:3389"},
	})

	a.refused(exitTimeout, "waited 20s for somebody to sign in", "start", "right.example.com:3389", a.address, "--ready", "rdp", "--timeout", "20s") // it must have been asked by then
	page, err := gateway.NextSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signedIn := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), tunneltest.Patience)
		defer cancel()
		page, err := gateway.NextSignIn(ctx)
		if err == nil {
			err = gateway.SignIn(ctx, page)
		}
		signedIn <- err
	}()
	e := a.do("start", "right.example.com:3389", a.address, "--ready", "rdp")
	if e.status != exitDone || e.stdout != a.address+"\n" || !strings.Contains(e.stderr, "tunhook: sign in at https://") || strings.Contains(e.stderr, page) {
		t.Errorf("start: %+v", e)
	}
	if err := <-signedIn; err != nil {
		t.Error(err)
	}
	a.must("stop", "right.example.com:3389", a.address)

	a.refused(exitFailed, "refused", "start", "refused.example.com:3389", a.address, "--ready", "rdp")
	a.refused(exitRouteDown, "the route is down", "start", "down.example.com:3389", a.address, "--ready", "rdp")
	a.refused(exitProtocol, "does not speak RDP", "start", "wrong.example.com:3389", a.address, "--ready", "rdp")
	a.refused(exitRunFailed, "does not speak RDP", "run", "wrong.example.com:3389", a.address, "--ready", "rdp", "--", "true")
	if got := gateway.SignIns(); got != 2 {
		t.Errorf("%d browser tabs were opened, want one for each of two starts while signed out", got)
	}
}

func TestStopSaysWhoUsesTheTunnel(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	route := relayTo(t, tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	a.must("start", route, a.address)
	client := &exec.Cmd{Path: "/bin/bash", Args: []string{"bash", "-c", `exec 3<>"/dev/tcp/${1%:*}/${1#*:}" && echo connected && read -r _ <&3`, "bash", a.address}}
	stdout, err := client.StdoutPipe()
	if err == nil {
		err = client.Start()
	}
	if err != nil {
		t.Skipf("no bash to be the client: %v", err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("connected"))); err != nil {
		t.Fatal(err)
	}
	e := a.do("stop", route, a.address)
	if want := fmt.Sprintf("in use by bash (pid %d)", client.Process.Pid); e.status != 0 || !strings.Contains(e.stderr, want) {
		t.Errorf("stop: %+v, want %q", e, want)
	}
	if status := a.must("status", "--json"); !strings.Contains(status, `"state": "ending when idle"`) {
		t.Errorf("status: %s", status)
	}
	_ = client.Process.Kill()
	_ = client.Wait()
	tunneltest.Eventually(t, "the tunnel ends", func() bool { return !a.served() })
}
