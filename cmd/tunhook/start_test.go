package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestFirstConnectionAfterStartSucceeds each time, and after each stop the address can be bound at once.
func TestFirstConnectionAfterStartSucceeds(t *testing.T) {
	t.Parallel()
	const workers = 4
	rounds := 100 * times(t) / workers
	route := "relay://" + echoServer(t)
	var all sync.WaitGroup
	for range workers {
		w, port := newWorld(t), port(t)
		all.Go(func() {
			for round := range rounds {
				start := w.do("start", route, port)
				if want := "127.0.0.1:" + port + "\n"; start.status != 0 || start.stdout != want || start.stderr != "" {
					t.Errorf("round %d: start: %v", round, start)
				}
				if err := roundTrip("127.0.0.1:" + port); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if stop := w.do("stop", route, port); stop.status != 0 || stop.stderr != "" {
					t.Errorf("round %d: stop: %v", round, stop)
				}
				if !free("127.0.0.1:" + port) {
					t.Errorf("round %d: the address cannot be bound after stop", round)
				}
			}
			w.nothingLeft()
		})
	}
	all.Wait()
}

// TestStartWaitsForAProgramThatListensLate proves that it is not quickness that makes the first connection succeed.
func TestStartWaitsForAProgramThatListensLate(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 3 * time.Millisecond, 40 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			w, port := newWorld(t).with("TUNNELTEST_DELAY="+delay.String()), port(t)
			r := w.do("start", "desk.example.com:3389", port)
			if r.status != 0 || r.took < delay {
				t.Errorf("%v, want success after %v", r, delay)
			}
			if free("127.0.0.1:" + port) {
				t.Error("nobody listens")
			}
			w.must("stop", "desk.example.com:3389", port)
			w.nothingLeft()
		})
	}
}

// TestSimultaneousStartsMakeOneTunnel: a hundred at once, with a program that listens at once and with one that takes a while.
func TestSimultaneousStartsMakeOneTunnel(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, route, delay string }{
		{"at once", "relay://127.0.0.1:9", "0"},
		{"late", "desk.example.com:3389", "400ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, listen := range []string{port(t), ""} {
				w := newWorld(t).with("TUNNELTEST_DELAY=" + tc.delay)
				args := []string{"start", "--timeout", "5m", tc.route}
				if listen != "" {
					args = append(args, listen)
				}
				results := atOnce(100, func(int) result { return w.do(args...) })
				for i, r := range results {
					if r.status != 0 || r.stdout == "" || r.stdout != results[0].stdout || r.stderr != "" {
						t.Errorf("start %d: %v, want status 0 and %q", i, r, results[0].stdout)
					}
				}
				rec := w.record()
				if left := w.left(); len(left) != 1 || left[0] != rec.Tunnel || rec.Address.String()+"\n" != results[0].stdout {
					t.Errorf("processes: %s record: %+v", describe(left), rec)
				}
				w.must("stop", tc.route, rec.Address.String())
				w.nothingLeft()
			}
		})
	}
}

// atOnce runs f n times at the same time.
func atOnce(n int, f func(i int) result) []result {
	results := make([]result, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { results[i] = f(i) })
	}
	all.Wait()
	return results
}

// TestMixedStartsAndStopsLeaveALiveTunnelOrNothing: of a hundred at once each does what it should, or says that the other won.
func TestMixedStartsAndStopsLeaveALiveTunnelOrNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, route, delay string }{
		{"at once", "relay://127.0.0.1:9", "0"},
		{"late", "desk.example.com:3389", "50ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, port := newWorld(t).with("TUNNELTEST_DELAY="+tc.delay), port(t)
			commands := make([]string, 100)
			for i := range commands {
				commands[i] = []string{"start", "stop"}[i%2]
			}
			rand.Shuffle(len(commands), func(i, j int) { commands[i], commands[j] = commands[j], commands[i] })
			for i, r := range atOnce(len(commands), func(i int) result {
				if commands[i] == "start" {
					return w.do("start", "--timeout", "5m", tc.route, port)
				}
				return w.do("stop", tc.route, port)
			}) {
				stopped := commands[i] == "start" && r.status == exitNoTunnel && strings.Contains(r.stderr, "was stopped while it was starting")
				if r.status != 0 && !stopped {
					t.Errorf("%s: %v", commands[i], r)
				}
			}
			w.expectTrueOrNothing()
			w.must("stop", tc.route, port)
			w.nothingLeft()
		})
	}
}

// expectTrueOrNothing wants one tunnel, alive, listening and truly recorded, or no tunnel and no record.
func (w *world) expectTrueOrNothing() {
	w.t.Helper()
	if len(w.records()) == 0 {
		w.nothingLeft()
		return
	}
	rec := w.record()
	left := w.left()
	if len(left) != 1 || left[0] != rec.Tunnel || rec.Ending || free(rec.Address.String()) {
		w.t.Errorf("record %+v, processes %s", rec, describe(left))
	}
}

// TestTunnelKeepsNothingOfItsCaller: output captured through a pipe ends when start returns, and the tunnel has neither a
// descriptor, nor the directory, the terminal session or the ignored signals of the caller.
func TestTunnelKeepsNothingOfItsCaller(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	captured, output, err := os.Pipe()
	check(t, err)
	input, unused, err := os.Pipe()
	check(t, err)
	extra, err := os.Create(w.path("extra"))
	check(t, err)
	start := w.command("start", "relay://127.0.0.1:9", port)
	// Descriptors 0 to 2 are pipes; 3 and 9 are open as well, as a careless client's are.
	start.Args = []string{"sh", "-c", `trap '' INT HUP TERM; exec 9<&3; exec "$0" "$@"`, start.Path, "start", "relay://127.0.0.1:9", port}
	start.Path = "/bin/sh"
	start.Stdin, start.Stdout, start.Stderr, start.ExtraFiles = input, output, output, []*os.File{extra}
	check(t, start.Start())
	mine := map[string]bool{}
	for _, f := range []*os.File{output, input, extra} {
		mine[linkOf(t, "self", fmt.Sprint(f.Fd()))] = true
		f.Close()
	}
	check(t, captured.SetReadDeadline(time.Now().Add(tunneltest.Patience)))
	text, err := io.ReadAll(captured)
	if err != nil || string(text) != "127.0.0.1:"+port+"\n" {
		t.Errorf("captured %q, %v; want the address and end-of-file", text, err)
	}
	unused.Close()
	if err := start.Wait(); err != nil {
		t.Fatal(err)
	}

	pid := strconv.Itoa(w.record().Tunnel.PID)
	names, err := os.ReadDir("/proc/" + pid + "/fd")
	check(t, err)
	for _, name := range names {
		link := linkOf(t, pid, name.Name())
		if mine[link] || strings.HasPrefix(link, "pipe:") {
			t.Errorf("descriptor %s of the tunnel is %s", name.Name(), link)
		}
	}
	for fd, want := range map[string]string{"0": "/dev/null", "1": w.record().Log, "2": w.record().Log} {
		if got := linkOf(t, pid, fd); got != want {
			t.Errorf("descriptor %s of the tunnel is %s, want %s", fd, got, want)
		}
	}
	if cwd, _ := os.Readlink("/proc/" + pid + "/cwd"); cwd != "/" {
		t.Errorf("working directory of the tunnel is %s", cwd)
	}
	if stat := procStat(t, pid); stat["session"] != pid || stat["pgrp"] != pid || stat["tty"] != "0" {
		t.Errorf("the tunnel is process %s with %v, want a session of its own", pid, stat)
	}
	w.must("stop", "--grace", "20s", "relay://127.0.0.1:9", port) // which SIGKILL would end too late to be unnoticed
	w.nothingLeft()
}

func linkOf(t *testing.T, pid, fd string) string {
	t.Helper()
	link, err := os.Readlink(filepath.Join("/proc", pid, "fd", fd))
	check(t, err)
	return link
}

// procStat gives some fields of /proc/PID/stat, proc_pid_stat(5).
func procStat(t *testing.T, pid string) map[string]string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	check(t, err)
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	return map[string]string{"state": fields[0], "pgrp": fields[2], "session": fields[3], "tty": fields[4]}
}

// TestInterruptedStartEndsItsTunnel: with each signal that a person or a client may send.
func TestInterruptedStartEndsItsTunnel(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, args := range [][]string{{"start"}, {"run"}} {
			t.Run(args[0]+" "+sig.String(), func(t *testing.T) {
				t.Parallel()
				w, port := newWorld(t).with("TUNNELTEST_DELAY=1h"), port(t)
				args := append(args, "--timeout", "5m", "desk.example.com:3389", port)
				if args[0] == "run" {
					args = append(args, "--", "touch", w.path("ran"))
				}
				start := w.command(args...)
				done := w.background(start)
				w.awaitLaunch()
				check(t, start.Process.Signal(sig))
				if r := <-done; r.status != 128+int(sig) || !isOneMessage(r.stderr) || r.stdout != "" {
					t.Errorf("%v, want status %d", r, 128+int(sig))
				}
				w.nothingLeft()
				if _, err := os.Stat(w.path("ran")); err == nil {
					t.Error("the client ran")
				}
			})
		}
	}
}

// awaitLaunch waits until there is a record with a pid.
func (w *world) awaitLaunch() pidfile.Record {
	w.t.Helper()
	var rec pidfile.Record
	tunneltest.Eventually(w.t, "a tunnel program is launched", func() bool {
		records := w.records()
		if len(records) == 1 {
			rec = records[0]
		}
		return rec.Tunnel.PID != 0
	})
	return rec
}

// firstLine waits for the first line of a running command's output.
func firstLine(t testing.TB, r io.Reader) string {
	t.Helper()
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(r).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		return text
	case <-time.After(tunneltest.Patience):
		t.Fatal("no output")
		return ""
	}
}
