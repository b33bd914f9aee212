package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/tunhook/tunhook/pidfile"
)

// StopRequest says which tunnel to stop.
type StopRequest struct {
	Route, Listen string
	Grace         time.Duration // between the tunnel program's signal and SIGKILL; 0 means DefaultGrace
}

// DefaultGrace is how long a tunnel program has to end by itself.
const DefaultGrace = 5 * time.Second

// Stopped says what a stop has done.
type Stopped struct {
	Record pidfile.Record   // the tunnel that was ended; zero if none was running
	Others []pidfile.Record // where none was: other tunnels of the same route
}

// Stop ends the tunnel and returns when it is gone and its address free. Where none is running there is nothing to do, and no
// error. Errors are those of routes, listen addresses and the record's directory, and of processes that do not end.
func (h *Hook) Stop(ctx context.Context, req StopRequest) (Stopped, error) {
	dir, err := h.records(false)
	if err != nil {
		return Stopped{}, err
	}
	key, err := h.stopKey(dir, req)
	var none *NoTunnelError
	if err != nil && !errors.As(err, &none) {
		return Stopped{}, err
	}
	rec, err := h.stopKeyed(ctx, dir, key, req.Grace)
	if err != nil || rec.Route != "" || none == nil {
		return Stopped{Record: rec}, err
	}
	return Stopped{Others: none.Others}, nil
}

// stopKey is the key of the tunnel to stop. With a *NoTunnelError it is the key that a start which has not got to writing its
// record yet would have: the lock tells.
func (h *Hook) stopKey(dir pidfile.Dir, req StopRequest) (pidfile.Key, error) {
	rec, err := h.find(dir, req.Route, req.Listen)
	if err == nil {
		return rec.Key(), nil
	}
	var bad *pidfile.BadRecordError
	var none *NoTunnelError
	if !errors.As(err, &bad) && !errors.As(err, &none) {
		return pidfile.Key{}, err
	}
	t, targetErr := h.target(req.Route, req.Listen)
	if targetErr != nil {
		return pidfile.Key{}, targetErr
	}
	if none != nil {
		return t.key(), none
	}
	return t.key(), nil
}

// stopKeyed ends the tunnel of one key. The record it gives is zero where there was none.
func (h *Hook) stopKeyed(ctx context.Context, dir pidfile.Dir, key pidfile.Key, grace time.Duration) (pidfile.Record, error) {
	lock, err := h.lockRecord(ctx, dir.LockIfUsed, key)
	if err != nil || lock == nil {
		return pidfile.Record{}, err
	}
	rec, found, err := h.markEnding(lock)
	if err = errors.Join(err, lock.Unlock()); err != nil || !found {
		return pidfile.Record{}, err
	}
	if grace <= 0 {
		grace = DefaultGrace
	}
	defer h.waiting(fmt.Sprintf("for %s to end", rec.Program))()
	return rec, h.finishEnding(ctx, dir, rec, grace)
}

func (h *Hook) markEnding(lock *pidfile.Lock) (rec pidfile.Record, found bool, err error) {
	rec, found, err = h.readOrSetAside(lock)
	if err != nil || !found {
		return rec, false, err
	}
	rec, err = adopt(lock, rec)
	if errors.Is(err, pidfile.ErrGone) {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, err
	}
	rec.Ending = true
	return rec, true, lock.Write(rec)
}

// StopAll ends every tunnel that has a record, all at the same time, and gives the records of those that were there.
func (h *Hook) StopAll(ctx context.Context, grace time.Duration) ([]pidfile.Record, error) {
	dir, err := h.records(false)
	if err != nil {
		return nil, err
	}
	entries, err := dir.List()
	if err != nil {
		return nil, err
	}
	var (
		mu      sync.Mutex
		stopped []pidfile.Record
		failed  []error
		all     sync.WaitGroup
	)
	for _, e := range entries {
		if e.Err != nil {
			failed = append(failed, fmt.Errorf("%w: it was left as it is", e.Err))
			continue
		}
		all.Go(func() {
			rec, err := h.stopKeyed(ctx, dir, e.Record.Key(), grace)
			mu.Lock()
			defer mu.Unlock()
			if rec.Route != "" {
				stopped = append(stopped, rec)
			}
			if err != nil {
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	return stopped, errors.Join(failed...)
}

// release lets go of a tunnel that the run process self has used. The last run ends it, unless a start wants it kept.
func (h *Hook) release(ctx context.Context, rec pidfile.Record, self pidfile.Identity) error {
	dir, err := h.records(false)
	if err != nil {
		return err
	}
	lock, err := h.lockRecord(ctx, dir.LockIfUsed, rec.Key())
	if err != nil || lock == nil {
		return err
	}
	now, err := lock.Read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.Token != rec.Token {
		return lock.Unlock() // ended by somebody else
	}
	if err != nil {
		return errors.Join(err, lock.Unlock())
	}
	now.Runs = otherRuns(now.Runs, self)
	last := !now.Kept && len(now.Runs) == 0
	now.Ending = now.Ending || last
	if err := errors.Join(lock.Write(now), lock.Unlock()); err != nil || !last {
		return err
	}
	return h.finishEnding(ctx, dir, now, DefaultGrace)
}

// otherRuns leaves out self and the runs that have ended without letting go.
func otherRuns(runs []pidfile.Identity, self pidfile.Identity) []pidfile.Identity {
	var others []pidfile.Identity
	for _, r := range runs {
		if r != self && r.Alive() {
			others = append(others, r)
		}
	}
	return others
}
