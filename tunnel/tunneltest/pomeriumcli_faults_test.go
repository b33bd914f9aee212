package tunneltest_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// startStandIn runs the stand-in with faults, listening on a free port unless they say otherwise.
func startStandIn(t *testing.T, faults ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "pomerium-cli")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	return startFaulty(t, program, t.TempDir(), faults, "tcp", liveRoute, "--listen", "127.0.0.1:0",
		"--pomerium-url", "https://"+deadAddress(t))
}

func TestFaultExitEndsAtOnceWithItsStatusAndText(t *testing.T) {
	for _, tc := range []struct {
		value, text string
		status      int
	}{
		{"0 all is well", "all is well\n", 0},
		{"3 one line\nanother", "one line\nanother\n", 3},
	} {
		p := startStandIn(t, "TUNNELTEST_EXIT="+tc.value)
		p.expectStatus(t, tc.status)
		if got := p.stderr.String(); !strings.HasPrefix(got, tc.text) {
			t.Errorf("TUNNELTEST_EXIT=%q wrote %q", tc.value, got)
		}
	}
}

func TestFaultDelayKeepsItFromListening(t *testing.T) {
	const delay = 50 * time.Millisecond
	began := time.Now()
	p := startStandIn(t, "TUNNELTEST_DELAY="+delay.String())
	dial(t, p.addr(t))
	if took := time.Since(began); took < delay {
		t.Errorf("listened after %v, want at least %v", took, delay)
	}
}

func TestFaultAwaitKeepsItFromListeningUntilAFileIsThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "listen")
	p := startStandIn(t, "TUNNELTEST_AWAIT="+file)
	time.Sleep(50 * time.Millisecond)
	if said := p.stdout.String(); strings.Contains(said, "listener") {
		t.Errorf("it listens before: %s", said)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dial(t, p.addr(t))
}

func TestFaultDelayEndsOnSIGTERM(t *testing.T) {
	p := startStandIn(t, "TUNNELTEST_DELAY=1h")
	terminateWhenHandled(t, p)
	p.expectStatus(t, 0)
	if strings.Contains(p.stdout.String(), "listener") {
		t.Error("listened all the same")
	}
}

// terminateWhenHandled sends SIGTERM once the process has a handler for it, before which it would die of it.
func terminateWhenHandled(t *testing.T, p *process) {
	t.Helper()
	// The token cache is made after the handler was installed.
	tunneltest.Eventually(t, "the program is under way", func() bool {
		_, err := os.Stat(filepath.Join(p.home, ".cache", "pomerium-cli", "jwts"))
		return err == nil
	})
	terminate(t, p.cmd.Process.Pid)
}

func terminate(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func TestFaultListenOverridesTheAddress(t *testing.T) {
	want := freeAddress(t)
	p := startStandIn(t, "TUNNELTEST_LISTEN="+want)
	if got := p.addr(t); got != want {
		t.Errorf("listens on %s, want %s", got, want)
	}
}

func TestFaultIgnoreTermOutlivesSIGTERM(t *testing.T) {
	p := startStandIn(t, "TUNNELTEST_IGNORE_TERM=1")
	address := p.addr(t)
	terminate(t, p.cmd.Process.Pid)
	dial(t, address)
	p.expect(t, `"message":"connecting"`)
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.expectStatus(t, 0)
	if got := p.stdout.String(); strings.Contains(got, "terminated") || !strings.Contains(got, "interrupt") {
		t.Errorf("did not end by SIGINT alone: %s", got)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("still listens")
	}
}

var childPattern = regexp.MustCompile(`"pid":"(\d+)".*"message":"started child"`)

func TestFaultGenerationsLeaveTheListenerBehind(t *testing.T) {
	p := startStandIn(t, "TUNNELTEST_GENERATIONS=2")
	address := p.addr(t)
	matches := childPattern.FindAllStringSubmatch(p.stdout.String(), -1)
	if len(matches) != 2 {
		t.Fatalf("%d descendants, want 2", len(matches))
	}
	grandchild, err := strconv.Atoi(matches[1][1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(grandchild, syscall.SIGKILL) })

	terminate(t, p.cmd.Process.Pid)
	tunneltest.Eventually(t, "the leader ends", func() bool {
		return errors.Is(p.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone)
	})
	dial(t, address)

	terminate(t, grandchild)
	p.expectStatus(t, 0) // comes once all three have ended: each holds the pipes
}

func TestFaultsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, fault := range []string{"TUNNELTEST_EXIT=now", "TUNNELTEST_DELAY=5", "TUNNELTEST_GENERATIONS=many"} {
		p := startStandIn(t, fault)
		p.expectStatus(t, 2)
		if name, _, _ := strings.Cut(fault, "="); !strings.Contains(p.stderr.String(), name+": ") {
			t.Errorf("%s: stderr is %q", fault, p.stderr.String())
		}
	}
}
