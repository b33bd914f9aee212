package hook

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// What looks after a machine needs of what the use cases know: who has an address, what is stale, and how to put that right.

// Store is where the entries are of what is enabled.
func (h *Env) Store() autostart.Store { return h.store() }

// Manager is the user's systemd manager, as Enable finds it.
func (h *Env) Manager() autostart.Systemd { return h.systemd(nil) }

// Lacks gives the variables of a desktop session that are set here and that a manager lacks which knows those names.
func (h *Env) Lacks(known []string) []string { return lacks(h.Environ, known) }

// EntryProblem tells what keeps an entry from serving the next connection: an *EntryError, or nil if nothing is seen.
func (h *Env) EntryProblem(entry autostart.Entry) error { return h.entryProblem(entry) }

// Taken tells what keeps a start from listening on an address: a *TakenError, of a tunnel of ours too, an *EnabledError, or a
// *tunnel.ListenError; nil where nothing does.
func (h *Env) Taken(address netip.AddrPort) error {
	_, err := tunnel.Listen{Addr: address}.Reserve()
	if !errors.Is(err, tunnel.ErrTaken) {
		return err
	}
	dir, _ := h.records(false) // what is wrong with that is no answer to this question
	return h.takenError(dir, address)
}

// Stale tells whether a record is of a tunnel that is gone, and nobody is about to see to that.
func (h *Env) Stale(rec pidfile.Record) bool {
	if rec.Tunnel.PID == 0 && h.Now().Sub(rec.Started) < lockPatience {
		return false // it is being launched, perhaps
	}
	return !lives(rec) && !tunnel.Listening(rec.Address, rec.Session()) && !rec.Keeper.Alive()
}

// ClearStale removes the record of a tunnel that is gone, as the next start or stop of it would, and tells whether it has. Under
// its lock the record is looked at again: one whose tunnel lives stays.
func (h *Env) ClearStale(ctx context.Context, rec pidfile.Record) (cleared bool, err error) {
	dir, err := h.records(false)
	if err != nil {
		return false, err
	}
	ends := false
	err = h.locked(ctx, dir.LockIfUsed, rec.Key(), func(lock *pidfile.Lock) error {
		now, err := lock.Read()
		if errors.Is(err, fs.ErrNotExist) || err == nil && now.Token != rec.Token {
			return nil
		}
		if err != nil {
			return err
		}
		return h.transact(lock, now, func(tx *transaction) error {
			found, err := tx.adopt()
			if cleared = err == nil && !found; cleared || err != nil || lives(tx.rec) {
				return err
			}
			tx.markEnding(DefaultGrace)
			rec, ends = tx.rec, true
			return nil
		})
	})
	if err != nil || !ends {
		return cleared, err
	}
	return true, h.finishEnding(ctx, dir, rec, DefaultGrace)
}

// SetAsideRecord renames a file in the place of a record, as the next start or stop would, and gives its new path; "" where there was
// no need to. See pidfile.Dir.SetAside.
func (h *Env) SetAsideRecord(path string) (aside string, err error) {
	dir, err := h.records(false)
	if err != nil {
		return "", err
	}
	return dir.SetAside(path, h.Now())
}

// Rewrite writes the files of an entry again, as they are now, with this program in the place of the one that they name, and has it
// listen, as Enable does. One that has been disabled meanwhile stays so. Where no manager answers the files hold from the next login
// on. Errors are those of Enable.
func (h *Env) Rewrite(ctx context.Context, entry autostart.Entry) error {
	dir, err := h.records(true)
	if err != nil {
		return err
	}
	lock, err := h.lockEntries(ctx, dir)
	if err != nil {
		return err
	}
	e := &enabling{
		Env: h, target: target{listen: tunnel.Listen{Addr: entry.Address}}, dir: dir, store: h.store(), systemd: h.systemd(lock), entry: entry,
	}
	return errors.Join(e.rewrite(ctx), lock.Unlock())
}

func (e *enabling) rewrite(ctx context.Context) error {
	entries, err := e.store.List()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(entries, func(other autostart.Entry) bool { return other.By == e.entry.By && other.Name() == e.entry.Name() })
	if at < 0 {
		return nil
	}
	whole, ok := e.store.Read(entries[at])
	if !ok {
		return nil // somebody is changing it by hand
	}
	e.entry = whole
	e.entry.Program = e.Self
	if _, noManager := e.systemd.Environment(ctx); noManager != nil && e.entry.By == autostart.BySystemd {
		_, err := e.store.Write(e.entry)
		return err
	}
	limited, cancel := context.WithTimeout(ctx, rewritePatience)
	defer cancel()
	_, err = e.enable(limited, entries)
	return err
}

// rewritePatience bounds what a manager may take to start and stop units.
const rewritePatience = time.Minute
