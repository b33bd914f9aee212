package hook

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// endIf ends the record's tunnel and removes the record, where that, as it is under the lock, is one that should end.
func (h *Env) endIf(ctx context.Context, dir pidfile.Dir, rec pidfile.Record, grace time.Duration, should func(pidfile.Record) bool) error {
	ends := false
	_, err := h.update(ctx, dir, rec.Key(), rec.Token, func(tx *transaction) error {
		if ends = should(tx.rec); ends {
			tx.markEnding(grace)
		}
		rec = tx.rec
		return nil
	})
	if err != nil || !ends {
		return err
	}
	return h.finishEnding(ctx, dir, rec, grace)
}

// finishEnding ends the tunnel of a record that is marked as ending, whoever marked it, and removes the record. Several may do
// so at once. Nobody holds the lock while the tunnel program takes its time.
func (h *Env) finishEnding(ctx context.Context, dir pidfile.Dir, rec pidfile.Record, grace time.Duration) error {
	if err := endProcesses(rec, grace); err != nil {
		return err
	}
	failed := h.after(ctx, dir, rec)
	found, err := h.update(ctx, dir, rec.Key(), "", func(tx *transaction) error {
		if tx.rec.Token != rec.Token {
			return nil
		}
		endKeeper(tx.rec)
		return tx.remove()
	})
	if err == nil && !found {
		endKeeper(rec) // which ended the tunnel at the same time perhaps
	}
	return errors.Join(failed, err)
}

// endProcesses ends the tunnel's processes.
func endProcesses(rec pidfile.Record, grace time.Duration) error {
	return tunnel.End(rec.Session(), rec.Address, signalOf(rec), grace)
}

func signalOf(rec pidfile.Record) syscall.Signal {
	if sig, ok := tunnel.Signal(rec.Signal); ok {
		return sig
	}
	return syscall.SIGTERM
}
