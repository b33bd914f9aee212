package hook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// askPause is the time from one question to the next, for a server that comes up late.
const askPause = time.Second

// waitAnswered sees to it that a server answers through the tunnel, with no more connections than that takes. It gives where the
// program listens then, and whether it was asked at all.
func (s *start) waitAnswered(ctx context.Context, q *question, at netip.AddrPort) (_ netip.AddrPort, asked bool, err error) {
	var failed error // the last time, where it is asked again
	for replaced := false; ; {
		ask, err := s.takeTurn(ctx, q)
		if err != nil || !ask {
			return at, false, err
		}
		began := time.Now()
		q.givenUp = nil
		if s.launched == nil && !replaced {
			q.givenUp = func() bool { return time.Since(began) > silence }
		}
		err = s.waitAnswer(ctx, q, at)
		switch {
		case errors.Is(err, errAsksSignIn):
			at, err = s.letSignIn(ctx, q)
		case errors.Is(err, errDead) && inUse(q.rec): // by somebody who has come meanwhile
			return at, false, nil
		case err == nil:
			return at, true, nil
		case s.launched == nil && !replaced && q.url == "" && soundsDead(err) && !inUse(q.rec):
			replaced = true
			at, err = s.replace(ctx, q)
		case s.launched != nil && (s.hurried || s.route.Named.Timeout != "") && !s.route.Provider.SignsIn() && soundsDead(err):
			failed = err
			at, err = s.askAgain(ctx, q, at, began, err)
		case failed != nil && errors.Is(err, context.DeadlineExceeded): // in the middle of the last question
			err = failed
		}
		if err != nil {
			return at, true, err
		}
	}
}

// soundsDead tells whether an error may be that of a tunnel whose connection is dead, or whose server is not up yet.
func soundsDead(err error) bool {
	return errors.Is(err, errDead) || errors.Is(err, tunnel.ErrClosed) || errors.Is(err, tunnel.ErrEnded)
}

// askAgain waits until it is time to ask once more, and launches a program again that has ended with the last question. Where the
// caller's time is over, what has failed is the error.
func (s *start) askAgain(ctx context.Context, q *question, at netip.AddrPort, began time.Time, failed error) (netip.AddrPort, error) {
	select {
	case <-ctx.Done():
		return at, failed
	case <-time.After(time.Until(began.Add(askPause))):
	}
	if q.unwanted(q.rec) {
		return at, &StoppedError{q.rec}
	}
	if lives(q.rec) {
		q.forget()
		return at, nil
	}
	at, err := s.replace(ctx, q)
	if errors.Is(err, context.DeadlineExceeded) {
		err = failed
	}
	return at, err
}

// othersAsk tells whether another start waits for an answer through the tunnel.
func (s *start) othersAsk(rec pidfile.Record) bool {
	return rec.Asking && rec.Prober.PID != s.self.PID && rec.Prober.Alive()
}

// takeTurn tells whether this start is to ask for an answer. Another one that asks is waited for: a hundred starts at once make one
// connection. Nobody asks through a tunnel that is in use.
func (s *start) takeTurn(ctx context.Context, q *question) (ask bool, err error) {
	if s.launched != nil {
		return true, nil // it has the turn since it launched the program
	}
	if s.self, err = process.Self(); err != nil {
		return false, err
	}
	for now := q.rec; ; {
		if s.answered(now) || !s.othersAsk(now) && inUse(now) {
			return false, nil
		}
		if s.othersAsk(now) {
			if err := s.waitAsked(ctx, q); err != nil {
				return false, err
			}
		}
		now, err = s.updateUnlessStopped(ctx, q.rec, func(tx *transaction) error {
			if ask = !s.othersAsk(tx.rec) && !s.answered(tx.rec); ask {
				tx.rec.Prober, tx.rec.Asking, tx.rec.Tried = s.self, true, false
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		relaunched := now.Tunnel != q.rec.Tunnel
		q.rec = now
		if relaunched {
			if _, err := s.waitSettled(ctx, q, now.Address); err != nil {
				return false, q.failure(err)
			}
		}
		if ask {
			return true, nil
		}
	}
}

// waitAsked waits until another start asks no more.
func (s *start) waitAsked(ctx context.Context, q *question) error {
	q.what = fmt.Sprintf("for an answer through %s", q.rec.Program)
	q.ask = func(ctx context.Context) error {
		for {
			now, err := s.dir.Read(q.rec.Key())
			if err != nil || now.Token != q.rec.Token || !s.othersAsk(now) {
				return nil // what that means is seen under the lock
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(waitPause):
			}
		}
	}
	q.listening = true // its end is not the end of this wait: the one that asks may launch it again
	defer func() { q.listening = false }()
	return q.await(ctx)
}

// noteAnswer notes that a server has answered, so that nobody asks once more. One that asks for --idle-stop goes on being on its way
// until joinAgain: the time to be idle begins when its caller can connect.
func (s *start) noteAnswer(tx *transaction) {
	tx.rec.Asking, tx.rec.Tried = s.req.IdleStop > 0, false
	tx.rec.Answered = pidfile.Answer{Ready: s.ready, Program: tx.rec.Tunnel, At: s.Now().Round(time.Millisecond)}
	tx.lookAround()
}

// giveUpTurn lets others ask.
func (s *start) giveUpTurn(rec pidfile.Record) {
	_, _ = s.update(context.Background(), s.dir, rec.Key(), rec.Token, func(tx *transaction) error { // when this process ends they may, too
		if tx.rec.Prober == s.self {
			tx.rec.Asking = false
		}
		return nil
	})
}

// replace launches the program of a tunnel again that is taken for dead, in place of the old one, and waits until it listens. It gives
// where. Nobody may be connected.
func (s *start) replace(ctx context.Context, q *question) (netip.AddrPort, error) {
	var own bool
	rec, err := s.updateUnlessStopped(ctx, q.rec, func(tx *transaction) (err error) {
		if own = tx.rec.Tunnel == q.rec.Tunnel && !inUse(tx.rec); !own {
			return nil // somebody else has done so, or uses it
		}
		at, err := s.firstAddress(tx.rec.Address)
		if err != nil {
			return err
		}
		if tx.rec.Prober, err = process.Self(); err != nil {
			return err
		}
		s.self, tx.rec.Asking = tx.rec.Prober, s.ready != tunnel.ReadyListen
		if s.private.IsValid() {
			tx.rec.Starter = s.self
		}
		tx.rec.Tried = s.held.holding()
		if s.launched == nil {
			tx.stepsAgain(s.route) // the VPN may be as dead as the tunnel
		}
		return s.launchAgain(tx, at, "does not answer any more")
	})
	if err != nil {
		return rec.Address, err
	}
	q.rec = rec
	at := s.at(rec)
	if own {
		q.forget()
		err = q.listens(ctx, at)
	} else {
		_, err = s.waitSettled(ctx, q, at)
	}
	if err != nil {
		err = q.failure(err)
	}
	return at, err
}

// launchAgain launches the program of the record's tunnel at an address, in place of the one that there was, if that still lives.
func (s *start) launchAgain(tx *transaction, at netip.AddrPort, why string) error {
	program, err := s.program(at)
	if err != nil {
		return err
	}
	if err := endProcesses(tx.rec, deadGrace); err != nil {
		return err
	}
	log, from, err := s.beginLog(tx.rec.Log, fmt.Sprintf("%s %s: again, on %s", tx.rec.Program, why, tx.rec.Address))
	if err != nil {
		return err
	}
	defer log.Close()
	tx.rec.LogFrom, tx.rec.ArgsHash, tx.rec.Unasked = from, hashArgs(tx.rec.Token, s.args()), false
	if tx.rec.Watched() {
		if tx.program, err = s.program(tx.rec.Address); err != nil {
			return err
		}
		tx.newKeeper = !tx.rec.KeeperKnows
	}
	s.began = true
	s.launched, err = tx.launch(program, log)
	return err
}

// at is where the tunnel's program listens: at the private address where this start has launched it there.
func (s *start) at(rec pidfile.Record) netip.AddrPort {
	if s.launched != nil && s.private.IsValid() {
		return s.private
	}
	return rec.Address
}

// forget lets a question begin anew: what the log has told so far is of a connection, or a program, that is no more.
func (q *question) forget() {
	q.close()
	q.log, q.url, q.said, q.first, q.asksFrom, q.logFrom = nil, "", tunnel.Seen{}, false, time.Time{}, q.rec.LogFrom
	if from, err := q.logEnd(q.rec); err == nil {
		q.logFrom = from
	}
}

// How long a program is given to end with the connection that has asked for an answer: its own end of that is closed by then.
const (
	lastWords     = 10 * time.Millisecond
	mostLastWords = time.Second
)

// lookOnce looks once more at a tunnel whose server has answered. Some programs end with their first connection, a session that
// allows one only perhaps: such a one is launched again and asked nothing, so that its connection is left to the client.
func (s *start) lookOnce(ctx context.Context, q *question) error {
	began := time.Now()
	there := tunnel.Listening(q.rec.Address, q.rec.Session())
	if there && q.rec.Anew {
		return nil // one connection is nothing to it
	}
	program, err := process.Open(q.rec.Tunnel)
	if err == nil {
		ended := there && program.Wait(max(lastWords, min(20*time.Since(began), mostLastWords)))
		program.Close()
		if there && !ended {
			return nil
		}
	}
	if there && tunnel.Listening(q.rec.Address, q.rec.Session()) {
		return nil // its children carry on
	}
	if q.rec, err = s.updateUnlessStopped(ctx, q.rec, func(tx *transaction) error {
		if tx.rec.Tunnel != q.rec.Tunnel {
			return nil
		}
		return s.launchAgain(tx, tx.rec.Address, "ended with the connection that showed that a server answers")
	}); err != nil {
		return err
	}
	q.forget()
	_, err = s.waitSettled(ctx, q, q.rec.Address)
	if err != nil {
		err = q.failure(err)
	}
	return err
}
