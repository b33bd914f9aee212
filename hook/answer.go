package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// ErrRefused says that the gateway does not let this user take this route.
var ErrRefused = errors.New("the gateway refused the route")

// How often the log is looked at while an answer is waited for, and how long a refusal is given to come with the
// closing of the connection.
const (
	logPause     = 50 * time.Millisecond
	refusalPause = 500 * time.Millisecond
)

// question is something asked of a tunnel, and what has been seen while its answer is waited for. It is the one wait: start
// asks whether the tunnel listens and then whether a server answers, a listener whether its client is answered.
type question struct {
	*start
	rec     pidfile.Record
	logFrom int64 // where in the log begins what concerns it
	what    string
	ask     func(context.Context) error // returns when there is an answer
	// listening says that it is whether the tunnel listens.
	listening bool
	// first says that somebody had to sign in before the program listened.
	first bool
	// upBefore says that the tunnel has answered before: a quick answer needs no look at the log then.
	upBefore bool
	// givenUp is asked, while nobody has to sign in, whether the tunnel is to be taken for dead. May be nil.
	givenUp func() bool

	log       *tunnel.LogWatch // nil before the first look
	done      func()           // ends what is shown of the wait
	url       string           // where somebody has to sign in, and has been told so
	asksFrom  time.Time        // when a program whose pages are held back was seen to ask for that
	said      tunnel.Seen      // what the log has said so far
	refusedAt time.Time        // when it was seen that the route is refused
}

// listens waits until the tunnel listens. The program may ask for a sign-in before.
func (q *question) listens(ctx context.Context, at netip.AddrPort) error {
	q.what = fmt.Sprintf("for %s to listen on %s", q.rec.Program, at)
	q.listening = true
	q.ask = func(ctx context.Context) error { return tunnel.WaitListening(ctx, at, q.rec.Session()) }
	defer func() { q.listening = false }()
	var err error
	if q.launched != nil || !tunnel.Listening(at, q.rec.Session()) { // a tunnel that is found has mostly long been up
		err = q.await(ctx)
	}
	if err == nil && q.private.IsValid() {
		q.read() // what it said last
	}
	if err == nil && q.said.SignIn != "" && !q.held.holding() { // whoever was to sign in has done so
		q.first, q.url, q.said = true, "", tunnel.Seen{Inside: q.said.Inside}
		if info, err := os.Stat(q.rec.Log); err == nil {
			q.signedIn = info.Size()
		}
	}
	return err
}

// waitAnswer makes the one connection that shows whether a server answers through the tunnel.
func (s *start) waitAnswer(ctx context.Context, q *question, at netip.AddrPort) error {
	if s.launched == nil && q.log == nil { // what a tunnel that was found running has logged is of the past
		from, err := s.logEnd(q.rec)
		if err != nil {
			return err
		}
		q.logFrom = from
	}
	q.what = fmt.Sprintf("for an answer through %s", q.rec.Program)
	q.ask = func(ctx context.Context) error { return tunnel.Probe(ctx, at, s.ready) }
	return q.await(ctx)
}

// errDead says that a tunnel is taken for dead though its program lives.
var errDead = errors.New("the tunnel does not answer any more")

// await asks the question, and watches meanwhile whether somebody has to sign in, whether the route is refused, and
// whether the tunnel is still there.
func (q *question) await(bounded context.Context) error {
	ctx, cancel := context.WithCancel(bounded)
	answer, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		answer <- q.ask(ctx)
	}()
	defer func() { // a probe must not pass for a client
		cancel()
		<-over
	}()

	q.done = q.waiting(q.what)
	defer func() { q.done() }()
	for pause := logPause; ; {
		select {
		case err := <-answer:
			if err != nil && q.tryOver() { // its probe's is not the only connection perhaps
				return errAsksSignIn
			}
			if err != nil || !q.upBefore && !q.listening { // what explains it may have been logged just before
				q.look()
			}
			if errors.Is(err, tunnel.ErrClosed) && !q.upBefore {
				q.awaitReason()
			}
			if cause := context.Cause(bounded); cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, cause)) {
				err = endedBy(cause)
			}
			return q.explain(err)
		case <-time.After(pause):
			looked := time.Now()
			if err := q.seen(); err != nil {
				return err
			}
			pause = max(logPause, tunnel.Rest(time.Since(looked)))
		}
	}
}

// awaitReason gives the program a moment to log why it has closed the connection.
func (q *question) awaitReason() {
	for range refusalPause / logPause {
		if q.said.Why.Means != "" || !q.rec.Tunnel.Alive() {
			return
		}
		time.Sleep(logPause)
		q.look()
	}
}

// endedBy is why a wait is over whose context is done for that cause: its time was, or the client has left. Anything else, a
// signal above all, says nothing of the tunnel.
func endedBy(cause error) error {
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, tunnel.ErrLeft) {
		return cause
	}
	return context.Canceled
}

// seen gives the error where the answer need not be waited for any more.
func (q *question) seen() error {
	q.look()
	if q.asking != nil && q.asking.came.Load() {
		q.signInSeen() // somebody has to type
	}
	if q.tryOver() {
		return errAsksSignIn
	}
	switch {
	case q.overdue():
		return q.diagnosed(ErrRefused)
	case q.unwanted(q.rec):
		return &StoppedError{q.rec}
	case q.listening:
		return nil
	case !lives(q.rec):
		return q.explain(tunnel.ErrEnded)
	case q.url == "" && q.givenUp != nil && q.givenUp():
		return errDead
	}
	return nil
}

// logEnd is where in the log the lines of what is asked now can begin: those of a tunnel that was found running tell of
// the past, and so do those of one that was launched for whose program somebody has signed in.
func (s *start) logEnd(rec pidfile.Record) (int64, error) {
	if s.launched != nil {
		return max(rec.LogFrom, s.signedIn), nil
	}
	info, err := os.Stat(rec.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return rec.LogFrom, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// read reads what the log has to say since the last time. A log that cannot be read has nothing to say.
func (q *question) read() tunnel.Seen {
	if q.log == nil {
		log, err := pidfile.OpenOwn(q.rec.Log, os.O_RDONLY)
		if err != nil {
			return tunnel.Seen{}
		}
		if q.log, err = q.route.Provider.WatchLog(log, q.logFrom); err != nil {
			log.Close()
			return tunnel.Seen{}
		}
	}
	seen := q.log.Next()
	q.said = q.said.Then(seen)
	return seen
}

// look reads the log, and tells where somebody has to sign in.
func (q *question) look() {
	asked := q.unanswered()
	seen := q.read()
	switch {
	case seen.SignIn == "":
	case q.held.holding():
		if q.asksFrom.IsZero() {
			q.asksFrom = time.Now()
		}
	case !asked:
		q.tell()
	}
	if asked && !q.unanswered() {
		q.show(func() func() { return q.waiting(q.what) })
	}
	if q.said.Why.Means == tunnel.Refused && q.refusedAt.IsZero() {
		q.refusedAt = time.Now()
	}
}

// tell tells where somebody has to sign in, and gives them the time.
func (q *question) tell() {
	q.url = q.said.SignIn
	q.signInSeen()
	q.show(func() func() {
		if q.SignIn == nil || q.listening && q.launched == nil { // the start that has launched it tells
			return func() {}
		}
		return q.SignIn(q.rec, q.url)
	})
}

// show shows what is waited for now in place of what was.
func (q *question) show(wait func() (done func())) {
	q.done()
	q.done = wait()
}

// unanswered tells whether somebody has to sign in still.
func (q *question) unanswered() bool { return q.said.SignIn != "" && !q.said.SignedIn }

func (q *question) close() {
	if q.log != nil {
		q.log.Close()
	}
}

func (q *question) overdue() bool {
	return q.said.Why.Means == tunnel.Refused && time.Since(q.refusedAt) > refusalPause
}

func (q *question) nobodySignedIn(err error) error {
	failed := q.failed(q.rec, err, fmt.Sprintf("waited %s for somebody to sign in, and nobody did", q.req.Timeout))
	failed.Means = tunnel.Unanswered
	return failed
}

// failed is an error of this question's: without the lines that name the page to sign in at, which dies with its program.
func (q *question) failed(rec pidfile.Record, err error, reason string) *FailedError {
	failed := q.start.failed(rec, err, reason)
	if page := q.said.SignIn; page != "" {
		page = page[:min(len(page), 100)] // what is shown of a line is cut
		failed.Lines = slices.DeleteFunc(failed.Lines, func(line string) bool { return strings.Contains(strings.ReplaceAll(line, `\u0026`, "&"), page) })
	}
	return failed
}

// diagnosed calls a failure what the log says that it is.
func (q *question) diagnosed(err error) error {
	why := q.said.Why
	switch why.Means {
	case tunnel.Refused:
		err = ErrRefused
	case tunnel.Down:
		err = tunnel.ErrClosed
	}
	failed := q.failed(q.rec, err, fmt.Sprintf("failed on %s (%s)", q.rec.Public(), why.Means)) // the same each time: see listener.failed
	failed.Means, failed.Line, failed.Hint = why.Means, why.Line, q.route.Fill(why.Hint)
	if !slices.Contains(failed.Lines, why.Line) {
		failed.Lines = append([]string{why.Line}, failed.Lines...)
	}
	return failed
}

// explain puts into words what the probe and the log have shown.
func (q *question) explain(err error) error {
	var protocol *tunnel.ProtocolError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, tunnel.ErrLeft):
		return err
	case q.listening: // see failure
		return err
	case errors.As(err, &protocol):
		return q.failed(q.rec, err, "leads to the wrong place: "+err.Error())
	case q.unwanted(q.rec): // a program that is ended has errors to log as well
		return &StoppedError{q.rec}
	case q.said.Why.Means != "":
		return q.diagnosed(err)
	case errors.Is(err, context.DeadlineExceeded) && q.unanswered():
		return q.nobodySignedIn(err)
	case errors.Is(err, context.DeadlineExceeded):
		return q.failed(q.rec, err, fmt.Sprintf("listens, but nothing answered through it within %s", q.req.Timeout))
	case errors.Is(err, tunnel.ErrClosed) && lives(q.rec):
		return q.failed(q.rec, err, "took the connection and closed it: the route is down, or nothing answers at its end")
	}
	return q.failure(tunnel.ErrEnded)
}
