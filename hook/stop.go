package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// StopRequest says which tunnel to stop, and how.
type StopRequest struct {
	Route, Listen string
	Grace         time.Duration // between the tunnel program's signal and SIGKILL; 0 means DefaultGrace
	Now           bool          // also where clients are connected
	Wait          bool          // return only when the tunnel is gone, also where it ends when its last client has left
}

// DefaultGrace is how long a tunnel program has to end by itself.
const DefaultGrace = 5 * time.Second

// Stopped says what a stop has done.
type Stopped struct {
	Record pidfile.Record   // the tunnel that was ended, or that will be; zero if none was running
	InUse  []tunnel.Peer    // the clients that it still waits for; none where it has ended
	Awaits bool             // nobody is connected, but a client may be about to connect: it ends within seconds unless that comes
	Others []pidfile.Record // where none was running: other tunnels of the same route
	// Waits is the listen address of the listener that is enabled, where no tunnel was running: the next connection
	// starts it.
	Waits netip.AddrPort
}

// Stop ends the tunnel and returns when it is gone and its address free. One that clients are connected to is ended
// when the last of them has left. Where none is running there is nothing to do, and no error. Errors are those of
// routes, listen addresses and the record's directory, and of processes that do not end.
func (h *Env) Stop(ctx context.Context, req StopRequest) (Stopped, error) {
	dir, err := h.records(false)
	if err != nil {
		return Stopped{}, err
	}
	key, err := h.stopKey(dir, req)
	var none *NoTunnelError
	if err != nil && !errors.As(err, &none) {
		return Stopped{}, err
	}
	stopped, err := h.stopKeyed(ctx, dir, key, req)
	if err == nil && stopped.Record.Route == "" && none != nil {
		stopped.Others = none.Others
	}
	if err == nil && stopped.Record.Route == "" {
		if entry, ok := h.waits(req.Route, req.Listen); ok {
			stopped.Waits = entry.Address
		}
	}
	return stopped, err
}

// stopKey is the key of the tunnel to stop. With a *NoTunnelError it is the key that a start which has not got to
// writing its record yet would have: the lock tells.
func (h *Env) stopKey(dir pidfile.Dir, req StopRequest) (pidfile.Key, error) {
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

// stopKeyed stops the tunnel of one key.
func (h *Env) stopKeyed(ctx context.Context, dir pidfile.Dir, key pidfile.Key, req StopRequest) (stopped Stopped, err error) {
	var rec pidfile.Record
	err = h.locked(ctx, dir.LockIfUsed, key, func(lock *pidfile.Lock) error {
		read, ok, err := h.readOrSetAside(lock)
		if err != nil || !ok {
			return err
		}
		return h.transact(lock, read, func(tx *transaction) error {
			if found, err := tx.adopt(); err != nil || !found {
				return err
			}
			stopped.InUse, err = tx.letEnd(req.Now, graceOf(req.Grace))
			rec = tx.rec
			return err
		})
	})
	if stopped.Record = rec; err != nil || rec.Route == "" {
		return stopped, err
	}
	if rec.Ending {
		defer h.waiting(fmt.Sprintf("for %s to end", rec.Program))()
		return stopped, h.finishEnding(ctx, dir, rec, graceOf(req.Grace))
	}
	if req.Wait {
		return Stopped{Record: rec}, h.waitGone(ctx, dir, rec)
	}
	stopped.Awaits = len(stopped.InUse) == 0
	return stopped, nil
}

func graceOf(asked time.Duration) time.Duration { return orDefault(asked, DefaultGrace) }

// letEnd takes back what was promised of the tunnel's life. It marks the tunnel as ending: now if nobody is connected or
// about to connect, otherwise when the last client has left. It gives those that are connected.
func (tx *transaction) letEnd(now bool, grace time.Duration) ([]tunnel.Peer, error) {
	rec := &tx.rec
	if _, deed, _ := phaseOf(*rec).deeds(); !now && deed == spare {
		clients, err := sessions(*rec)
		if err != nil {
			return nil, err
		}
		if waits := awaited(*rec); len(clients) > 0 || len(waits) > 0 {
			rec.EndIdle, rec.Awaited = true, waits
			rec.Promise, rec.HandedOver = pidfile.Promise{}, time.Time{}
			// Where nobody is connected, and it cannot be written down that somebody may be about to, it ends now.
			if len(clients) > 0 || tx.write() == nil {
				return clients, nil
			}
		}
	}
	tx.markEnding(grace)
	return nil, nil
}

// sessions gives the clients that a stop must not cut off. One that waits for its first answer, as a start's own probe
// does, is none: a stop beats a start.
func sessions(rec pidfile.Record) ([]tunnel.Peer, error) {
	if rec.Front.IsValid() {
		return tunnel.Answered(rec.Front)
	}
	clientsOf := tunnel.Clients
	if rec.OnTrial() {
		clientsOf = tunnel.Answered
	}
	clients, err := clientsOf(rec.Address)
	return slices.DeleteFunc(clients, func(c tunnel.Peer) bool { return c.PID == rec.Prober.PID && rec.Prober.Alive() }), err
}

// waitGone waits until the tunnel is gone, or wanted again.
func (h *Env) waitGone(ctx context.Context, dir pidfile.Dir, rec pidfile.Record) error {
	defer h.waiting(fmt.Sprintf("for the last client of %s to leave", rec.Public()))()
	for {
		now, err := dir.Read(rec.Key())
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && now.Token != rec.Token:
			return nil
		case err != nil:
			return err
		case !now.EndIdle && !now.Ending:
			return fmt.Errorf("the tunnel for %s is wanted again: another start came", rec.Route)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitPause):
		}
	}
}

// StopAll stops every tunnel that has a record, all at the same time; req's route and listen address do not count. It
// gives what became of those that were there.
func (h *Env) StopAll(ctx context.Context, req StopRequest) ([]Stopped, error) {
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
		stopped []Stopped
		failed  []error
		all     sync.WaitGroup
	)
	for _, e := range entries {
		if e.Err != nil {
			failed = append(failed, e.Err)
			continue
		}
		all.Go(func() {
			s, err := h.stopKeyed(ctx, dir, e.Record.Key(), req)
			mu.Lock()
			defer mu.Unlock()
			if s.Record.Route != "" && err == nil {
				stopped = append(stopped, s)
			}
			if err != nil {
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	return stopped, errors.Join(failed...)
}

// release lets go of a tunnel that the process self has used. The last of its holders ends it, unless a start wants it
// kept, or somebody is still connected: then it ends when the last has left.
func (h *Env) release(ctx context.Context, rec pidfile.Record, self process.Identity) error {
	_, err := h.leave(ctx, rec, self, false)
	return err
}

// leave is release for a process whose client may have handed over: then the tunnel is left to the next client, and the
// keeper ends it after that one. So it is where the client of another process has done so before.
func (h *Env) leave(ctx context.Context, rec pidfile.Record, self process.Identity, handedOver bool) (left bool, err error) {
	dir, err := h.records(false)
	if err != nil {
		return false, err
	}
	err = h.endUnused(ctx, dir, rec, func(now *pidfile.Record) bool {
		now.EndWith, now.Awaited = otherThan(self, now.EndWith), otherThan(self, now.Awaited)
		stays := !now.ForGood && !now.EndIdle && !now.Ending && !now.Front.IsValid() // a listener needs no tunnel to take the next client
		if left = handedOver && stays && lives(*now); left {
			now.HandedOver = h.Now()
		}
		return !now.ForGood && len(now.EndWith) == 0 && now.HandedOver.IsZero()
	})
	return left && err == nil, err
}

// endUnused ends the record's tunnel, or has it end when its last client has left, where the record, as it is under the
// lock, is one that should end; should may change it.
func (h *Env) endUnused(ctx context.Context, dir pidfile.Dir, rec pidfile.Record, should func(*pidfile.Record) bool) error {
	ends := false
	_, err := h.update(ctx, dir, rec.Key(), rec.Token, func(tx *transaction) (err error) {
		if should(&tx.rec) {
			_, err = tx.letEnd(false, DefaultGrace)
			ends = tx.rec.Ending
		}
		rec = tx.rec
		return err
	})
	if err != nil || !ends {
		return err
	}
	return h.finishEnding(ctx, dir, rec, DefaultGrace)
}

// otherThan leaves out a process, and those that have ended.
func otherThan(self process.Identity, ids []process.Identity) []process.Identity {
	return slices.DeleteFunc(pidfile.Alive(ids), func(id process.Identity) bool { return id == self })
}
