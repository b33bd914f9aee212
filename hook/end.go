package hook

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// lockPatience bounds the wait for others that change the same record. It takes each milliseconds; a hundred of them, on a machine
// that is busy besides, have taken more than 10 s.
const lockPatience = 20 * time.Second

func (h *Hook) lockRecord(ctx context.Context, lock func(context.Context, pidfile.Key) (*pidfile.Lock, error), key pidfile.Key) (*pidfile.Lock, error) {
	if h.Guard != nil {
		h.Guard()
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return lock(ctx, key)
}

// endIf marks the record's tunnel as ending, ends it, and removes the record, where the record, as it is under the lock, is one that
// should end. It does nothing where the key has another tunnel by now.
func (h *Hook) endIf(ctx context.Context, dir pidfile.Dir, rec pidfile.Record, grace time.Duration, should func(pidfile.Record) bool) error {
	lock, err := h.lockRecord(ctx, dir.LockIfUsed, rec.Key())
	if err != nil || lock == nil {
		return err
	}
	now, err := lock.Read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && (now.Token != rec.Token || !should(now)) {
		return lock.Unlock()
	}
	if err == nil {
		err = markEnding(lock, &now, grace)
	}
	if err = errors.Join(err, lock.Unlock()); err != nil {
		return err
	}
	return h.finishEnding(ctx, dir, now, grace)
}

// markEnding writes that an end has begun which gives the tunnel program that time. A full disk keeps nobody from ending a tunnel: at
// worst a start takes it for a running one until it is gone.
func markEnding(lock *pidfile.Lock, rec *pidfile.Record, grace time.Duration) error {
	rec.Ending, rec.EndGrace = true, grace
	return unlessFull(lock.Write(*rec))
}

// unlessFull leaves out the error of a full disk.
func unlessFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
}

// finishEnding ends the tunnel of a record that is marked as ending, whoever marked it, and removes the record. Several may do
// so at once. Nobody holds the lock while the tunnel program takes its time.
func (h *Hook) finishEnding(ctx context.Context, dir pidfile.Dir, rec pidfile.Record, grace time.Duration) error {
	err := endProcesses(rec, grace)
	lock, lockErr := h.lockRecord(ctx, dir.Lock, rec.Key())
	if lockErr != nil {
		return errors.Join(err, lockErr)
	}
	now, readErr := lock.Read()
	switch {
	case err != nil:
	case readErr == nil && now.Token == rec.Token:
		endKeeper(now)
		err = lock.Remove()
	case errors.Is(readErr, fs.ErrNotExist): // the keeper perhaps, which ended the tunnel at the same time
		endKeeper(rec)
	}
	return errors.Join(err, lock.Unlock())
}

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
	keeper.Wait(time.Second)
}

// endProcesses ends the tunnel's session. Only where that leaves somebody on the address, a process that got away from the
// session perhaps, every process of the machine is asked whether it belongs to the tunnel.
func endProcesses(rec pidfile.Record, grace time.Duration) error {
	session := rec.Session()
	look := session.Members
	members := func() ([]*process.Process, error) {
		found, err := look()
		if rec.Tunnel.PID != 0 {
			look = session.Orphans
		}
		return found, err
	}
	if err := tunnel.End(members, signalOf(rec), grace); err != nil || tunnel.Free(rec.Address) {
		return err
	}
	return tunnel.End(session.Members, signalOf(rec), grace)
}

func signalOf(rec pidfile.Record) syscall.Signal {
	if sig, ok := tunnel.Signal(rec.Signal); ok {
		return sig
	}
	return syscall.SIGTERM
}
