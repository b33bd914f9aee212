package hook

import (
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
)

// verdict is what a keeper does next.
type verdict int

const (
	goOn     verdict = iota // nothing now
	endIt                   // end the tunnel, and clear its record away
	revive                  // start the tunnel program again
	leave                   // nothing is promised any more
	handOver                // leave the tunnel to a client that is still to come
	noteUse                 // note that the client has come that a start has promised the tunnel
	refresh                 // launch the tunnel program again, whose connection may be dead
)

// view is what a keeper sees of its tunnel.
type view struct {
	now        time.Time
	alive      bool      // the tunnel program, or a child of it, runs
	connected  bool      // somebody is connected
	deadFrom   time.Time // since when not; zero if alive
	endingFrom time.Time // since when somebody ends it; zero if nobody does
	canRevive  bool      // it is known how to start it again
	holders    bool      // one of the processes that it is there for lives
	clients    bool      // a process that has been connected lives
	used       bool      // somebody has connected since the last start for a holder
	stopFrom   time.Time // since when a stop waits for the last client; zero if none does
	passed     bool      // the script that called the last start has ended right after it
	lastUse    time.Time // when somebody was connected last
	handedFrom time.Time // when the tunnel was found handed over; zero if it is not
	came       bool      // somebody has connected since
	shaken     bool      // what has happened to the machine may have cut the tunnel's own connection off
	owes       bool      // the keeper has ended a program for that which was well perhaps, and none has stayed since
}

// reconnects is for how long a client is expected to come back by itself: Remmina tries 20 times in about 100 s,
// without running its hooks.
const reconnects = 2 * time.Minute

// TimeToConnect is for how long a tunnel waits for the client that another one has handed over to.
const TimeToConnect = 30 * time.Second

// timeToReconnect is for how long, once it has come, it may be away: Remmina takes 5 s between two attempts.
const timeToReconnect = 10 * time.Second

// stopPause is for how long a stop waits for a client that may be about to connect.
const stopPause = 3 * time.Second

// deathPause is for how long a dead tunnel is left as it is, so that a start that waits for it tells why it died, also on a busy machine.
// Whether one does is known only of those that ask for an answer.
const deathPause = 5 * time.Second

// killTime is for how long a stop goes on after its grace is over: the kernel may take its time to end a process.
const killTime = 2 * time.Second

// decide is all that a keeper knows about what to do, by the table of phases. A session is never cut: nothing ends while somebody
// is connected, unless a stop has begun to end it.
func decide(rec pidfile.Record, v view) verdict {
	if !rec.Ending && !v.promised(rec) {
		return leave
	}
	_, _, deed := phaseIf(rec, v.alive).deeds()
	return deed(v, rec)
}

// whileEnding leaves the end to the stop that has begun it. That may have been killed at it, though: then it is finished.
func (v view) whileEnding(rec pidfile.Record) verdict {
	if v.now.Sub(v.endingFrom) >= graceOf(rec.EndGrace)+killTime {
		return endIt
	}
	return goOn
}

func (v view) whileDead(rec pidfile.Record) verdict {
	switch {
	case (rec.KeepAlive || v.owes) && !rec.EndIdle && v.canRevive && v.missed(rec):
		return revive
	case startOnItsWay(rec):
		return goOn // to that start, which tells why it died, however long the machine keeps it from doing so
	case v.now.Sub(v.deadFrom) >= deathPause:
		return endIt
	}
	return goOn
}

func (v view) whileEndingWhenIdle(rec pidfile.Record) verdict {
	switch {
	case v.connected:
		return v.note(rec)
	case len(awaited(rec)) > 0 && !v.used && v.now.Sub(v.stopFrom) < stopPause:
		return goOn
	}
	return endIt
}

func (v view) whileUp(rec pidfile.Record) verdict {
	switch {
	case v.passed && v.deserted(rec) && rec.HandedOver.Before(rec.Promised):
		return handOver
	case v.connected:
		return v.note(rec)
	case v.expected(rec):
		return v.renew(rec, goOn)
	case v.deserted(rec):
		return endIt
	case rec.IdleStop > 0 && v.idle() >= rec.IdleStop && !v.comesBack():
		return endIt
	}
	return v.renew(rec, v.note(rec))
}

// renew has a tunnel that nobody is connected to launched again where its connection may be dead: whoever comes next shall not find
// that out. Otherwise it is another verdict.
func (v view) renew(rec pidfile.Record, otherwise verdict) verdict {
	if v.shaken && v.canRevive && rec.Starter == (process.Identity{}) && !startOnItsWay(rec) {
		return refresh
	}
	return otherwise
}

// note notes that the client has come that a start has promised the tunnel.
func (v view) note(rec pidfile.Record) verdict {
	if v.used && !rec.Promised.IsZero() {
		return noteUse
	}
	return goOn
}

// promised tells whether there is still a promise to watch: a tunnel that is kept for good does not end with its
// holders.
func (v view) promised(rec pidfile.Record) bool {
	return rec.EndIdle || rec.After || rec.KeepAlive || rec.IdleStop > 0 || v.holders || v.deserted(rec)
}

// deserted tells whether all are gone that the tunnel was there for.
func (v view) deserted(rec pidfile.Record) bool {
	return !rec.ForGood && !v.holders && (len(rec.EndWith) > 0 || !rec.HandedOver.IsZero())
}

// expected tells whether a client that another one has handed over to may be about to connect, or to connect again.
func (v view) expected(rec pidfile.Record) bool {
	switch {
	case rec.HandedOver.IsZero():
		return false
	case !v.came:
		return v.now.Sub(v.handedFrom) < TimeToConnect
	case rec.IdleStop > 0:
		return v.idle() < rec.IdleStop
	}
	return v.idle() < timeToReconnect
}

func (v view) idle() time.Duration { return v.now.Sub(v.lastUse) }

// comesBack tells whether a client that has lost its connection may be about to connect again.
func (v view) comesBack() bool { return v.clients && v.idle() < reconnects }

// missed tells whether somebody would miss a tunnel whose program has died.
func (v view) missed(rec pidfile.Record) bool { return v.holders || v.comesBack() || v.expected(rec) }
