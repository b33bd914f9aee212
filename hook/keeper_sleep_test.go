package hook

import (
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
)

// TestAKeeperThatMissedAnEndDoesNotSleepOverIt: the program ended between the look, which still found it, and the sleep.
func TestAKeeperThatMissedAnEndDoesNotSleepOverIt(t *testing.T) {
	t.Parallel()
	_, gone := selfAndGone(t)
	k := &keeper{rec: pidfile.Record{Tunnel: gone}, watched: []process.Identity{gone}, quiet: maxSleep}
	if k.sleep(); k.quiet != 0 {
		t.Errorf("it slept for %v", k.quiet)
	}
	began := time.Now()
	k.sleep() // what ended is known now
	if took := time.Since(began); took < minSleep || k.quiet != minSleep {
		t.Errorf("it slept for %v after it knew, in %v, want %v", k.quiet, took, minSleep)
	}
}
