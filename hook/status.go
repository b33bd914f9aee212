package hook

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// State is what a tunnel is doing.
type State string

// The states of a tunnel.
const (
	Starting State = "starting"         // its program runs and does not listen yet
	Ready    State = "ready"            // it listens
	EndsIdle State = "ending when idle" // a stop came while clients were connected
	Ending   State = "ending"           // a stop has begun
	Dead     State = "dead"             // it ended without a stop; the next start or stop clears it away
	Waiting  State = "waiting"          // there is none: the next connection to the listener that is enabled starts it
	Idle     State = "not running"      // there is none, but the configuration has a name for it
)

// Tunnel is what is known of one tunnel now.
type Tunnel struct {
	Record  pidfile.Record
	State   State
	Clients []tunnel.Peer // the processes connected to it
	Enabled bool          // a listener for it starts at each login
}

// Status tells about every tunnel, or those of a route, or the one of a route and listen address, and where there is none about the
// listener that is enabled in its place. It changes and creates nothing. The error is a *NoTunnelError where a route was given that
// has neither. What is in the place of a record and is none comes back as bad, and as an *EntryError what is enabled and would not
// serve a connection.
func (h *Env) Status(route, listen string) (tunnels []Tunnel, bad []error, err error) {
	dir, err := h.records(false)
	if err != nil {
		return nil, nil, err
	}
	records, bad, err := h.selected(dir, route, listen)
	entries, entriesErr := h.selectedEntries(route, listen)
	if len(entries) > 0 && errors.As(err, new(*NoTunnelError)) {
		records, err = nil, nil
	}
	if err = errors.Join(err, entriesErr); err != nil {
		return nil, bad, err
	}
	for _, rec := range records {
		t, err := look(rec)
		if err != nil {
			return nil, bad, err
		}
		tunnels = append(tunnels, t)
	}
	return h.withListeners(tunnels, entries), append(bad, h.problems(entries)...), nil
}

// StatusAll is Status of all tunnels, and of those that the configuration has a name for and that do not run. What is wrong with the
// configuration comes back as bad, too.
func (h *Env) StatusAll() (tunnels []Tunnel, bad []error, err error) {
	if tunnels, bad, err = h.Status("", ""); err != nil {
		return nil, bad, err
	}
	config := h.Config()
	for _, fault := range config.Faults() {
		bad = append(bad, fault)
	}
	there := tunnels
	for _, name := range config.Names() {
		t, err := targetOf(config, name, "")
		switch {
		case errors.As(err, new(*tunnel.ConfigError)): // was told
		case err != nil:
			bad = append(bad, fmt.Errorf("[tunnel.%s]: %w", name, err))
		case !slices.ContainsFunc(there, t.isThere):
			rec := pidfile.Record{
				Route: name, Listen: t.key().Listen, Address: t.listen.Addr,
				Target: t.route.Text, Provider: t.route.Provider.Name(), Log: h.logPath(t.key()),
			}
			tunnels = append(tunnels, Tunnel{Record: rec, State: Idle})
		}
	}
	return tunnels, bad, nil
}

// isThere tells whether a tunnel is the target's, by whatever name it was started.
func (t target) isThere(other Tunnel) bool {
	rec := other.Record
	return rec.Route == t.route.Given || rec.Target == t.route.Text && !t.listen.Auto() && rec.Public() == t.listen.Addr
}

func (h *Env) selected(dir pidfile.Dir, route, listen string) (records []pidfile.Record, bad []error, err error) {
	if route != "" && listen != "" {
		rec, err := h.find(dir, route, listen)
		return []pidfile.Record{rec}, nil, err
	}
	if route != "" {
		records, others, err := ofRoute(dir, h.Config(), route)
		if len(records) == 0 {
			records = others
		}
		if err != nil || len(records) > 0 {
			return records, nil, err
		}
		_, err = h.find(dir, route, "")
		return nil, nil, err
	}
	entries, err := dir.List()
	for _, e := range entries {
		if e.Err != nil {
			bad = append(bad, e.Err)
			continue
		}
		records = append(records, e.Record)
	}
	return records, bad, err
}

func look(rec pidfile.Record) (Tunnel, error) {
	sight, err := tunnel.Look(rec.Address)
	if err != nil {
		return Tunnel{}, err
	}
	t := Tunnel{Record: rec, State: state(rec, sight)}
	if t.State != Dead {
		t.Clients, err = sight.Clients()
		if rec.Front.IsValid() {
			t.Clients, err = tunnel.Clients(rec.Front)
		}
	}
	return t, err
}

func state(rec pidfile.Record, sight tunnel.Sight) State {
	switch {
	case sight.Listening(rec.Session()):
		if rec.Ending {
			return Ending
		}
		if rec.EndIdle {
			return EndsIdle
		}
		if rec.OnTrial() {
			return Starting
		}
		return Ready
	case !lives(rec):
		return Dead
	case rec.Ending:
		return Ending
	}
	return Starting
}

// record gives the one record that wait and logs mean by ROUTE and LISTEN: without LISTEN also the only one that the route has.
func (h *Env) record(route, listen string) (pidfile.Record, error) {
	dir, err := h.records(false)
	if err != nil {
		return pidfile.Record{}, err
	}
	rec, err := h.find(dir, route, listen)
	var none *NoTunnelError
	if errors.As(err, &none) && listen == "" && len(none.Others) == 1 {
		return none.Others[0], nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &NoTunnelError{Route: route, Listen: listen}
	}
	return rec, err
}
