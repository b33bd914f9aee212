package hook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// await waits until the tunnel is ready. No lock is held meanwhile: a stop may come at any time, and wins.
func (s *start) await(ctx context.Context, rec pidfile.Record) (Started, error) {
	rec, err := s.waitReady(ctx, rec)
	found := !s.began
	if err == nil && (s.req.KeepAlive || s.req.IdleStop > 0 || len(s.req.EndWith) > 0) {
		s.up = true
		rec, err = s.joinAgain(ctx, rec)
	}
	if found && rec.ArgsHash != hashArgs(rec.Token, s.args()) {
		s.notice(OtherArgs{Record: rec, NotKept: err == nil && s.req.KeepAlive && !rec.KeepAlive})
	}
	if err == nil {
		return Started{Address: rec.Public(), Record: rec, Found: found}, nil
	}
	if !found {
		err = errors.Join(err, s.abandon(rec))
	}
	return Started{}, err
}

// waitReady waits for as much as was asked for, and returns the record as it is then.
func (s *start) waitReady(ctx context.Context, rec pidfile.Record) (pidfile.Record, error) {
	ctx, cancel := s.patience(ctx)
	defer cancel()
	q := &question{start: s, rec: rec, logFrom: rec.LogFrom}
	defer q.close()
	rec, err := s.waitSettled(ctx, q, s.at(rec))
	switch {
	case err != nil:
		return rec, q.failure(err)
	case s.ready == tunnel.ReadyListen && s.launched == nil && !rec.Front.IsValid() && s.mayBeDead(rec) && !inUse(rec):
		_, err = s.replace(ctx, q)
		return q.rec, err
	case s.ready == tunnel.ReadyListen:
		return rec, nil
	case rec.Front.IsValid():
		return rec, s.waitAnswer(ctx, q, rec.Front) // as a client of the listener's, which sees to it that one sign-in is enough
	}
	err = s.waitServer(ctx, q)
	if err != nil && s.launched == nil {
		s.giveUpTurn(q.rec)
	}
	return q.rec, err
}

// waitServer waits until a server answers through the tunnel, and the tunnel is where it shall be.
func (s *start) waitServer(ctx context.Context, q *question) error {
	at, asked, err := s.waitAnswered(ctx, q, s.at(q.rec))
	if err != nil || !asked {
		return err
	}
	s.held.free() // nobody has to sign in
	if at == q.rec.Address {
		if err := s.lookOnce(ctx, q); err != nil {
			return err
		}
	}
	move := s.move
	if q.first || q.said.Inside {
		move = s.carry
	}
	q.rec, err = s.updateUnlessStopped(ctx, q.rec, func(tx *transaction) error {
		if at != tx.rec.Address {
			if err := move(tx); err != nil {
				return err
			}
		}
		s.noteAnswer(tx)
		return nil
	})
	if err != nil || at == q.rec.Address {
		return err
	}
	if err := q.listens(ctx, q.rec.Address); err != nil {
		return q.failure(err)
	}
	return nil
}

// patience bounds the wait. A sign-in moves the bound, see signInSeen, unless it was asked for: so this is no deadline of the
// context's, but a cause of its end.
func (s *start) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.timer = time.AfterFunc(s.req.Timeout, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		s.timer.Stop()
		cancel(nil)
	}
}

// signInSeen gives whoever signs in the time that people take.
func (s *start) signInSeen() {
	if s.timer != nil && !s.hurried && s.req.Timeout < DefaultSignInTimeout && s.timer.Stop() {
		s.req.Timeout = DefaultSignInTimeout
		s.timer.Reset(s.req.Timeout)
	}
}

// waitSettled waits until the tunnel listens at that address, and gives the record as it is then: whoever else has
// launched the tunnel, or its keeper, may be about to launch its program once more, under the lock.
func (s *start) waitSettled(ctx context.Context, q *question, at netip.AddrPort) (pidfile.Record, error) {
	for {
		rec := q.rec
		err := q.listens(ctx, at)
		if err == nil && s.launched == nil && rec.OnTrial() {
			if err = s.waitTried(ctx, q); err != nil {
				return q.rec, err
			}
			continue
		}
		if s.launched != nil || err == nil && rec.Tunnel.Alive() || err != nil && !errors.Is(err, tunnel.ErrEnded) {
			return rec, err
		}
		now := rec
		_, readErr := s.update(ctx, s.dir, rec.Key(), rec.Token, func(tx *transaction) error { // nobody is changing it meanwhile
			now = tx.rec
			return nil
		})
		if readErr != nil || now.Ending || now.Tunnel == rec.Tunnel {
			return rec, err
		}
		q.rec = now
	}
}

// move starts the tunnel program once more, at the tunnel's own address, now that somebody has signed in, and ends the
// one at the private address.
func (s *start) move(tx *transaction) error {
	// The lock is held although this waits: a tunnel program that nobody is connected to ends at once, and no other
	// tunhook may take the pause for the tunnel's end.
	if err := endProcesses(tx.rec, time.Second); err != nil {
		return err
	}
	program, err := s.program(tx.rec.Address)
	if err != nil {
		return err
	}
	log, from, err := s.beginLog(tx.rec.Log, "signed in: "+tx.rec.Program+" again, on "+tx.rec.Address.String())
	if err != nil {
		return err
	}
	defer log.Close()
	tx.rec.LogFrom, s.signedIn = min(tx.rec.LogFrom, from), 0 // the log was cut perhaps
	tx.rec.Starter = process.Identity{}
	s.launched, err = tx.launch(program, log)
	return err
}

// carry leaves the program where it is, for which somebody has signed in, and starts a relay to it at the tunnel's own address:
// launched once more it would ask for another sign-in.
func (s *start) carry(tx *transaction) error {
	environ, err := s.tunnelEnviron(tx.rec, program{})
	if err != nil {
		return err
	}
	log, err := pidfile.OpenOwn(tx.rec.Log, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return logError(err)
	}
	defer log.Close()
	tx.rec.Starter = process.Identity{}
	_, err = s.launchProgram([]string{
		s.Self, "relay", "--listen", tx.rec.Address.String(), "--end-with", strconv.Itoa(tx.rec.Tunnel.PID), s.private.String(),
	}, environ, log)
	return err
}

// failure puts into words why the tunnel does not listen.
func (q *question) failure(err error) error {
	rec := q.rec
	if errors.Is(err, context.Canceled) || errors.As(err, new(*StoppedError)) || errors.As(err, new(*FailedError)) {
		return err
	}
	if errors.Is(err, tunnel.ErrEnded) && rec.Tunnel != (process.Identity{}) && q.unwanted(rec) {
		return &StoppedError{rec}
	}
	if errors.As(err, new(*tunnel.UnseenError)) {
		return q.failed(rec, err, "cannot be looked into, so it cannot be told that it is what listens on "+rec.Address.String()+
			": run it as yourself, without privileges of its own (sudo, setuid, file capabilities)")
	}
	if holder, held := tunnel.Holder(rec.Address); held && !slices.Contains(tunnel.PIDs(rec.Session(), rec.Address), holder.PID) {
		taken := &TakenError{Address: rec.Address, Holder: holder}
		taken.MayReuse = taken.usersOwn()
		return taken
	}
	failed := q.failed(rec, err, "")
	var elsewhere *tunnel.ElsewhereError
	switch {
	case errors.Is(err, tunnel.ErrEnded) && failed.step():
	case q.said.Why.Means != "" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tunnel.ErrEnded)):
		return q.diagnosed(err)
	case errors.Is(err, context.DeadlineExceeded) && q.unanswered():
		return q.nobodySignedIn(err)
	case errors.Is(err, context.DeadlineExceeded) && q.launched == nil && rec.OnTrial():
		failed.Reason = fmt.Sprintf("still waits, after %s, for an answer for another start (pid %d)", q.req.Timeout, rec.Prober.PID)
	case errors.Is(err, context.DeadlineExceeded):
		failed.Reason = fmt.Sprintf("did not listen on %s within %s", rec.Public(), q.req.Timeout)
	case errors.Is(err, tunnel.ErrEnded) && q.unanswered():
		failed.Means, failed.Reason = tunnel.Unanswered, "asked for a sign-in, and ended before anybody had signed in"
	case errors.Is(err, tunnel.ErrEnded) && q.launched != nil:
		failed.Reason = fmt.Sprintf("ended before it listened on %s (%s)", rec.Public(), q.launched.Ended())
	case errors.Is(err, tunnel.ErrEnded):
		failed.Reason = fmt.Sprintf("ended before it listened on %s", rec.Public())
	case errors.As(err, &elsewhere) && rec.Starter != (process.Identity{}):
		failed.Err = context.DeadlineExceeded
		failed.Reason = fmt.Sprintf("still waits, after %s, for somebody to sign in for another start (pid %d)", q.req.Timeout, rec.Starter.PID)
	case errors.As(err, &elsewhere):
		failed.Reason = fmt.Sprintf("failed: %v: see its arguments, and command (with {listen}) and listen_host of [provider.%s]", err, q.route.Provider.Name())
	default:
		return err
	}
	return failed
}

// unwanted tells whether a stop has come meanwhile.
func (s *start) unwanted(rec pidfile.Record) bool {
	now, err := s.dir.Read(rec.Key())
	return err != nil || now.Token != rec.Token || now.Ending || now.EndIdle
}

func (s *start) failed(rec pidfile.Record, err error, reason string) *FailedError {
	return &FailedError{Record: rec, Err: err, Reason: reason, Lines: tellingLines(rec.Log, rec.LogFrom)}
}

// abandon ends a tunnel that this start has launched and that is not wanted any more, also where the caller's time is
// over. Where somebody else has come to use it meanwhile, it ends when they have left.
func (s *start) abandon(rec pidfile.Record) error {
	s.launched = nil
	return s.endUnused(context.Background(), s.dir, rec, func(now *pidfile.Record) bool {
		tried := now.Tried
		now.Tried = false
		return !now.Shared || tried || now.Starter != (process.Identity{}) // at a private address it is of no use to anybody
	})
}
