package hook

import (
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// phase is what a tunnel is at a moment.
//
//	                    start
//	                      │
//	            ┌─────────▼────────┐  --ready, and its program   ┌────────────┐
//	            │    launching     │  asks for a sign-in, or may │ signing in │
//	            │                  ├────────────────────────────►│            ├──► forsaken
//	            │                  │◄────────────────────────────┤            │    (that start was killed)
//	            └─────────┬────────┘  answered: launched again   └────────────┘
//	          it listens  │           at its own address
//	            ┌─────────▼────────┐  stop, and somebody is      ┌──────────────────┐
//	--keep-     │                  │  connected or about to be   │                  │
//	alive   ┌──►│      ready       ├────────────────────────────►│ ending when idle │
//	        │   │                  │◄────────────────────────────┤                  │
//	        │   └───┬──────────┬───┘  start                      └────────┬─────────┘
//	        │       │ it dies  │ stop, or the last                        │ the last
//	        │   ┌───▼────┐     │ promise is over                          │ client leaves
//	        └───┤  dead  │  ┌──▼─────┐                                    │
//	            │        ├─►│ ending │◄───────────────────────────────────┘
//	            └────────┘  └──┬─────┘
//	                           ▼
//	                       no record
//
// A keeper launches the program of a ready tunnel again whose own connection may be dead. Where the new one dies, it goes on as with
// --keep-alive for as long as somebody is there for whom the tunnel is.
type phase int

// The phases. Whether a tunnel that is up listens yet only its sockets tell; no row of the table asks for that.
const (
	isUp         phase = iota // launching or ready: its program lives, or has left children behind that serve the address
	isSigningIn               // it listens at a private address, where a start waits for somebody to sign in
	isForsaken                // likewise, but that start was killed
	endsWhenIdle              // a stop came while clients were connected, or about to connect
	isEnding                  // a stop has begun
	isDead                    // it ended without a stop
)

// What a start, a stop and the keeper do to a tunnel that they find.
type (
	startDeed  int
	stopDeed   int
	keeperDeed func(view, pidfile.Record) verdict
)

const (
	join    startDeed = iota // take it, and add a promise
	replace                  // end what is left of it, and launch another one
)

const (
	spare  stopDeed = iota // end it, unless somebody is connected or about to be: then when the last has left
	finish                 // end it, whoever has begun to
)

// deeds are the table of all that is done in a phase. A keeper looks first whether anything is promised still.
func (p phase) deeds() (startDeed, stopDeed, keeperDeed) {
	row := [...]struct {
		start  startDeed
		stop   stopDeed
		keeper keeperDeed
	}{
		isUp:         {join, spare, view.whileUp},
		isSigningIn:  {join, finish, view.whileUp}, // nobody can be connected to it yet
		isForsaken:   {replace, finish, view.whileUp},
		endsWhenIdle: {join, spare, view.whileEndingWhenIdle},
		isEnding:     {replace, finish, view.whileEnding},
		isDead:       {replace, spare, view.whileDead},
	}[p]
	return row.start, row.stop, row.keeper
}

// phaseOf tells the phase of a record's tunnel.
func phaseOf(rec pidfile.Record) phase {
	// A record without a process may be what a killed start has left.
	return phaseIf(rec, rec.Tunnel.PID != 0 && (running(rec) || rec.Starter.Alive() && lives(rec)))
}

// phaseIf is phaseOf where it is known whether the tunnel is there.
func phaseIf(rec pidfile.Record, alive bool) phase {
	switch {
	case rec.Ending:
		return isEnding
	case !alive:
		return isDead
	case rec.Forsaken():
		return isForsaken
	case rec.Starter != (process.Identity{}):
		return isSigningIn
	case rec.EndIdle:
		return endsWhenIdle
	}
	return isUp
}

// usable tells whether a start can take the record's tunnel as its own.
func usable(rec pidfile.Record) bool {
	deed, _, _ := phaseOf(rec).deeds()
	return deed == join
}

// running tells whether the record's tunnel is there: its program lives, or has left children behind that serve the address.
func running(rec pidfile.Record) bool {
	return rec.Tunnel.Alive() || tunnel.Listening(rec.Address, rec.Session())
}

// lives tells whether a process of the record's tunnel is there, whatever it serves: while somebody signs in, a private address.
func lives(rec pidfile.Record) bool {
	return rec.Tunnel.Alive() || len(tunnel.PIDs(rec.Session(), rec.Address)) > 0
}

// relaunched tells, by what a record was and is now, whether its tunnel program was launched again in between, or will be: by the
// start for which somebody signs in, or by the keeper.
func relaunched(was, now pidfile.Record) bool {
	return now.Token == was.Token && !now.Ending &&
		(now.Tunnel != was.Tunnel || now.Starter.Alive() || now.OnTrial() || now.KeepAlive && now.Keeper.Alive())
}

// awaited gives the processes whose client may be about to connect, other than the one that a stop is of: not only the
// start that launched the tunnel has promised it to one that lives, and nobody has connected since. A listener would start
// another tunnel for it.
func awaited(rec pidfile.Record) []process.Identity {
	if rec.EndIdle {
		return pidfile.Alive(rec.Awaited)
	}
	if !rec.Shared || rec.Promised.IsZero() || rec.Front.IsValid() {
		return nil
	}
	return pidfile.Alive(rec.EndWith)
}
