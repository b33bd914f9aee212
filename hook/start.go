package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// StartRequest says which tunnel to start, and how.
type StartRequest struct {
	Route, Listen string
	Args          []string      // extra arguments of the tunnel program
	Timeout       time.Duration // how long to wait until it is ready; 0 means DefaultTimeout
	Reuse         bool          // take the address as it is where another program serves it

	run *pidfile.Identity // the run process that asks; nil for start itself
}

// DefaultTimeout is how long a start waits until its tunnel listens.
const DefaultTimeout = 15 * time.Second

// endGrace is the patience with a tunnel program that came to nothing, before it is killed.
const endGrace = 5 * time.Second

// lockPatience bounds the wait for another tunhook that changes the same record, which takes it milliseconds.
const lockPatience = 10 * time.Second

// Started is a tunnel that is ready.
type Started struct {
	Address netip.AddrPort
	Record  pidfile.Record // zero where the address was taken as it is
	Found   bool           // it was running before
	Reused  *tunnel.Peer   // the other program that serves the address
}

// TakenError says that another program has the listen address.
type TakenError struct {
	Address netip.AddrPort
	Holder  tunnel.Peer
	Route   string // of the tunnel that has it, if it is one of ours
}

func (e *TakenError) Error() string {
	who := "another program"
	switch {
	case e.Route != "":
		who = fmt.Sprintf("the tunnel for %s (%s, pid %d)", e.Route, e.Holder.Program, e.Holder.PID)
	case e.Holder.PID != 0:
		who = fmt.Sprintf("%s (pid %d)", e.Holder.Program, e.Holder.PID)
	}
	return fmt.Sprintf("%s is taken by %s", e.Address, who)
}

// FailedError says that a tunnel program was started and did not come to serve its tunnel.
type FailedError struct {
	Record pidfile.Record
	Reason string
	Lines  []string // its last log lines, safe to show
	Err    error    // tunnel.ErrEnded, a *tunnel.ElsewhereError, or context.DeadlineExceeded after Waited
	Waited time.Duration
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s for %s %s", e.Record.Program, e.Record.Route, e.Reason)
}

func (e *FailedError) Unwrap() error { return e.Err }

// StoppedError says that a stop ended the tunnel while a start still waited for it.
type StoppedError struct{ Record pidfile.Record }

func (e *StoppedError) Error() string {
	return fmt.Sprintf("the tunnel for %s was stopped while it was starting", e.Record.Route)
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
	if req.Timeout <= 0 {
		req.Timeout = DefaultTimeout
	}
	s := &start{Hook: h, target: t, dir: dir, req: req}
	started, err := s.do(ctx)
	if err == nil && t.listen.Exposed() {
		h.notice(Exposed{t.listen.String()})
	}
	return started, err
}

// start is one call of Start on its way.
type start struct {
	*Hook
	target
	dir pidfile.Dir
	req StartRequest

	launched *tunnel.Launched // by this call, if any
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
		if s.listen.Auto() && try < autoTries && errors.As(err, &taken) {
			continue
		}
		return started, err
	}
}

// launchOrFind gives the record of the running tunnel, or launches it. Where the address is taken as it is, started says so.
func (s *start) launchOrFind(ctx context.Context) (rec pidfile.Record, started Started, err error) {
	if rec, err := s.dir.Read(s.key()); err == nil && s.settled(rec) {
		return rec, Started{}, nil // found running: the usual second start takes no lock
	}
	for {
		lock, err := s.lock(ctx)
		if err != nil {
			return rec, Started{}, err
		}
		rec, started, err = s.underLock(lock)
		err = errors.Join(err, lock.Unlock())
		var ending *endingError
		if !errors.As(err, &ending) {
			return rec, started, err
		}
		if err := s.finishEnding(ctx, s.dir, ending.rec, endGrace); err != nil {
			return rec, Started{}, err
		}
	}
}

// settled tells whether a found record needs no change. One without a process may be what a killed start has left.
func (s *start) settled(rec pidfile.Record) bool {
	return !rec.Ending && s.req.run == nil && rec.Kept && rec.Tunnel.PID != 0 && running(rec)
}

func (h *Hook) lockRecord(ctx context.Context, lock func(context.Context, pidfile.Key) (*pidfile.Lock, error), key pidfile.Key) (*pidfile.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return lock(ctx, key)
}

func (s *start) lock(ctx context.Context) (*pidfile.Lock, error) {
	return s.lockRecord(ctx, s.dir.Lock, s.key())
}

// endingError says, within this package, that a tunnel must end before another can take its place.
type endingError struct{ rec pidfile.Record }

func (e *endingError) Error() string { return "the tunnel is ending" }

func (s *start) underLock(lock *pidfile.Lock) (pidfile.Record, Started, error) {
	rec, ok, err := s.readOrSetAside(lock)
	if err != nil {
		return rec, Started{}, err
	}
	if ok {
		if rec, err = adopt(lock, rec); err != nil && !errors.Is(err, pidfile.ErrGone) {
			return rec, Started{}, err
		}
		if err == nil && !rec.Ending && running(rec) {
			return rec, Started{}, s.join(lock, rec)
		}
		if err == nil { // dead or dying: what is left of it must not serve the address beside the new one
			rec.Ending = true
			return rec, Started{}, errors.Join(lock.Write(rec), &endingError{rec})
		}
	}
	rec, started, err := s.launch(lock)
	return rec, started, err
}

// adopt completes a record whose start was killed before it could add the tunnel program's identity. Where no such program is
// there the record is removed and the error is pidfile.ErrGone.
func adopt(lock *pidfile.Lock, rec pidfile.Record) (pidfile.Record, error) {
	if rec.Tunnel != (pidfile.Identity{}) {
		return rec, nil
	}
	id, err := rec.Adopt()
	if errors.Is(err, pidfile.ErrGone) {
		return rec, errors.Join(err, lock.Remove())
	}
	if err != nil {
		return rec, err
	}
	rec.Tunnel = id
	return rec, lock.Write(rec)
}

// join notes in a found record who uses it from now on.
func (s *start) join(lock *pidfile.Lock, rec pidfile.Record) error {
	if s.req.run != nil {
		rec.Runs = append(rec.Runs, *s.req.run)
	} else if rec.Kept {
		return nil
	} else {
		rec.Kept = true
	}
	return lock.Write(rec)
}

func (s *start) launch(lock *pidfile.Lock) (pidfile.Record, Started, error) {
	rec := pidfile.Record{
		Provider: s.route.Provider.Name(), Signal: s.route.Provider.Signal,
		Token: pidfile.NewToken(), Started: s.Now().Round(time.Millisecond), Kept: s.req.run == nil,
		Route: s.route.Given, Listen: s.listen.String(),
	}
	if s.req.run != nil {
		rec.Runs = []pidfile.Identity{*s.req.run}
	}
	var err error
	rec.Address, err = s.listen.Reserve()
	if errors.Is(err, tunnel.ErrTaken) {
		return s.taken()
	}
	if err != nil {
		return rec, Started{}, err
	}
	argv, err := s.argv(&rec)
	if err != nil {
		return rec, Started{}, err
	}
	log, err := s.openLog(&rec)
	if err != nil {
		return rec, Started{}, err
	}
	defer log.Close()
	return s.launchRecorded(lock, rec, argv, log)
}

// argv gives the tunnel program with its absolute path, and its arguments.
func (s *start) argv(rec *pidfile.Record) ([]string, error) {
	args := s.route.Args(s.req.Args)
	argv := s.route.Argv(rec.Address, s.Self, args)
	program, err := s.route.Provider.FindProgram(argv[0], Variable(s.Environ, "PATH"))
	if err != nil {
		return nil, err
	}
	rec.ArgsHash, rec.Program = hashArgs(rec.Token, args), filepath.Base(program)
	argv[0] = program
	return argv, nil
}

// hashArgs is salted, so that a record does not tell which of the usual arguments was given.
func hashArgs(token string, args []string) string {
	mac := hmac.New(sha256.New, []byte(token))
	for _, a := range args {
		fmt.Fprintf(mac, "%d:%s", len(a), a)
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (s *start) openLog(rec *pidfile.Record) (*os.File, error) {
	dir, err := pidfile.PrivateDir(s.LogDir, false, true)
	if err != nil {
		return nil, err
	}
	rec.Log = filepath.Join(dir.Path(), rec.Key().Name()+".log")
	log, from, err := tunnel.OpenLog(rec.Log, fmt.Sprintf("%s for %s on %s", rec.Program, rec.Route, rec.Address), s.Now())
	rec.LogFrom = from
	return log, err
}

// launchRecorded writes the record first, with the token that the program gets in its environment, so that a start that is
// killed between the two leaves nothing that cannot be found.
func (s *start) launchRecorded(lock *pidfile.Lock, rec pidfile.Record, argv []string, log *os.File) (pidfile.Record, Started, error) {
	if err := lock.Write(rec); err != nil {
		return rec, Started{}, err
	}
	launched, err := tunnel.Launch(argv, append(withoutToken(s.Environ), pidfile.TokenVariable+"="+rec.Token), log)
	if err != nil {
		return rec, Started{}, errors.Join(err, lock.Remove())
	}
	s.launched = launched
	rec.Tunnel, err = pidfile.Identify(launched.PID)
	if errors.Is(err, pidfile.ErrGone) { // dead already: await finds that out and has the words for it
		return rec, Started{}, nil
	}
	if err == nil {
		err = lock.Write(rec)
	}
	if err != nil {
		endErr := endProcesses(rec, endGrace)
		return rec, Started{}, errors.Join(err, endErr, lock.Remove())
	}
	return rec, Started{}, nil
}

// withoutToken: a tunnel that is started by something that a tunnel has started is one of its own.
func withoutToken(environ []string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, v := range environ {
		if !strings.HasPrefix(v, pidfile.TokenVariable+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// taken says who has the address: one of our own tunnels for the same route will do, another program if it was asked for.
func (s *start) taken() (pidfile.Record, Started, error) {
	holder, held := tunnel.Holder(s.listen.Addr)
	if rec, ok := s.ownHolder(); ok {
		if rec.Route == s.route.Given && running(rec) && !rec.Ending {
			return rec, Started{}, nil
		}
		return rec, Started{}, &TakenError{s.listen.Addr, tunnel.Peer{PID: rec.Tunnel.PID, Program: rec.Program}, rec.Route}
	}
	if held && s.req.Reuse {
		return pidfile.Record{}, Started{Address: s.listen.Addr, Reused: &holder}, nil
	}
	return pidfile.Record{}, Started{}, &TakenError{s.listen.Addr, holder, ""}
}

// ownHolder finds the tunnel of ours that serves the address.
func (s *start) ownHolder() (pidfile.Record, bool) {
	entries, err := s.dir.List()
	if err != nil {
		return pidfile.Record{}, false
	}
	for _, e := range entries {
		if e.Err == nil && e.Record.Address == s.listen.Addr && running(e.Record) {
			return e.Record, true
		}
	}
	return pidfile.Record{}, false
}
