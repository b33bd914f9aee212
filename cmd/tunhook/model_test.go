package main

import (
	"time"
)

// This file is what must always hold of a tunnel, as a model of one listen address that is small enough to be read. It knows
// nothing of processes: the driver tells it what it has done, and asks what must be the case now. The words in quotes are the
// rules that it stands for.

// fate is what must become of a tunnel if nobody does anything.
type fate int

const (
	absent   fate = iota // there is none, and none may come
	stays                // it is there, and stays
	goesSoon             // it may still be there, and ends by itself
	unknown              // it may be there or not: what was done to it leaves that open
)

func (f fate) String() string { return [...]string{"absent", "stays", "goes soon", "unknown"}[f] }

// idleStop is what the model's --idle-stop says. While half of it is not over the tunnel must be there.
const idleStop = 2 * time.Second

// stopWait is how long a stop waits at least for a client that was promised the tunnel; "some seconds" are more.
const stopWait = time.Second

// modelled is the tunnel of one listen address. What started it, under which name or spelling, does not matter: "what is stopped
// under any of its names is stopped".
type modelled struct {
	up        bool
	kept      bool            // a plain start wants it for good
	holders   map[string]bool // what --end-with named, a run too: whether it lives
	idle      bool            // --idle-stop
	keepAlive bool            // --keep-alive
	args      bool            // it was launched with more arguments
	leaving   bool            // a stop has come and could not end it at once: it ends after its last client

	strong, weak int       // connections of clients; a weak one was made when the tunnel could be about to end
	lastUse      time.Time // not later than when a client was connected last, or the last start began
	promised     bool      // a start for a holder has come: a stop may wait for its client
	awaited      bool      // that start was not the one that launched the tunnel, and nobody has connected since: a stop must wait
	stopAt       time.Time // when the stop came for which it is leaving

	unwatched bool // its keeper was killed or frozen: the next start or stop gives it another, or has it go on
	doubtful  bool // what was promised is not known: a start was killed on its way, say
}

// fate is the whole of what is expected.
func (m *modelled) fate(now time.Time, clientLives bool) fate {
	switch {
	case !m.up:
		return absent // "never left behind"; nor does it come back
	case m.strong > 0:
		return stays // "a live session is never cut"
	case m.doubtful || m.weak > 0:
		return unknown
	case m.leaving && m.awaited && now.Sub(m.stopAt) < stopWait:
		return stays // "a client that was promised a tunnel and has not connected yet is not robbed of it"
	case m.leaving:
		return m.unless(m.unwatched, goesSoon) // "stop takes back what was promised before it"
	case !m.kept && !m.held():
		return m.unless(m.unwatched, goesSoon) // "a tunnel ends when its client is gone however it went"
	case m.idle && now.Sub(m.lastUse) < idleStop/2:
		return stays // "and never gone too early"
	case m.idle:
		return m.unless(m.unwatched || clientLives, goesSoon) // a client that has left may come back
	}
	return stays
}

func (m *modelled) unless(open bool, f fate) fate {
	if open {
		return unknown
	}
	return f
}

// held tells whether a holder lives.
func (m *modelled) held() bool {
	for _, lives := range m.holders {
		if lives {
			return true
		}
	}
	return false
}

// wish is what a start asks for.
type wish struct {
	holder          string // "" for good
	idle, keepAlive bool
	args            bool // with more arguments for the tunnel program
}

// started takes in a start that has succeeded. It is fresh if it launched the tunnel, rather than found it.
func (m *modelled) started(w wish, fresh bool, began time.Time) {
	found := m.up && !fresh
	if !found {
		*m = modelled{up: true, args: w.args}
	}
	if m.unwatched && m.keepAlive && m.args != w.args {
		m.doubtful = true // only its keeper knew how to launch the program, and with which arguments
	}
	if m.holders == nil {
		m.holders = map[string]bool{}
	}
	m.leaving, m.unwatched, m.awaited = false, false, m.awaited && !m.leaving
	m.lastUse = began
	m.idle = m.idle || w.idle
	m.keepAlive = m.keepAlive || w.keepAlive
	if w.holder == "" {
		m.kept = true
		return
	}
	m.holders[w.holder] = true
	m.promised, m.awaited = true, found
}

// holderEnded takes in that a process has ended that --end-with may have named.
func (m *modelled) holderEnded(holder string) {
	if m.holders[holder] {
		m.holders[holder] = false
	}
	if m.leaving {
		m.awaited = false // it may have been this one's client
	}
}

// stopped takes in a stop that has succeeded, and tells whether the tunnel must be gone at once: "stop returns when the process is
// gone and the address free".
func (m *modelled) stopped(now bool, began time.Time) (gone bool) {
	switch {
	case !m.up:
		return true
	case now:
		*m = modelled{}
		return true
	case m.leaving && m.strong == 0:
		return false // as it was
	case m.strong > 0:
		m.letGo(began)
		return false
	case m.weak > 0, m.promised && m.held(), m.doubtful:
		m.letGo(began) // it may wait
		return false
	}
	*m = modelled{}
	return true
}

// letGo takes back what was promised: the tunnel ends after its last client.
func (m *modelled) letGo(began time.Time) {
	*m = modelled{
		up: true, args: m.args, leaving: true, stopAt: began, awaited: m.awaited && m.held() && !m.idle && !m.doubtful && !m.unwatched,
		strong: m.strong, weak: m.weak, lastUse: m.lastUse,
	}
}

// connected takes in a client.
func (m *modelled) connected(weak bool) {
	if weak {
		m.weak++
	} else {
		m.strong++
	}
	m.awaited = false
}

// left takes in that one has gone; began is not later than that.
func (m *modelled) left(weak bool, began time.Time) {
	if weak {
		m.weak--
	} else {
		m.strong--
	}
	m.lastUse = began
}

// died takes in that the tunnel program has died by itself, with every connection. It tells whether it must be started again.
func (m *modelled) died(clientLives bool) (revived bool) {
	strong := m.strong
	m.strong, m.weak = 0, 0
	switch {
	case m.doubtful || m.unwatched && m.keepAlive || m.leaving && m.keepAlive:
		m.doubtful = true
	case m.keepAlive && m.held():
		return true // "--keep-alive"
	case m.keepAlive && (strong > 0 || clientLives):
		m.doubtful = true // the keeper need not have seen that client yet
	default:
		*m = modelled{}
	}
	return false
}

// ended takes in that the tunnel was seen to have ended, where it was free to.
func (m *modelled) ended() { *m = modelled{} }

// untold takes in that something was done whose outcome is left open.
func (m *modelled) untold() {
	m.up, m.doubtful = true, true
}
