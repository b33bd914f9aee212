package tunnel

import "net/netip"

// Visits tells of connections to an address that were made and have ended since a moment, however short they were: the
// kernel tells of the end of each socket. Where it does not, those are told that it still remembers, for a minute,
// because they were closed in good order.
type Visits struct {
	addr  netip.AddrPort
	ended endings
	err   error                   // why the kernel does not tell
	known map[netip.AddrPort]bool // where the connections came from that were there before
	told  map[netip.AddrPort]bool // of those that are remembered, the ones that Ended has told of
}

// WatchVisits begins to watch: what was connected before, and what has ended before, does not count. Of an end the kernel may tell only
// some time after it, when it has forgotten the connection: so does not what is known to have been connected from before.
func WatchVisits(addr netip.AddrPort, before ...netip.AddrPort) *Visits {
	v := &Visits{addr: addr, known: map[netip.AddrPort]bool{}}
	v.ended, v.err = watchEndings(addr.Port())
	if all, err := traces(addr.Port()); err == nil {
		v.known = v.clientEnds(all)
	}
	for _, from := range before {
		v.known[from] = true
	}
	return v
}

// Close ends the watch.
func (v *Visits) Close() {
	if v.err == nil {
		v.ended.close()
	}
}

// Ended tells whether a connection has ended since it was asked last, of those that were made since the watch began.
func (v *Visits) Ended() bool {
	if v.err != nil {
		return v.remembered()
	}
	ended, lost := v.ended.next()
	return lost || v.others(v.clientEnds(ended)) // so many that the kernel had no room for them
}

// remembered tells of each connection that the system remembers once, and not for as long as it does.
func (v *Visits) remembered() bool {
	over, err := walkOver(v.addr.Port())
	if err != nil {
		return false
	}
	before := v.told
	v.told = v.clientEnds(over)
	for end := range v.told {
		if !v.known[end] && !before[end] {
			return true
		}
	}
	return false
}

// EndedByNow is Ended for who cannot wait: the kernel tells of an end some time after it, on a busy machine, but knows at once which
// connections no process has open any more.
func (v *Visits) EndedByNow() bool {
	if v.Ended() {
		return true
	}
	over, err := closed(v.addr.Port())
	return err == nil && v.others(v.clientEnds(over))
}

// New tells whether some of the connections that Connections gives were made since the watch began.
func (v *Visits) New(from []netip.AddrPort) bool {
	ends := map[netip.AddrPort]bool{}
	for _, end := range from {
		ends[end] = true
	}
	return v.others(ends)
}

// others tells whether there are others than those that were there before.
func (v *Visits) others(ends map[netip.AddrPort]bool) bool {
	for end := range ends {
		if !v.known[end] {
			return true
		}
	}
	return false
}

// clientEnds gives, of sockets at either end of a connection to the address, where the connection came from. A socket
// that was reset by its own side does not know its other end any more; the other side's does.
func (v *Visits) clientEnds(sockets []socket) map[netip.AddrPort]bool {
	ends := map[netip.AddrPort]bool{}
	for _, s := range sockets {
		switch {
		case s.local.Port() == 0 || s.remote.Port() == 0:
		case v.is(s.local):
			ends[s.remote] = true
		case v.is(s.remote):
			ends[s.local] = true
		}
	}
	return ends
}

func (v *Visits) is(end netip.AddrPort) bool {
	return end.Port() == v.addr.Port() && (end.Addr() == v.addr.Addr() || v.addr.Addr().IsUnspecified())
}

// traces gives the sockets at either end of connections to that port, also of those that are over.
func traces(port uint16) ([]socket, error) {
	a := newAsker()
	defer a.close()
	return a.ask(
		func() ([]socket, error) { return a.diag.traces(port) },
		func() ([]socket, error) { return walkTraces(port) },
	)
}

// closed gives the sockets with that port at one of their ends that no process has open any more, and that the system has still to do
// with, or remembers.
func closed(port uint16) ([]socket, error) {
	a := newAsker()
	defer a.close()
	return a.ask(
		func() ([]socket, error) { return a.diag.closed(port) },
		func() ([]socket, error) { return walkOver(port) },
	)
}

func walkTraces(port uint16) ([]socket, error) {
	connected, err := walk(func(l listed) bool { return l.state == "ESTABLISHED" && l.hasEnd(port) })
	if err != nil {
		return nil, err
	}
	over, err := walkOver(port)
	return append(connected, over...), err
}

// walkOver gives the sockets that the system remembers of connections that are over.
func walkOver(port uint16) ([]socket, error) {
	return walk(func(l listed) bool { return l.state == "TIME_WAIT" && l.hasEnd(port) })
}

func (s socket) hasEnd(port uint16) bool { return s.local.Port() == port || s.remote.Port() == port }
