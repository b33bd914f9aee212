package hook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// Disabled says what a disable has done.
type Disabled struct {
	Route   string
	Address netip.AddrPort
	Found   bool              // it was enabled, or half so
	Others  []autostart.Entry // where it was not: other addresses that are enabled for the route
	// StillListens is who listens on the address all the same: a systemd user manager that does not answer here.
	StillListens *tunnel.Peer
}

// InUseError says who is connected to a listener that was to be ended.
type InUseError struct {
	Address netip.AddrPort
	Clients []tunnel.Peer
}

func (e *InUseError) Error() string { return e.Address.String() + " is in use" }

// ManyEnabledError says that a route is enabled on several addresses, and that it was not said which is meant.
type ManyEnabledError struct {
	Route   string
	Entries []autostart.Entry
}

func (e *ManyEnabledError) Error() string {
	text := e.Route + " is enabled on "
	for i, entry := range e.Entries {
		if i > 0 {
			text += " and "
		}
		text += entry.Address.String()
	}
	return text
}

// Disable takes back what Enable has done: nothing listens there any more, now and at the next login, a tunnel behind
// the listener is ended, and no file is left. Without listen the only address counts that the route is enabled on. A
// session through the listener is cut only where now says so; otherwise the error is an *InUseError. Other errors are
// *ManyEnabledError, and those of routes, listen addresses and configuration, and of the package autostart.
func (h *Env) Disable(ctx context.Context, route, listen string, now bool) (Disabled, error) {
	var disabled Disabled
	err := h.withEnableLock(ctx, func(systemd autostart.Systemd) error {
		entry, others, err := h.toDisable(route, listen)
		if err != nil {
			return err
		}
		disabled, err = h.disableEntry(ctx, systemd, entry, now)
		disabled.Others = others
		return err
	})
	return disabled, err
}

// DisableAll disables all that is enabled, and gives what was.
func (h *Env) DisableAll(ctx context.Context, now bool) ([]Disabled, error) {
	var all []Disabled
	err := h.withEnableLock(ctx, func(systemd autostart.Systemd) error {
		entries, err := h.Enabled()
		if err != nil {
			return err
		}
		var failed []error
		for _, entry := range entries {
			disabled, err := h.disableEntry(ctx, systemd, entry, now)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			all = append(all, disabled)
		}
		return errors.Join(failed...)
	})
	return all, err
}

func (h *Env) withEnableLock(ctx context.Context, do func(autostart.Systemd) error) error {
	dir, err := h.records(true)
	if err != nil {
		return err
	}
	lock, err := h.lockEntries(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(h.systemd(lock)), lock.Unlock())
}

// Alone runs do while no other tunhook of the user runs another of that name.
func (h *Env) Alone(ctx context.Context, name string, do func() error) error {
	dir, err := h.records(true)
	if err != nil {
		return err
	}
	return h.locked(ctx, dir.Lock, pidfile.Key{Listen: name}, func(lock *pidfile.Lock) error {
		lock.Sweep()
		return do()
	})
}

// toDisable gives the entry that ROUTE and LISTEN mean; where there is none, the one that there would be, and others of
// the route.
func (h *Env) toDisable(route, listen string) (autostart.Entry, []autostart.Entry, error) {
	found, inputErr, err := h.enabledFor(route, listen)
	if err != nil {
		return autostart.Entry{}, nil, err
	}
	if len(found) == 1 {
		return found[0], nil, nil
	}
	t, err := h.frontTarget(route, listen)
	if inputErr == nil {
		inputErr = err
	}
	if len(found) > 1 {
		if i := slices.IndexFunc(found, func(e autostart.Entry) bool { return err == nil && e.Address == t.listen.Addr }); i >= 0 {
			return found[i], nil, nil
		}
		return autostart.Entry{}, nil, &ManyEnabledError{route, found}
	}
	if inputErr != nil {
		return autostart.Entry{}, nil, inputErr
	}
	others, _, err := h.enabledFor(route, "")
	return autostart.Entry{Route: t.route.Given, Address: t.listen.Addr}, others, err
}

// disableEntry ends the listener, then the tunnel behind it, and removes the files of both ways, of which a killed call
// may have left either. What Disable says of now holds.
func (h *Env) disableEntry(ctx context.Context, systemd autostart.Systemd, entry autostart.Entry, now bool) (Disabled, error) {
	disabled := Disabled{Route: entry.Route, Address: entry.Address}
	units, noManager := systemd.Units(ctx, entry.Socket(), entry.Service())
	if err := ctx.Err(); err != nil {
		return disabled, err
	}
	running, runs := listenerOf(entry)
	if runs {
		defer running.Close()
	}
	isActive := func(u autostart.Unit) bool { return u.Active == autostart.Active }
	listens := runs || noManager == nil && slices.ContainsFunc(units, isActive)
	if listens && !now {
		if err := unused(entry.Address); err != nil {
			return disabled, err
		}
	}
	isKnown := func(u autostart.Unit) bool { return u.Loaded || u.Stale || u.Active != autostart.Inactive }
	known := noManager == nil && slices.ContainsFunc(units, isKnown)
	if known {
		if err := systemd.Stop(ctx, entry.Socket(), entry.Service()); err != nil {
			return disabled, err
		}
	}
	if runs {
		if err := running.end(ctx); err != nil {
			return disabled, err
		}
	}
	if err := h.endBehind(ctx, entry); err != nil {
		return disabled, err
	}
	removed, err := h.removeEntry(entry)
	if noManager == nil && err == nil && (removed || known) {
		err = errors.Join(systemd.Reload(ctx), systemd.ResetFailed(ctx, entry.Socket(), entry.Service()))
	}
	disabled.Found = removed || listens
	if disabled.Found && err == nil && noManager != nil {
		disabled.StillListens = holderOf(entry.Address)
	}
	return disabled, err
}

// unused gives an *InUseError where somebody is connected to the address.
func unused(address netip.AddrPort) error {
	clients, err := tunnel.Clients(address)
	if err == nil && len(clients) > 0 {
		err = &InUseError{address, clients}
	}
	return err
}

func holderOf(address netip.AddrPort) *tunnel.Peer {
	holder, ok := tunnel.Holder(address)
	if !ok {
		return nil
	}
	return &holder.Peer
}

func (h *Env) removeEntry(entry autostart.Entry) (removed bool, err error) {
	var failed []error
	for _, by := range []autostart.By{autostart.BySystemd, autostart.ByDesktop} {
		entry.By = by
		one, err := h.store().Remove(entry)
		removed, failed = removed || one, append(failed, err)
	}
	return removed, errors.Join(failed...)
}

// endBehind ends the tunnel behind a listener that has ended, if the listener did not. One that was started by itself
// is not its own.
func (h *Env) endBehind(ctx context.Context, entry autostart.Entry) error {
	dir, err := h.records(false)
	if err != nil {
		return err
	}
	rec, err := dir.Read(entry.Key())
	if err != nil || rec.Front != entry.Address {
		return nil // none, or none of ours to end
	}
	_, err = h.stopKeyed(ctx, dir, entry.Key(), StopRequest{Now: true})
	if err != nil {
		return fmt.Errorf("ending the tunnel behind %s: %w", entry.Address, err)
	}
	return nil
}

// Enabled lists what is enabled, an entry each.
func (h *Env) Enabled() ([]autostart.Entry, error) {
	entries, err := h.store().List()
	var distinct []autostart.Entry
	for _, e := range entries {
		if !slices.ContainsFunc(distinct, func(o autostart.Entry) bool { return o.Name() == e.Name() }) {
			distinct = append(distinct, e)
		}
	}
	return distinct, err
}

// enabledFor gives the entries that ROUTE and LISTEN mean: those of the route, also where it was enabled under another
// name, and of the address, if one was given. inputErr is what is wrong with what was given.
func (h *Env) enabledFor(route, listen string) (found []autostart.Entry, inputErr, err error) {
	entries, err := h.Enabled()
	if err != nil {
		return nil, nil, err
	}
	t, inputErr := h.frontTarget(route, listen)
	if inputErr != nil {
		t.listen = h.guessListen(route, listen)
	}
	for _, e := range entries {
		if listen != "" && e.Address != t.listen.Addr {
			continue
		}
		if e.Route == route || t.route.Text != "" && h.leadsTo(e.Route, t.route.Text) {
			found = append(found, e)
		}
	}
	return found, inputErr, nil
}

// leadsTo tells whether a route, or the name of one, is the route text.
func (h *Env) leadsTo(route, text string) bool {
	t, err := h.target(route, "")
	return err == nil && t.route.Text == text || err != nil && route == text
}

// store is where the entries are.
func (h *Env) store() autostart.Store { return autostart.Store{ConfigHome: h.ConfigHome} }
