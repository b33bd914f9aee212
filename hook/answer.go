package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// ErrRefused says that the gateway does not let this user take this route.
var ErrRefused = errors.New("the gateway refused the route")

// How often the log is looked at while an answer is waited for, and how long a refusal is given to come with the closing of the
// connection.
const (
	logPause     = 50 * time.Millisecond
	refusalPause = 500 * time.Millisecond
)

// waitAnswer makes the one connection that shows whether a server answers through the tunnel, and watches meanwhile whether
// somebody has to sign in, whether the route is refused, and whether the tunnel is still there.
func (s *start) waitAnswer(ctx context.Context, rec pidfile.Record, at netip.AddrPort) error {
	log, err := s.watchLog(rec)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(ctx)
	answer, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		answer <- tunnel.Probe(ctx, at, s.ready)
	}()
	defer func() { // the probe must not pass for a client
		cancel()
		<-over
	}()

	w := &answerWait{start: s, rec: rec, log: log, done: s.waiting(fmt.Sprintf("for an answer through %s", rec.Program))}
	defer func() { w.done() }()
	for {
		select {
		case err := <-answer:
			w.look() // what explains the answer may have been logged just before it
			return w.explain(err)
		case <-time.After(logPause):
			if w.look(); w.overdue() {
				return w.explain(tunnel.ErrClosed)
			}
			if s.unwanted(rec) {
				return &StoppedError{rec}
			}
			if !lives(rec) {
				return w.explain(tunnel.ErrEnded)
			}
		}
	}
}

// watchLog reads the log from where this start's own lines can begin: those of a tunnel that was found running tell of the past.
func (s *start) watchLog(rec pidfile.Record) (*tunnel.LogWatch, error) {
	from := rec.LogFrom
	if s.launched == nil {
		info, err := os.Stat(rec.Log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			from = info.Size()
		}
	}
	return s.route.Provider.WatchLog(rec.Log, from)
}

// answerWait is what has been seen while waiting for an answer.
type answerWait struct {
	*start
	rec       pidfile.Record
	log       *tunnel.LogWatch
	done      func() // ends what is shown of the wait
	url       string // where somebody has to sign in
	refused   string // the line that says that the route is refused
	refusedAt time.Time
}

func (w *answerWait) look() {
	url, refused := w.log.Next()
	if url != "" && w.url == "" {
		w.url = url
		w.done()
		w.done = func() {}
		if w.SignIn != nil {
			w.done = w.SignIn(w.rec.Route, url)
		}
	}
	if refused != "" && w.refused == "" {
		w.refused, w.refusedAt = refused, time.Now()
	}
}

func (w *answerWait) overdue() bool {
	return w.refused != "" && time.Since(w.refusedAt) > refusalPause
}

// explain puts into words what the probe and the log have shown.
func (w *answerWait) explain(err error) error {
	var protocol *tunnel.ProtocolError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded) && w.url != "":
		failed := w.failed(w.rec, err, fmt.Sprintf("waited %s for somebody to sign in, and nobody did", w.req.Timeout))
		failed.SignIn = w.url
		return failed
	case errors.Is(err, context.DeadlineExceeded):
		return w.failed(w.rec, err, fmt.Sprintf("listens, but nothing answered through it within %s", w.req.Timeout))
	case w.refused != "":
		return w.failed(w.rec, ErrRefused, "was refused: the gateway does not let you take this route")
	case errors.As(err, &protocol):
		return w.failed(w.rec, err, "leads to the wrong place: "+err.Error())
	case w.unwanted(w.rec):
		return &StoppedError{w.rec}
	case errors.Is(err, tunnel.ErrClosed) && lives(w.rec):
		return w.failed(w.rec, err, "took the connection and closed it: the route is down, or nothing answers at its end")
	}
	return w.failure(w.rec, tunnel.ErrEnded)
}
