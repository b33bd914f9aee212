package hook

import (
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
)

// TestAKeeperThatMissedAnEndDoesNotSleepOverIt: the program ended between the look, which still found it, and the sleep.
func TestAKeeperThatMissedAnEndDoesNotSleepOverIt(t *testing.T) {
	t.Parallel()
	_, gone := selfAndGone(t)
	k := &keeper{rec: pidfile.Record{Tunnel: gone}, watched: []pidfile.Identity{gone}, quiet: maxSleep}
	began := time.Now()
	k.sleep()
	if took := time.Since(began); took >= maxSleep {
		t.Errorf("it slept for %v", took)
	}
	began = time.Now()
	k.sleep() // what ended is known now
	if took := time.Since(began); took < minSleep || took >= maxSleep {
		t.Errorf("it slept for %v after it knew, want %v", took, minSleep)
	}
}
