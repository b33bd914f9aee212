package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// followPause is the pause between two looks at a log that is followed, and at the record of its tunnel.
const followPause = 200 * time.Millisecond

// Logs copies the log of a tunnel to out; with follow it goes on until the tunnel ends or ctx is done. The log of a tunnel that
// has ended is there too. The error is a *NoTunnelError where there is none, or that of ctx.
func (h *Env) Logs(ctx context.Context, route, listen string, follow bool, out io.Writer) error {
	rec, path, err := h.findLog(route, listen)
	if err != nil {
		return err
	}
	log, err := pidfile.OpenOwn(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		if entry, ok := h.waits(route, listen); ok {
			return &WaitsError{entry}
		}
		return &NoTunnelError{Route: route, Listen: listen}
	}
	if err != nil {
		return logError(err)
	}
	defer log.Close()
	for follow && ctx.Err() == nil {
		over := rec.Token == "" || !h.goesOn(&rec) // asked before copying, so that the last lines are not missed
		if err := copyNew(out, log); err != nil || over {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
	if err := copyNew(out, log); err != nil {
		return err
	}
	return ctx.Err()
}

// findLog gives the log of the tunnel that is there, or of the last one that was.
func (h *Env) findLog(route, listen string) (pidfile.Record, string, error) {
	rec, err := h.record(route, listen)
	if err == nil {
		return rec, rec.Log, nil
	}
	var none *NoTunnelError
	if !errors.As(err, &none) {
		return rec, "", err
	}
	if entry, ok := h.waits(route, listen); ok {
		return pidfile.Record{}, h.logPath(entry.Key()), nil
	}
	t, targetErr := h.target(route, listen)
	if targetErr != nil {
		return rec, "", targetErr
	}
	return pidfile.Record{}, h.logPath(t.key()), nil
}

// goesOn tells whether the record's tunnel is there, or will be again, and brings the record up to date: looking for the processes
// of a tunnel whose program has ended is slow.
func (h *Env) goesOn(rec *pidfile.Record) bool {
	if dir, err := h.records(false); err == nil {
		if now, err := dir.Read(rec.Key()); err == nil && relaunched(*rec, now) {
			*rec = now
			return true
		}
	}
	return lives(*rec)
}

// copyNew copies what was added since the last call. A log that has become shorter was begun anew.
func copyNew(out io.Writer, log *os.File) error {
	at, err := log.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if info, err := log.Stat(); err == nil && info.Size() < at {
		if _, err := log.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	_, err = io.Copy(out, log)
	return err
}

// beginLog opens the log at path for a tunnel program, and says in it what begins; from is where the program's own lines will.
func (h *Env) beginLog(path, title string) (log *os.File, from int64, err error) {
	log, err = pidfile.OpenOwn(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return nil, 0, logError(err)
	}
	if from, err = tunnel.BeginLog(log, title, h.Now()); err != nil {
		log.Close()
		return nil, 0, err
	}
	return log, from, nil
}

func logError(err error) error { return fmt.Errorf("opening the log: %w", err) }

// shownLines is how many log lines come with the message that a tunnel failed.
const shownLines = 5

// tellingLines gives the lines of a log that come with such a message, of those from byte offset from on.
func tellingLines(path string, from int64) []string {
	log, err := pidfile.OpenOwn(path, os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer log.Close()
	return tunnel.TellingLines(log, from, shownLines)
}
