package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// withSteps gives the world a [tunnel.vpn] whose commands before and after write a line each into the file that is returned.
func (w *world) withSteps(t *testing.T) (did func() string) {
	dir := filepath.Join(w.dir, "home", ".config", "tunhook")
	check(t, os.MkdirAll(dir, 0o700))
	file := filepath.Join(w.dir, "steps")
	check(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(`
[tunnel.vpn]
route = "relay://127.0.0.1:9"
before = [["sh", "-c", "echo up >>`+file+`"]]
after = [["sh", "-c", "sleep 0.5; echo down >>`+file+`"]]
`), 0o600))
	return func() string {
		text, _ := os.ReadFile(file)
		return string(text)
	}
}

// TestStepsRunOnceHoweverManyStartAndStop at the same time.
func TestStepsRunOnceHoweverManyStartAndStop(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	did := w.withSteps(t)
	for _, command := range []string{"start", "stop"} {
		for _, r := range atOnce(8, func(int) result { return w.do(command, "vpn", port) }) {
			if r.status != exitDone {
				t.Errorf("%s: %v", command, r)
			}
		}
	}
	if got := did(); got != "up\ndown\n" {
		t.Errorf("what ran: %q", got)
	}
	w.nothingLeft()
}

// TestAKilledStopDoesNotKeepWhatComesAfterFromRunning: the keeper of the tunnel is there for that.
func TestAKilledStopDoesNotKeepWhatComesAfterFromRunning(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	did := w.withSteps(t)
	w.must("start", "vpn", port)
	stop := w.command("stop", "vpn", port)
	check(t, stop.Start())
	tunneltest.Eventually(t, "the stop runs what comes after", func() bool {
		all := w.records()
		return len(all) == 0 || all[0].Cleaner.PID == stop.Process.Pid
	})
	_ = stop.Process.Kill()
	_ = stop.Wait()
	tunneltest.Eventually(t, "the tunnel is gone, and what comes after has run", func() bool {
		return len(w.records()) == 0 && strings.HasSuffix(did(), "down\n") && len(w.left()) == 0
	})
	w.nothingLeft()
}

// TestWhatComesBeforeAProgramComesBeforeItAgain where its keeper starts it again: what it needs may be gone, too.
func TestWhatComesBeforeAProgramComesBeforeItAgain(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	did := w.withSteps(t)
	w.must("start", "--keep-alive", "--end-with", fmt.Sprint(os.Getpid()), "vpn", port)
	rec := w.record()
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	tunneltest.Eventually(t, "it is started again", func() bool {
		now := w.record()
		return now.Tunnel.PID != 0 && now.Tunnel != rec.Tunnel && served("127.0.0.1:"+port)
	})
	if got := did(); got != "up\nup\n" {
		t.Errorf("what ran: %q", got)
	}
	w.must("stop", "vpn", port)
	if got := did(); got != "up\nup\ndown\n" {
		t.Errorf("what ran: %q", got)
	}
	w.nothingLeft()
}
