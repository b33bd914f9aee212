package hook

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
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
	Timeout       time.Duration // how long to wait until it is ready; 0: the configuration's, DefaultTimeout or DefaultSignInTimeout
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
func (h *Env) Start(ctx context.Context, req StartRequest) (Started, error) {
	t, err := h.toStart(targetOf, req.Route, req.Listen)
	if err != nil {
		return Started{}, err
	}
	dir, err := h.records(true)
	if err != nil {
		return Started{}, err
	}
	s := newStart(h, t, dir, req)
	if s.unasked != "" {
		h.notice(NotAsked{Route: req.Route, Provider: t.route.Provider.Name(), Ready: s.unasked})
	}
	return s.do(ctx)
}

// start is one call of Start on its way.
type start struct {
	*Env
	target
	dir   pidfile.Dir
	req   StartRequest
	ready string
	// unasked is the kind of readiness that was asked for where the tunnel's connections cost something: then it is ready when it
	// listens. Mostly empty.
	unasked string
	key     pidfile.Key // of the record: the target's, or that of a tunnel for the same route that has the address already

	front    netip.AddrPort   // the listener's address, where one takes this tunnel's clients
	launched *tunnel.Launched // by this call, if any
	began    bool             // this call has launched it, whatever became of that
	private  netip.AddrPort   // where what it launched listens while somebody has to sign in; zero if at its own address
	signedIn int64            // where the log ended when somebody had signed in, before the program listened; zero where nobody had to
	freed    int              // how often the address was taken, and then held by nobody
	self     process.Identity // this process, once it was asked for
	hurried  bool             // the caller has said how long to wait
	timer    *time.Timer      // the end of the wait, once it has begun
	asking   *questions       // the tunnel program's; nil where none are taken
	held     *heldPages       // of the program that is, or was, tried at its own address first; nil where none was
	up       bool             // the tunnel is ready: from now on its program is worth starting again
}

func newStart(h *Env, t target, dir pidfile.Dir, req StartRequest) *start {
	s := &start{Env: h, target: t, dir: dir, req: req, ready: tunnel.ReadyListen, key: t.key()}
	for _, ready := range []string{t.route.Named.Ready, req.Ready} {
		if ready != "" {
			s.ready = ready
		}
	}
	if s.ready != tunnel.ReadyListen && !t.route.Probed() {
		s.ready, s.unasked = tunnel.ReadyListen, s.ready
	}
	if s.hurried = s.req.Timeout > 0; !s.hurried {
		s.req.Timeout = usualTimeout(t, s.ready)
	}
	return s
}

// usualTimeout is how long a start waits where its caller has not said. What a provider says is of its program alone.
func usualTimeout(t target, ready string) time.Duration {
	limit := t.route.Timeout()
	switch before := len(t.route.Before(t.listen.Addr, "")) > 0; { // a VPN takes its time as well
	case before && t.route.Named.Timeout == "":
		return max(limit, DefaultSignInTimeout)
	case limit > 0:
		return limit
	case ready != tunnel.ReadyListen:
		return DefaultSignInTimeout
	}
	return DefaultTimeout
}

// freedTries is how often an address is tried again that somebody has just left.
const freedTries = 3

// autoTries is how often a free port is looked for: another program may take it before the tunnel program does.
const autoTries = 3

func (s *start) do(ctx context.Context) (Started, error) {
	defer func() {
		s.asking.close()
		s.held.close()
		s.asking, s.held = nil, nil
	}()
	for try := 1; ; try++ {
		rec, started, err := s.launchOrFind(ctx)
		if err != nil || started.Reused != nil {
			return started, err
		}
		started, err = s.await(ctx, rec)
		if try < autoTries && (s.portLost(err) || s.overtaken(err)) {
			continue
		}
		var failed *FailedError
		if !s.began && errors.As(err, &failed) && failed.Record.Unasked && errors.Is(err, tunnel.ErrEnded) && try < autoTries {
			continue // a keeper's attempt is not this start's
		}
		return started, err
	}
}

// portLost tells whether a start has failed since somebody else got the free port that it had found: another program that listens, or a
// connection of one, which may be gone by now, so that only the tunnel program has seen it.
func (s *start) portLost(err error) bool {
	if !s.address().Auto() {
		return false
	}
	var failed *FailedError
	inUse := func(line string) bool { return strings.Contains(strings.ToLower(line), "address already in use") } // EADDRINUSE, errno(3)
	return errors.As(err, new(*TakenError)) || errors.As(err, &failed) && errors.Is(err, tunnel.ErrEnded) && slices.ContainsFunc(failed.Lines, inUse)
}

// overtaken tells whether a start has failed since a tunnel for its route has come up at its address meanwhile, by another start or a
// keeper, and has the start look at that one. It goes by another name, whose lock nobody held for this one.
func (s *start) overtaken(err error) bool {
	var taken *TakenError
	if !errors.As(err, &taken) {
		return false
	}
	rec, ok := s.tunnelAt(s.dir, taken.Address)
	if !ok || rec.Target != s.route.Text {
		return false
	}
	s.held.close()
	s.key, s.launched, s.began, s.private, s.held = rec.Key(), nil, false, netip.AddrPort{}, nil
	return true
}

// launchOrFind gives the record of the running tunnel, or launches it. Where the address is taken as it is, started says so.
func (s *start) launchOrFind(ctx context.Context) (rec pidfile.Record, started Started, err error) {
	if rec, err := s.dir.Read(s.key); err == nil && usable(rec) && !s.adds(rec) {
		return rec, Started{}, nil // found running: the usual second start takes no lock
	}
	for {
		var next next
		err := s.locked(ctx, s.dir.Lock, s.key, func(lock *pidfile.Lock) (err error) {
			next, err = s.underLock(ctx, lock)
			return err
		})
		switch {
		case err != nil, next.do == takeIt:
			return next.rec, next.started, err
		case next.do == lookElsewhere:
			s.key = next.key
		case next.do == endFirst:
			if err := s.finishEnding(ctx, s.dir, next.rec, endGrace); err != nil {
				return next.rec, Started{}, err
			}
		}
	}
}

// next is what a start has found under the lock, and what it does then.
type next struct {
	do      doNext
	rec     pidfile.Record
	started Started     // where the address is taken as it is
	key     pidfile.Key // where to look
}

type doNext int

const (
	takeIt        doNext = iota // the tunnel is there, or the address can be taken as it is
	endFirst                    // the record's tunnel must end before another can take its place
	lookElsewhere               // another key's record is the one to look at
)

func (s *start) underLock(ctx context.Context, lock *pidfile.Lock) (next, error) {
	rec, ok, err := s.readOrSetAside(lock)
	if err != nil {
		return next{}, err
	}
	if ok {
		there, do := false, takeIt
		err := s.transact(lock, rec, func(tx *transaction) (err error) {
			if there, err = tx.adopt(); err != nil || !there {
				return err
			}
			if usable(tx.rec) {
				s.join(tx)
			} else { // dead or dying: what is left of it must not serve the address beside the new one
				tx.rec.Ending, do = true, endFirst
			}
			rec = tx.rec
			return nil
		})
		if err != nil || there {
			return next{do: do, rec: rec}, err
		}
	}
	if own := s.target.key(); s.key != own {
		return next{do: lookElsewhere, key: own}, nil // it has ended since it was found at our address
	}
	return s.launch(ctx, lock)
}

// asked is the promise that this start asks for now. A program that was not ready once is not worth starting again.
func (s *start) asked() pidfile.Promise {
	return pidfile.Promise{
		ForGood: len(s.req.EndWith) == 0, EndWith: s.req.EndWith, IdleStop: s.req.IdleStop, KeepAlive: s.req.KeepAlive && s.up,
	}
}

// want writes into a record what this start wants of the tunnel.
func (s *start) want(rec *pidfile.Record) {
	rec.EndIdle, rec.Awaited = false, nil // somebody wants it again
	rec.Add(s.asked())
	if rec.ForGood {
		rec.HandedOver = time.Time{}
	}
	rec.Shared = rec.Shared || s.launched == nil
	if s.req.Caller != (process.Identity{}) || s.up && len(s.req.EndWith) > 0 {
		rec.Caller, rec.Promised = s.req.Caller, s.Now()
	}
	if rec.IdleStop > 0 { // its client has that long to come
		rec.Promised = s.Now()
	}
}

// adds tells whether this start changes anything in the record, or its keeper is missing or does nothing.
func (s *start) adds(rec pidfile.Record) bool {
	wanted := rec
	s.want(&wanted)
	return !reflect.DeepEqual(wanted, rec) || rec.Watched() && (!rec.Keeper.Alive() || rec.Keeper.Stopped())
}

// maxBeside is how many connections a record takes: a tunnel with more of them has clients enough not to end soon.
const maxBeside = 100

// join adds to a running tunnel what this start wants of it.
func (s *start) join(tx *transaction) {
	before := tx.rec.Promised
	s.want(&tx.rec)
	if s.up && tx.rec.Prober == s.self {
		tx.rec.Asking = false
	}
	if !tx.rec.Promised.Equal(before) { // a keeper looks only later, and could not tell
		beside, _ := tunnel.Connections(tx.rec.Public())
		tx.rec.Beside = beside[:min(len(beside), maxBeside)]
	}
	if !tx.rec.Watched() {
		return
	}
	if tx.rec.ArgsHash == hashArgs(tx.rec.Token, s.args()) { // otherwise this start does not know how it was launched
		tx.program, _ = s.program(tx.rec.Address) // a program that is not on this caller's PATH runs all the same
	}
	if !tx.rec.KeepAlive || tx.rec.KeeperKnows && tx.rec.Keeper.Alive() {
		return
	}
	if tx.program.argv == nil {
		tx.rec.KeepAlive = false // see await, which says so
		return
	}
	tx.newKeeper = true // in place of one that a stop has started
}

// joinAgain is for what can be wanted only of a tunnel that is ready.
func (s *start) joinAgain(ctx context.Context, rec pidfile.Record) (pidfile.Record, error) {
	if !s.adds(rec) {
		return rec, nil
	}
	return s.updateUnlessStopped(ctx, rec, func(tx *transaction) error {
		s.join(tx)
		return nil
	})
}

// updateUnlessStopped is update for a tunnel that this start waits for, and gives the record as it is then. The error is a
// *StoppedError where a stop has ended the tunnel meanwhile, or is about to.
func (s *start) updateUnlessStopped(ctx context.Context, rec pidfile.Record, change func(*transaction) error) (pidfile.Record, error) {
	stopped := false
	found, err := s.update(ctx, s.dir, rec.Key(), rec.Token, func(tx *transaction) (err error) {
		if stopped = tx.rec.Ending; !stopped {
			err = change(tx)
			rec = tx.rec
		}
		return err
	})
	if err == nil && (stopped || !found) {
		err = &StoppedError{rec}
	}
	return rec, err
}
