package hook

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// lockPatience bounds the wait for others that change the same record. It takes each milliseconds; a hundred of them, on a machine
// that is very busy besides, have taken more than 20 s.
const lockPatience = time.Minute

// transaction is a record under its lock.
type transaction struct {
	*Env
	lock *pidfile.Lock
	rec  pidfile.Record // what a change leaves here is written at the end
	// program is how to launch the tunnel program again, for a keeper that has to be started; zero where that is not known.
	program program
	// newKeeper says that the keeper shall be another one: the one that is there does not know how.
	newKeeper bool
	before    tunnel.Steps // what to run before the tunnel program, once
	undo      tunnel.Steps // what to run where one of those fails, and then those once more

	written pidfile.Record // what the file holds
	removed bool
}

// update changes a record under its lock. What change leaves in the transaction is written, with the keeper that its promises
// need; with an error nothing is. There is nothing to do, and nothing is found, where the key has no record or, if a token is
// given, where it has another tunnel's by now.
func (h *Env) update(ctx context.Context, dir pidfile.Dir, key pidfile.Key, token string, change func(*transaction) error) (found bool, err error) {
	err = h.locked(ctx, dir.LockIfUsed, key, func(lock *pidfile.Lock) error {
		rec, err := lock.Read()
		if errors.Is(err, fs.ErrNotExist) || err == nil && token != "" && rec.Token != token {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		return h.transact(lock, rec, change)
	})
	return found, err
}

// locked does something under the lock of a key, if there is one.
func (h *Env) locked(
	ctx context.Context, lock func(context.Context, pidfile.Key) (*pidfile.Lock, error), key pidfile.Key, do func(*pidfile.Lock) error,
) error {
	if h.Guard != nil {
		h.Guard()
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	held, err := lock(ctx, key)
	if err != nil || held == nil {
		return err
	}
	return errors.Join(do(held), held.Unlock())
}

// transact is update for a record that was read under its lock.
func (h *Env) transact(lock *pidfile.Lock, rec pidfile.Record, change func(*transaction) error) error {
	tx := &transaction{Env: h, lock: lock, rec: rec, written: rec}
	if err := change(tx); err != nil {
		return err
	}
	return tx.commit()
}

func (tx *transaction) commit() error {
	if tx.removed {
		return nil
	}
	before := tx.rec
	if err := tx.ensureKeeper(); err != nil {
		return err
	}
	err := tx.write()
	if tx.rec.Keeper != before.Keeper {
		unneeded := before
		if err != nil {
			unneeded = tx.rec // it would not find itself in the record
		}
		endKeeper(unneeded)
	}
	return err
}

// write writes the record now: before something that must not happen without. That it cannot be written (no room, a limit on the
// size of files, a file system that takes nothing any more) keeps nobody from ending a tunnel: at worst a start takes it for a
// running one until it is gone.
func (tx *transaction) write() error {
	if reflect.DeepEqual(tx.rec, tx.written) {
		return nil
	}
	err := tx.lock.Write(tx.rec)
	if err == nil {
		tx.written = tx.rec
	}
	if err != nil && tx.rec.Ending {
		endKeeper(tx.rec) // which does not learn of the end, and would start the program again
		return unlessUnwritten(err)
	}
	return err
}

func (tx *transaction) remove() error {
	tx.removed = true
	return tx.lock.Remove()
}

// unlessUnwritten leaves out that a record was not written.
func unlessUnwritten(err error) error {
	if errors.As(err, new(*pidfile.WriteError)) {
		return nil
	}
	return err
}

// readOrSetAside reads the record under its lock; what is no record is set aside, and there is none then.
func (h *Env) readOrSetAside(lock *pidfile.Lock) (rec pidfile.Record, ok bool, err error) {
	rec, err = lock.Read()
	var bad *pidfile.BadRecordError
	switch {
	case err == nil:
		return rec, true, nil
	case errors.Is(err, fs.ErrNotExist):
		return pidfile.Record{}, false, nil
	case !errors.As(err, &bad):
		return pidfile.Record{}, false, err
	}
	aside, err := lock.SetAside(h.Now())
	if err != nil {
		return pidfile.Record{}, false, err
	}
	notice := SetAside{Problem: bad, NewPath: aside}
	if address, err := netip.ParseAddrPort(lock.Key().Listen); err == nil {
		if holder, held := tunnel.Holder(address); held {
			notice.Holder = &holder.Peer
		}
	}
	h.notice(notice)
	return pidfile.Record{}, false, nil
}

// adopt completes a record whose start was killed before it could add the tunnel program's identity. Where no such
// program is there the record is removed, and there is nothing found.
func (tx *transaction) adopt() (found bool, err error) {
	if tx.rec.Tunnel != (process.Identity{}) {
		return true, nil
	}
	id, err := tx.rec.Session().Adopt()
	if errors.Is(err, process.ErrGone) {
		return false, tx.remove()
	}
	if err != nil {
		return false, err
	}
	tx.rec.Tunnel = id
	return true, unlessUnwritten(tx.write()) // the next one finds it in the same way
}

// markEnding notes that an end has begun which gives the tunnel program that time.
func (tx *transaction) markEnding(grace time.Duration) { tx.rec.Ending, tx.rec.EndGrace = true, grace }

// endKeeper ends a keeper that is not needed any more. It would go by itself, but the caller shall not leave it behind even for a
// moment. The caller holds the lock, so there is nothing that the keeper could be in the middle of.
func endKeeper(rec pidfile.Record) {
	if rec.Keeper.PID == os.Getpid() {
		return
	}
	keeper, err := process.Open(rec.Keeper)
	if err != nil {
		return
	}
	defer keeper.Close()
	_ = keeper.Signal(syscall.SIGKILL) // it may have gone by itself
	keeper.Wait(keeperWait)
}

// keeperWait is how long a keeper gets to end after SIGKILL, for which it must be given the processor once more.
const keeperWait = 20 * time.Second
