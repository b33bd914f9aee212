package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// stranger starts a process that is none of tunhook's business, and gives a check that it still lives.
func stranger(t *testing.T, cmd *exec.Cmd) (id process.Identity, expectAlive func()) {
	t.Helper()
	check(t, cmd.Start())
	id, err := process.Identify(cmd.Process.Pid)
	check(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return id, func() {
		t.Helper()
		if !id.Alive() {
			t.Errorf("the stranger %d was ended", id.PID)
		}
	}
}

// TestStopLeavesAProcessWithTheSameCommandLineAlone: what pgrep -f would find.
func TestStopLeavesAProcessWithTheSameCommandLineAlone(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	w.must("start", "desk.example.com:3389", port)
	pid := w.record().Tunnel.PID
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	check(t, err)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	check(t, err)
	args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	twin, expectAlive := stranger(t, &exec.Cmd{
		Path: exe, Args: args, Dir: "/", Env: append(tunneltest.ProgramEnviron(), "HOME="+t.TempDir(), "TUNNELTEST_DELAY=1h"),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	})
	tunneltest.Eventually(t, "the two have the same command line", func() bool { // none while one is still being executed
		got, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", twin.PID))
		return bytes.Equal(got, cmdline)
	})
	w.must("stop", "desk.example.com:3389", port)
	w.nothingLeft()
	expectAlive()
	w.must("stop", "desk.example.com:3389", port)
	w.must("stop", "--all")
	expectAlive()
}

// clockTick is more than the unit of process start times, sysconf(_SC_CLK_TCK).
const clockTick = 20 * time.Millisecond

// TestStopNeverSignalsAStrangerWhosePIDIsRecorded, and still ends the tunnel that the record was written for.
func TestStopNeverSignalsAStrangerWhosePIDIsRecorded(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(tunnel map[string]any, stranger process.Identity){
		"pid": func(tunnel map[string]any, stranger process.Identity) { tunnel["pid"] = stranger.PID },
		"pid and start of another boot": func(tunnel map[string]any, stranger process.Identity) {
			tunnel["pid"], tunnel["start_ticks"], tunnel["boot_id"] = stranger.PID, stranger.StartTicks, "00000000-0000-4000-8000-000000000000"
		},
		"start": func(tunnel map[string]any, _ process.Identity) {
			tunnel["start_ticks"] = json.Number("1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, command := range []string{"stop", "start", "run"} {
				w, port := newWorld(t), port(t)
				id, expectAlive := stranger(t, &exec.Cmd{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}})
				time.Sleep(clockTick) // two processes of one tick differ by their pids alone
				w.must("start", "relay://127.0.0.1:9", port)
				w.editRecord(func(record map[string]any) { edit(record["tunnel"].(map[string]any), id) })
				switch command {
				case "start":
					w.must("start", "relay://127.0.0.1:9", port)
					expectAlive()
					if free("127.0.0.1:" + port) {
						t.Error("start: nobody listens")
					}
				case "run":
					w.must("run", "relay://127.0.0.1:9", port, "--", "true")
				}
				w.must("stop", "relay://127.0.0.1:9", port)
				expectAlive()
				w.nothingLeft()
			}
		})
	}
}

// TestTunnelOfAnotherNamespaceIsLeftAlone: whoever cannot see it says so and touches nothing.
func TestTunnelOfAnotherNamespaceIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"pid_namespace", "net_namespace"} {
		w, port := newWorld(t), port(t)
		w.must("start", "relay://127.0.0.1:9", port)
		tunnel := w.record().Tunnel
		file := w.recordFile()
		w.editRecord(func(record map[string]any) { record["place"].(map[string]any)[namespace] = json.Number("7") })
		was, err := os.ReadFile(file)
		check(t, err)
		for _, args := range [][]string{
			{"stop", "relay://127.0.0.1:9", port},
			{"stop", "--now", "relay://127.0.0.1:9", "localhost:" + port},
			{"stop", "--all"},
			{"stop", "relay://127.0.0.1:9"},
			{"start", "relay://127.0.0.1:9", port},
			{"status", "relay://127.0.0.1:9"},
			{"wait", "relay://127.0.0.1:9", port},
			{"logs", "relay://127.0.0.1:9", port},
		} {
			got := w.do(args...)
			if got.status != exitUnexpected || !strings.Contains(got.stderr, "another") || !strings.Contains(got.stderr, file) {
				t.Errorf("%s: %q gives %v, want %d and what is the matter", namespace, args, got, exitUnexpected)
			}
		}
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, was) {
			t.Errorf("%s: the record says %s, %v; it said %s", namespace, now, err, was)
		}
		if !tunnel.Alive() {
			t.Errorf("%s: the tunnel was ended", namespace)
		}
		check(t, os.WriteFile(file, bytes.ReplaceAll(was, []byte(`"`+namespace+`":7`), []byte(`"`+namespace+`":0`)), 0o600))
		w.must("stop", "relay://127.0.0.1:9", port)
		w.nothingLeft()
	}
}

// TestStopTakesChildrenAlong: and theirs, also where the tunnel program has died before and left them behind.
func TestStopTakesChildrenAlong(t *testing.T) {
	t.Parallel()
	for _, leader := range []string{"alive", "dead", "dead with its child"} {
		t.Run("leader "+leader, func(t *testing.T) {
			t.Parallel()
			w, port := newWorld(t).with("TUNNELTEST_GENERATIONS=3"), port(t)
			w.must("start", "desk.example.com:3389", port)
			family := w.left()
			if len(family) != 4 {
				t.Fatalf("there are %s; want four generations", describe(family))
			}
			slices.SortFunc(family, func(a, b process.Identity) int { return int(a.StartTicks) - int(b.StartTicks) })
			rec := w.record()
			switch leader {
			case "dead":
				killAll([]process.Identity{rec.Tunnel})
				awaitEnd(t, rec.Tunnel)
			case "dead with its child":
				killAll([]process.Identity{rec.Tunnel, childOf(t, rec.Tunnel, family)})
				awaitEnd(t, rec.Tunnel)
			}
			if free("127.0.0.1:" + port) {
				t.Fatal("the youngest does not listen")
			}
			w.must("stop", "--grace", "20s", "desk.example.com:3389", port)
			if !free("127.0.0.1:" + port) {
				t.Error("the address cannot be bound after stop")
			}
			w.nothingLeft()
		})
	}
}

func awaitEnd(t *testing.T, id process.Identity) {
	t.Helper()
	tunneltest.Eventually(t, "a killed process ends", func() bool { return !id.Alive() })
}

func childOf(t *testing.T, parent process.Identity, family []process.Identity) process.Identity {
	t.Helper()
	for _, id := range family {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", id.PID))
		if strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent.PID)) {
			return id
		}
	}
	t.Fatal("it has no child")
	return process.Identity{}
}

// TestStopKillsAProgramThatIgnoresItsSignal after --grace, and not before.
func TestStopKillsAProgramThatIgnoresItsSignal(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t).with("TUNNELTEST_IGNORE_TERM=1"), port(t)
	w.must("start", "desk.example.com:3389", port)
	const grace = 300 * time.Millisecond
	r := w.do("stop", "--grace", grace.String(), "desk.example.com:3389", port)
	if r.status != 0 || r.took < grace {
		t.Errorf("%v, want success after %v", r, grace)
	}
	if !free("127.0.0.1:" + port) {
		t.Error("the address cannot be bound after stop")
	}
	w.nothingLeft()
}

// TestStopReturnsAsSoonAsTheProgramHasEnded: the grace is a limit, not a pause.
func TestStopReturnsAsSoonAsTheProgramHasEnded(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	w.must("start", "desk.example.com:3389", port)
	if r := w.do("stop", "--grace", "1h", "desk.example.com:3389", port); r.status != 0 {
		t.Errorf("%v", r)
	}
	w.nothingLeft()
}

// TestStopBeatsAStartThatWaits: both return, the start says why, and nothing is left.
func TestStopBeatsAStartThatWaits(t *testing.T) {
	t.Parallel()
	for _, ending := range [][]string{{"stop", "desk.example.com:3389", "PORT"}, {"stop", "--all"}} {
		for _, beginning := range [][]string{{"start"}, {"run"}} {
			t.Run(beginning[0]+" "+ending[1], func(t *testing.T) {
				t.Parallel()
				w, port := newWorld(t).with("TUNNELTEST_DELAY=1h"), port(t)
				args := append(slices.Clone(beginning), "--timeout", "5m", "desk.example.com:3389", port)
				want := exitNoTunnel
				if beginning[0] == "run" {
					args, want = append(args, "--", "touch", w.path("ran")), exitRunFailed
				}
				waiting := w.background(w.command(args...))
				w.awaitLaunch()
				stop := w.do(replace(ending, "PORT", port)...)
				start := <-waiting
				if stop.status != 0 || start.status != want || !isOneMessage(start.stderr) || !strings.Contains(start.stderr, "was stopped while it was starting") {
					t.Errorf("stop: %v\nstart: %v", stop, start)
				}
				w.nothingLeft()
				if _, err := os.Stat(w.path("ran")); err == nil {
					t.Error("the client ran")
				}
			})
		}
	}
}

func replace(words []string, old, new string) []string {
	replaced := slices.Clone(words)
	for i, w := range replaced {
		if w == old {
			replaced[i] = new
		}
	}
	return replaced
}

// TestStopWithManyWaitingStartsEndsThemAll: those that share one tunnel that does not become ready.
func TestStopWithManyWaitingStartsEndsThemAll(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t).with("TUNNELTEST_DELAY=1h"), port(t)
	var waiting []<-chan result
	for range 5 {
		waiting = append(waiting, w.background(w.command("start", "--timeout", "5m", "desk.example.com:3389", port)))
		w.awaitLaunch()
	}
	w.must("stop", "desk.example.com:3389", port)
	for len(waiting) > 0 {
		select {
		case r := <-waiting[0]:
			if r.status != exitNoTunnel {
				t.Errorf("%v", r)
			}
			waiting = waiting[1:]
		case <-time.After(time.Second): // one that had not found the record yet may have started anew, and waits
			w.must("stop", "desk.example.com:3389", port)
		}
	}
	w.nothingLeft()
}

// TestSimultaneousStopsSucceed: each returns when the tunnel is gone, and finds nothing wrong.
func TestSimultaneousStopsSucceed(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	w.must("start", "relay://127.0.0.1:9", port)
	var probe sync.Mutex // two probes at once would find each other
	for i, r := range atOnce(30, func(int) result {
		r := w.do("stop", "relay://127.0.0.1:9", port)
		probe.Lock()
		defer probe.Unlock()
		if !free("127.0.0.1:" + port) {
			t.Error("the address cannot be bound after stop")
		}
		return r
	}) {
		if r.status != 0 {
			t.Errorf("stop %d: %v", i, r)
		}
	}
	w.nothingLeft()
}
