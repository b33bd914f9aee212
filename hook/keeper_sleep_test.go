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

// TestAScriptHasEndedRightAfterItsStartUnlessItWasSeenLater, however late the next look comes.
func TestAScriptHasEndedRightAfterItsStartUnlessItWasSeenLater(t *testing.T) {
	t.Parallel()
	self, gone := selfAndGone(t)
	start := time.Now()
	for name, test := range map[string]struct {
		seen time.Duration // after the start, when it lived; 0 for never
		want bool
	}{
		"never seen":   {0, true},
		"seen at once": {scriptEnd - 1, true},
		"seen later":   {scriptEnd, false},
	} {
		k := &keeper{rec: pidfile.Record{Caller: self, Promised: start}}
		if test.seen > 0 && k.passed(start.Add(test.seen)) {
			t.Errorf("%s: it has ended while it lives", name)
		}
		if k.caller == self {
			k.caller = gone // as if it was that one which was seen
		}
		k.rec.Caller = gone
		if got := k.passed(start.Add(time.Hour)); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if until := k.untilScriptEnd(); until != maxSleep {
			t.Errorf("%s: the next look comes within %v though it has ended", name, until)
		}
		k.rec.Promised = start.Add(time.Minute)
		if !k.passed(start.Add(time.Hour)) {
			t.Errorf("%s: what was seen after the start before counts", name)
		}
	}
	k := &keeper{rec: pidfile.Record{Caller: self, Promised: start}}
	k.passed(start)
	if until := k.untilScriptEnd(); until > scriptEnd {
		t.Errorf("it is looked for after %v", until)
	}
}
