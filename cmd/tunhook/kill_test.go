package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestKilledStartLeavesNothingThatStopDoesNotFind kills starts at random instants, and others right after the record was
// written, which is where the launch is.
func TestKilledStartLeavesNothingThatStopDoesNotFind(t *testing.T) {
	t.Parallel()
	const workers = 3
	random, atLaunch := 40*times(t), 20*times(t)
	var between, after atomic.Int32
	var all sync.WaitGroup
	for range workers {
		w, port := newWorld(t), port(t)
		toRecord, fromRecord := w.paceOfStart(port)
		all.Go(func() {
			for i := range random + atLaunch {
				start := w.command("start", "relay://127.0.0.1:9", port)
				if err := start.Start(); err != nil {
					t.Errorf("%v", err)
					return
				}
				if i < random {
					time.Sleep(rand.N(2 * toRecord))
				} else {
					w.awaitRecord()
					time.Sleep(rand.N(fromRecord / 2))
				}
				_ = start.Process.Kill()
				_ = start.Wait()
				switch rec, left := w.peek(); {
				case left && rec.Tunnel == process.Identity{}:
					between.Add(1)
				case left:
					after.Add(1)
				}
				if r := w.do("stop", "relay://127.0.0.1:9", port); r.status != 0 {
					t.Errorf("stop: %v", r)
				}
				if left := w.left(); len(left) > 0 {
					t.Errorf("left behind: %s", describe(left))
					killAll(left)
				}
				if left, _ := filepath.Glob(w.runDir() + "/*.json"); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d were killed between launch and record, %d after it", between.Load(), after.Load())
	if between.Load() == 0 || after.Load() == 0 {
		t.Errorf("%d were killed between launch and record, %d after it: the instants do not cover the start", between.Load(), after.Load())
	}
}

// paceOfStart tells how long a start takes on this machine until it has written its record, and from then on.
func (w *world) paceOfStart(port string) (toRecord, fromRecord time.Duration) {
	w.t.Helper()
	toRecord, fromRecord = time.Second, time.Second
	for range 3 {
		start, began := w.command("start", "relay://127.0.0.1:9", port), time.Now()
		check(w.t, start.Start())
		w.awaitRecord()
		recorded := time.Now()
		check(w.t, start.Wait())
		toRecord, fromRecord = min(toRecord, recorded.Sub(began)), min(fromRecord, time.Since(recorded))
		w.must("stop", "relay://127.0.0.1:9", port)
	}
	return toRecord, fromRecord
}

// TestInterruptedStartLeavesNothing: not even a file, whenever the signal comes.
func TestInterruptedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	whole := time.Second
	for range 3 {
		began := time.Now()
		w.must("start", "relay://127.0.0.1:9", port)
		whole = min(whole, time.Since(began))
		w.must("stop", "relay://127.0.0.1:9", port)
	}
	var interrupted, died int
	for range 100 * times(t) {
		start := w.command("start", "relay://127.0.0.1:9", port)
		var said bytes.Buffer
		start.Stderr = &said
		check(t, start.Start())
		time.Sleep(rand.N(3 * whole / 2))
		check(t, start.Process.Signal(syscall.SIGTERM))
		if err := start.Wait(); err == nil {
			w.must("stop", "relay://127.0.0.1:9", port) // the tunnel was ready before
		} else {
			interrupted++
		}
		left, _ := filepath.Glob(w.runDir() + "/*")
		if len(left) > 0 && start.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
			// The Go runtime had begun to die of the signal just before it was caught: that is a start that was killed.
			died++
			w.must("stop", "relay://127.0.0.1:9", port)
			left, _ = filepath.Glob(w.runDir() + "/*")
		}
		if len(left) > 0 || len(w.left()) > 0 {
			t.Fatalf("left behind: %q, %s; the start: %v, %q", left, describe(w.left()), start.ProcessState, said.String())
		}
	}
	if died > 2+interrupted/100 { // it takes a thread that the kernel puts off for milliseconds between two instructions
		t.Errorf("%d of %d starts died of the signal and left something behind", died, interrupted)
	}
	if interrupted == 0 {
		t.Error("none was interrupted")
	}
}

// TestKilledStartIsTakenOverByTheNext: a start finds what a killed one left as well as a stop does.
func TestKilledStartIsTakenOverByTheNext(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	_, fromRecord := w.paceOfStart(port)
	for range 30 * times(t) {
		start := w.command("start", "relay://127.0.0.1:9", port)
		check(t, start.Start())
		w.awaitRecord()
		time.Sleep(rand.N(fromRecord / 2))
		_ = start.Process.Kill()
		_ = start.Wait()
		w.must("start", "relay://127.0.0.1:9", port)
		rec := w.record()
		if left := w.left(); len(left) != 1 || left[0] != rec.Tunnel || free("127.0.0.1:"+port) {
			t.Errorf("record %+v, processes %s", rec, describe(left))
		}
		w.must("stop", "relay://127.0.0.1:9", port)
		if left := w.left(); len(left) > 0 {
			t.Errorf("left behind: %s", describe(left))
		}
	}
}

// awaitRecord waits for a record to appear, as closely as it can.
func (w *world) awaitRecord() {
	for deadline := time.Now().Add(tunneltest.Patience); time.Now().Before(deadline); {
		if found, _ := filepath.Glob(w.runDir() + "/*.json"); len(found) > 0 {
			return
		}
	}
	w.t.Error("no record appeared")
}

// peek gives the record there is, if any, and whether a process is there.
func (w *world) peek() (rec pidfile.Record, left bool) {
	if _, err := os.Stat(w.runDir()); err != nil {
		return rec, len(w.left()) > 0
	}
	if records := w.records(); len(records) > 0 {
		rec = records[0]
	}
	return rec, len(w.left()) > 0
}
