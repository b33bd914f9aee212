package hook

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// StartRequest says which tunnel to start, and how.
type StartRequest struct {
	Route, Listen string
	Args          []string      // extra arguments of the tunnel program
	Ready         string        // one of tunnel.Ready…; "" means the configuration's, or tunnel.ReadyListen
	Timeout       time.Duration // how long to wait until it is ready; 0 means DefaultTimeout or DefaultSignInTimeout
	Reuse         bool          // take the address as it is where another program serves it

	EndWith   []process.Identity // end the tunnel when these processes are gone
	Caller    process.Identity   // the one of them that has called this start, where it is no client but a script; zero for none
	IdleStop  time.Duration      // end it when nobody was connected for so long; 0 for never
	KeepAlive bool               // start its program again when it dies while its client is still there
}

// Defaults of StartRequest.Timeout: a program listens within milliseconds; a person signs in within minutes.
const (
	DefaultTimeout       = 15 * time.Second
	DefaultSignInTimeout = 3 * time.Minute
)

// endGrace is the patience with a tunnel program that came to nothing, before it is killed.
const endGrace = 5 * time.Second

// Started is a tunnel that is ready.
type Started struct {
	Address netip.AddrPort
	Record  pidfile.Record // zero where the address was taken as it is
	Found   bool           // it was running before
	Reused  *tunnel.Peer   // the other program that serves the address

	Listener bool // that program is the listener that is enabled for the route: the connection will start the tunnel
}

// Start starts the tunnel, or finds it running, and returns when it is ready. A tunnel that it has started itself and that does
// not become ready is ended; so it is when ctx is done. Errors are *TakenError, *FailedError, *StoppedError,
// *tunnel.ProgramError, those of routes, listen addresses and configuration, and those of the record's directory.
func (h *Hook) Start(ctx context.Context, req StartRequest) (Started, error) {
	t, err := h.target(req.Route, req.Listen)
	if err != nil {
		return Started{}, err
	}
	dir, err := h.records(true)
	if err != nil {
		return Started{}, err
	}
	return newStart(h, t, dir, req).do(ctx)
}

// start is one call of Start on its way.
type start struct {
	*Hook
	target
	dir   pidfile.Dir
	req   StartRequest
	ready string
	key   pidfile.Key // of the record: the target's, or that of a tunnel for the same route that has the address already

	front    netip.AddrPort   // the listener's address, where one takes this tunnel's clients
	launched *tunnel.Launched // by this call, if any
	private  netip.AddrPort   // where what it launched listens while somebody has to sign in; zero if at its own address
	up       bool             // the tunnel is ready: from now on its program is worth starting again
}

func newStart(h *Hook, t target, dir pidfile.Dir, req StartRequest) *start {
	s := &start{Hook: h, target: t, dir: dir, req: req, ready: tunnel.ReadyListen, key: t.key()}
	for _, ready := range []string{t.route.Named.Ready, req.Ready} {
		if ready != "" {
			s.ready = ready
		}
	}
	if s.req.Timeout <= 0 {
		s.req.Timeout = DefaultTimeout
		if s.ready != tunnel.ReadyListen {
			s.req.Timeout = DefaultSignInTimeout
		}
	}
	return s
}

// autoTries is how often a free port is looked for: another program may take it before the tunnel program does.
const autoTries = 3

func (s *start) do(ctx context.Context) (Started, error) {
	for try := 1; ; try++ {
		rec, started, err := s.launchOrFind(ctx)
		if err != nil || started.Reused != nil {
			return started, err
		}
		started, err = s.await(ctx, rec)
		var taken *TakenError
		if s.address().Auto() && try < autoTries && errors.As(err, &taken) {
			continue
		}
		return started, err
	}
}

// launchOrFind gives the record of the running tunnel, or launches it. Where the address is taken as it is, started says so.
func (s *start) launchOrFind(ctx context.Context) (rec pidfile.Record, started Started, err error) {
	if rec, err := s.dir.Read(s.key); err == nil && usable(rec) && !s.join(&rec) {
		return rec, Started{}, nil // found running: the usual second start takes no lock
	}
	for {
		lock, err := s.lockRecord(ctx, s.dir.Lock, s.key)
		if err != nil {
			return rec, Started{}, err
		}
		rec, started, err = s.underLock(lock)
		err = errors.Join(err, lock.Unlock())
		var ending *endingError
		var other *otherKeyError
		switch {
		case errors.As(err, &other):
			s.key = other.key
			continue
		case !errors.As(err, &ending):
			return rec, started, err
		}
		if err := s.finishEnding(ctx, s.dir, ending.rec, endGrace); err != nil {
			return rec, Started{}, err
		}
	}
}

// usable tells whether a start can take the record's tunnel as its own. A record without a process may be what a killed start has
// left. While somebody signs in, the tunnel is not where its record says.
func usable(rec pidfile.Record) bool {
	return !rec.Ending && !rec.Forsaken() && rec.Tunnel.PID != 0 && (running(rec) || rec.Starter.Alive() && lives(rec))
}

// endingError says, within this package, that a tunnel must end before another can take its place.
type endingError struct{ rec pidfile.Record }

func (e *endingError) Error() string { return "the tunnel is ending" }

// otherKeyError says, within this package, that the record to look at is another one.
type otherKeyError struct{ key pidfile.Key }

func (e *otherKeyError) Error() string { return "the tunnel has another key" }

func (s *start) underLock(lock *pidfile.Lock) (pidfile.Record, Started, error) {
	rec, ok, err := s.readOrSetAside(lock)
	if err != nil {
		return rec, Started{}, err
	}
	if ok {
		if rec, err = adopt(lock, rec); err != nil && !errors.Is(err, process.ErrGone) {
			return rec, Started{}, err
		}
		if err == nil && usable(rec) {
			return s.joinLocked(lock, rec)
		}
		if err == nil { // dead or dying: what is left of it must not serve the address beside the new one
			rec.Ending = true
			return rec, Started{}, errors.Join(lock.Write(rec), &endingError{rec})
		}
	}
	if own := s.target.key(); s.key != own {
		return rec, Started{}, &otherKeyError{own} // it has ended since it was found at our address
	}
	return s.launch(lock)
}

func (s *start) joinLocked(lock *pidfile.Lock, rec pidfile.Record) (pidfile.Record, Started, error) {
	if !s.join(&rec) {
		return rec, Started{}, nil
	}
	var argv []string
	if rec.Watched() && rec.ArgsHash == hashArgs(rec.Token, s.args()) { // otherwise this start does not know how it was launched
		argv, _ = s.argv(rec.Address) // a program that is not on this caller's PATH runs all the same
	}
	if rec.Revive && !rec.KeeperKnows && argv != nil {
		endKeeper(rec) // one that a stop has started, which did not know
	}
	return rec, Started{}, s.writeWatched(lock, &rec, argv)
}

// joinAgain is for what can be wanted only of a tunnel that is ready.
func (s *start) joinAgain(ctx context.Context, rec pidfile.Record) (pidfile.Record, error) {
	if joined := rec; !s.join(&joined) {
		return rec, nil
	}
	lock, err := s.lockRecord(ctx, s.dir.Lock, rec.Key())
	if err != nil {
		return rec, err
	}
	now, err := lock.Read()
	if err != nil || now.Token != rec.Token || now.Ending {
		return rec, errors.Join(&StoppedError{rec}, lock.Unlock())
	}
	now, _, err = s.joinLocked(lock, now)
	return now, errors.Join(err, lock.Unlock())
}

// join adds to a record what this start wants of the tunnel, and tells whether that, or its keeper, makes a change necessary.
func (s *start) join(rec *pidfile.Record) (changed bool) {
	was := *rec
	rec.EndIdle = false // somebody wants it again
	rec.Kept = rec.Kept || len(s.req.EndWith) == 0
	if rec.Kept {
		rec.HandedOver = time.Time{}
	}
	rec.Revive = rec.Revive || s.req.KeepAlive && s.up
	rec.Shared = rec.Shared || s.launched == nil
	if s.req.IdleStop > 0 {
		rec.Idle = s.req.IdleStop
	}
	if s.req.Caller != (process.Identity{}) || s.up && len(s.req.EndWith) > 0 {
		rec.Caller, rec.Promised = s.req.Caller, s.Now()
	}
	for _, id := range s.req.EndWith {
		if !slices.Contains(rec.Holders, id) {
			rec.Holders = append(alive(rec.Holders), id)
		}
	}
	return was.EndIdle || rec.Kept != was.Kept || rec.Shared != was.Shared || rec.Revive != was.Revive ||
		rec.Idle != was.Idle || !slices.Equal(rec.Holders, was.Holders) || rec.Caller != was.Caller ||
		!rec.Promised.Equal(was.Promised) || !rec.HandedOver.Equal(was.HandedOver) ||
		rec.Watched() && !rec.Keeper.Alive()
}

// alive leaves out the processes that have ended.
func alive(ids []process.Identity) []process.Identity {
	return slices.DeleteFunc(slices.Clone(ids), func(id process.Identity) bool { return !id.Alive() })
}
