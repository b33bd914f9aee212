package hook

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// WatchRequest says which tunnels to watch.
type WatchRequest struct {
	Route, Listen string // as Status takes them
	All           bool   // those of StatusAll; there is no route then
}

// Watch tells show what Status gives, now and whenever that may have changed, until ctx is done or show fails. It may tell the same
// twice. The last change is never missed, what lies between two that follow each other at once may be. A tunnel that is asked for and
// is not there is waited for. What cannot be read is an error at first; later it is among what is bad, since it may come back.
func (h *Env) Watch(ctx context.Context, req WatchRequest, show func(tunnels []Tunnel, bad []error) error) error {
	w := &watch{Env: h, wakeups: newWakeups(ctx, h.watchedPlaces())}
	defer w.close()
	for first := true; ; first = false {
		began := time.Now()
		w.subscribe()
		tunnels, bad, err := h.watched(req)
		if err != nil && first {
			return err
		}
		if err != nil {
			bad = append(bad, err)
		}
		if err := show(tunnels, bad); err != nil {
			return err
		}
		again := w.follow(tunnels, bad) // it may have changed since it was read
		took := time.Since(began)
		if !again && !w.wait(ctx) {
			return ctx.Err()
		}
		if !pauseFor(ctx, min(max(watchRest*took, minWatchRest), maxLook)) {
			return ctx.Err()
		}
	}
}

// After a change a watch rests for some times as long as it takes to read everything: changes come in a flurry, and the next look is
// for all of them.
const (
	watchRest    = 4
	minWatchRest = 10 * time.Millisecond
)

// Pauses between two looks at what tells nobody that it changes: longer each time that nothing has.
const (
	minLook = 100 * time.Millisecond
	maxLook = time.Second
)

// pauseFor tells whether ctx is not done after that time.
func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (h *Env) watched(req WatchRequest) (tunnels []Tunnel, bad []error, err error) {
	if req.All {
		return h.StatusAll()
	}
	tunnels, bad, err = h.Status(req.Route, req.Listen)
	if errors.As(err, new(*NoTunnelError)) {
		return nil, bad, nil
	}
	return tunnels, bad, err
}

// place is a directory that may not be there yet.
type place struct {
	dir   string
	wants func(name string) bool // which of its entries matter; nil for all
}

// watchedPlaces are the directories whose files Status reads: of records, of what is enabled, of the configuration.
func (h *Env) watchedPlaces() []place {
	var places []place
	for _, dir := range append([]string{h.RunDir}, h.OtherRunDirs...) {
		places = append(places, place{dir, pidfile.IsRecord})
	}
	store := h.store()
	for _, dir := range append(h.Config().Dirs(), store.UnitDir(), store.DesktopDir()) {
		places = append(places, place{dir, nil})
	}
	return slices.DeleteFunc(places, func(p place) bool { return !filepath.IsAbs(p.dir) })
}

// watch is one Watch at work.
//
// Files, the ends of processes, and the ends of sockets are told by the system. Of a socket that begins to listen, or is connected,
// nobody tells: as long as a tunnel is there that may come by such a one, it is looked for.
type watch struct {
	*Env
	*wakeups

	up        []pidfile.Record                      // tunnels of which sockets are looked for
	unserved  []netip.AddrPort                      // addresses that are enabled, likewise
	last      glance                                // what was seen of them before they were read last
	processes map[process.Identity]*process.Process // whose ends are waited for; nil for one that has ended
	ports     []uint16                              // the ends of whose sockets are told by ends
	ends      *tunnel.SocketEnds
}

// glance is what of sockets and processes is quickly seen: that it has changed tells that there is more to read.
type glance struct {
	sights map[netip.AddrPort]tunnel.Sight
	lives  map[string]bool // by token, of tunnels
}

func (w *watch) glance() glance {
	g := glance{map[netip.AddrPort]tunnel.Sight{}, map[string]bool{}}
	see := func(addr netip.AddrPort) {
		if sight, err := tunnel.Look(addr); err == nil {
			g.sights[addr] = sight
		}
	}
	for _, rec := range w.up {
		g.lives[rec.Token] = lives(rec)
		see(rec.Address)
		if rec.Front.IsValid() {
			see(rec.Front)
		}
	}
	for _, addr := range w.unserved {
		see(addr)
	}
	return g
}

func (g glance) same(other glance) bool {
	return maps.EqualFunc(g.sights, other.sights, tunnel.Sight.Same) && maps.Equal(g.lives, other.lives)
}

// subscribe makes sure that everything is followed before it is read.
func (w *watch) subscribe() {
	w.arm()
	w.last = w.glance()
}

// follow follows what belongs to these tunnels, and tells whether some of it was not followed before they were read.
func (w *watch) follow(tunnels []Tunnel, bad []error) (more bool) {
	w.up, w.unserved = nil, nil
	var processes []process.Identity
	var ports []uint16
	for _, t := range tunnels {
		rec := t.Record
		switch t.State {
		case Idle:
			continue
		case Waiting, Dead:
		default:
			w.up = append(w.up, rec)
			_, looked := w.last.lives[rec.Token]
			more = more || !looked
			processes = append(processes, rec.Tunnel)
		}
		ports = append(ports, rec.Address.Port(), rec.Public().Port())
		for _, client := range t.Clients {
			if id, err := process.Identify(client.PID); err == nil {
				processes = append(processes, id)
			}
		}
	}
	var entry *EntryError
	for _, err := range bad {
		if errors.As(err, &entry) {
			w.unserved = append(w.unserved, entry.Address)
			_, looked := w.last.sights[entry.Address]
			more = more || !looked
		}
	}
	moreProcesses := w.followProcesses(processes)
	morePorts := w.followPorts(ports)
	return more || moreProcesses || morePorts
}

func (w *watch) followProcesses(ids []process.Identity) (more bool) {
	old := w.processes
	w.processes = map[process.Identity]*process.Process{}
	for _, id := range ids {
		p, known := old[id]
		if !known {
			p, _ = process.Open(id) // nil where it has ended: then it is read again, and found so
			more = true
		}
		w.processes[id] = p
		delete(old, id)
	}
	for _, p := range old {
		if p != nil {
			p.Close()
		}
	}
	return more
}

// endedProcess tells whether a process has ended, once of each.
func (w *watch) endedProcess() bool {
	any := false
	for id, p := range w.processes {
		if p != nil && p.Wait(0) {
			p.Close()
			w.processes[id] = nil
			any = true
		}
	}
	return any
}

func (w *watch) followPorts(ports []uint16) (more bool) {
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if slices.Equal(ports, w.ports) {
		return false
	}
	more = slices.ContainsFunc(ports, func(port uint16) bool { return !slices.Contains(w.ports, port) })
	old := w.ends
	w.ports, w.ends = ports, nil
	if len(ports) > 0 {
		w.ends = tunnel.WatchSocketEnds(ports)
	}
	if old != nil {
		more = old.Any() || more
		old.Close()
	}
	return more
}

// wait returns when something may have changed; ok is false where ctx is done.
func (w *watch) wait(ctx context.Context) (ok bool) {
	for pause := minLook; ; pause = min(2*pause, maxLook) {
		timeout := process.Forever
		if len(w.up)+len(w.unserved) > 0 || w.blind() {
			timeout = pause
		}
		told := w.sleep(w.opened(), w.ends, timeout)
		if ctx.Err() != nil {
			return false
		}
		ended := w.endedProcess()
		if told || ended || w.ends != nil && w.ends.Any() || w.blind() && pause == maxLook || !w.glance().same(w.last) {
			return true
		}
	}
}

// opened gives the processes whose ends are waited for.
func (w *watch) opened() []*process.Process {
	var open []*process.Process
	for _, p := range w.processes {
		if p != nil {
			open = append(open, p)
		}
	}
	return open
}

func (w *watch) close() {
	w.followProcesses(nil)
	if w.ends != nil {
		w.ends.Close()
	}
	w.wakeups.close()
}
