package hook

import (
	"io"
	"os"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// signInWatch tells of a sign-in that the program of a running tunnel asks for: where a token has expired, say, or the network was gone.
type signInWatch struct {
	*Env
	log   *tunnel.LogWatch
	of    process.Identity // the program whose lines these are
	done  func()           // ends what is shown; nil where nothing is
	until time.Time        // when it ends at the latest
}

// look reads what was logged since the last time. Where it is told, somebody else tells of it, or it is of the past.
func (w *signInWatch) look(rec pidfile.Record, told bool) {
	if w.SignIn == nil {
		return
	}
	if w.of != rec.Tunnel {
		w.open(rec)
	}
	if w.log == nil {
		return
	}
	seen := w.log.Next()
	if w.done != nil && (seen.SignedIn || seen.SignIn != "" || time.Now().After(w.until)) {
		w.done()
		w.done = nil
	}
	if seen.SignIn != "" && !seen.SignedIn && !told {
		w.done, w.until = w.SignIn(rec, seen.SignIn), time.Now().Add(DefaultSignInTimeout)
	}
}

// open watches from the end of the log on; where the program is another one than before, from its beginning. Without a configuration
// it is not known what to look for.
func (w *signInWatch) open(rec pidfile.Record) {
	first := w.of == (process.Identity{})
	w.close()
	w.of = rec.Tunnel
	t, err := w.target(rec.Route, "")
	if err != nil {
		return
	}
	log, err := pidfile.OpenOwn(rec.Log, os.O_RDONLY)
	if err != nil {
		return
	}
	from := rec.LogFrom
	if end, err := log.Seek(0, io.SeekEnd); first && err == nil {
		from = end
	}
	if w.log, err = t.route.Provider.WatchLog(log, from); err != nil {
		log.Close()
	}
}

func (w *signInWatch) close() {
	if w.log != nil {
		w.log.Close()
		w.log = nil
	}
	if w.done != nil {
		w.done()
		w.done = nil
	}
}
