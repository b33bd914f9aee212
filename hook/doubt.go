package hook

import (
	"slices"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// longSleep is how long a machine must have slept for its connections to be taken for dead: servers and gateways forget who has not
// been heard of for some time, and the network may be another one.
const longSleep = 10 * time.Second

// longAnswered is for how long it counts that a server has answered.
const longAnswered = 10 * time.Minute

// lookAround notes what the machine is like now, where that matters to the tunnel.
func (tx *transaction) lookAround() {
	if !tx.rec.Anew {
		tx.rec.Around = &pidfile.Around{Slept: tx.slept(), Network: tunnel.Network()}
	}
}

func (h *Env) slept() time.Duration {
	if h.Slept == nil {
		return tunnel.Slept()
	}
	return h.Slept()
}

// offline tells whether there was a network, and is none now: it is about to come back.
func offline(was pidfile.Around, network []string) bool {
	return len(network) == 0 && len(was.Network) > 0
}

// shaken tells whether what has happened to the machine since may have cut connections off: it has slept, or has lost what they lean on.
// What was added does not count, nor does what was lost while there is no network at all.
func shaken(was pidfile.Around, slept time.Duration, network []string, cutOff func() bool) bool {
	lost := func(part string) bool { return !slices.Contains(network, part) }
	return slept-was.Slept >= longSleep || !offline(was, network) && (slices.ContainsFunc(was.Network, lost) || cutOff())
}

// mayBeDead tells whether the tunnel's program may live with a dead connection behind it.
func (h *Env) mayBeDead(rec pidfile.Record) bool {
	return !rec.Anew && rec.Around != nil &&
		shaken(*rec.Around, h.slept(), tunnel.Network(), func() bool { return tunnel.CutOff(rec.Session(), rec.Address) })
}

// answered tells whether this start need not ask for an answer: it has been given, and there is no reason to doubt that it would be
// given again. Where asking costs nothing, that the program holds a connection of its own is one.
func (s *start) answered(rec pidfile.Record) bool {
	a := rec.Answered
	switch {
	case a.Ready != s.ready || a.Program != rec.Tunnel, s.Now().Sub(a.At) > longAnswered, rec.Tunnel.Stopped():
		return false
	case rec.Anew:
		return true
	}
	return tunnel.CountsLogins(s.ready) && !s.mayBeDead(rec)
}

// inUse tells whether somebody is connected to the tunnel.
func inUse(rec pidfile.Record) bool {
	if from, err := tunnel.Connections(rec.Public()); err == nil && len(from) == 0 {
		return false
	}
	clients, err := sessions(rec) // tells the connections of starts from those of clients, and takes longer
	return err != nil || len(clients) > 0
}
