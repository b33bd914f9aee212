package tunnel

import (
	"net/netip"
	"slices"
)

// The slow way to sockets, which reads the system's whole tables.

// listed is a socket of such a table.
type listed struct {
	socket
	state string // "LISTEN", "ESTABLISHED" and so on, as netstat(8) says
}

func walkListening(local netip.AddrPort) ([]socket, error) {
	return walk(func(l listed) bool { return l.state == "LISTEN" && l.isAt(local, 0) })
}

// passing are the states of a connection that is not made yet, or that no process has open any more.
var passing = []string{"SYN_SENT", "SYN_RECV", "TIME_WAIT", "CLOSE", "CLOSED", "LAST_ACK", "CLOSING"}

func walkEstablished(local netip.AddrPort, remote uint16) ([]socket, error) {
	return walk(func(l listed) bool {
		return l.isAt(local, remote) && l.remote.Port() != 0 && !slices.Contains(passing, l.state) && (!l.half || l.isOpen())
	})
}

func walkBoth(local netip.AddrPort) ([]socket, error) {
	listens, err := walkListening(local)
	if err != nil {
		return nil, err
	}
	connected, err := walkEstablished(local, 0)
	return append(listens, connected...), err
}

// walkExact knows nothing of a socket that no process has open.
func walkExact(local, remote netip.AddrPort) ([]socket, error) {
	return walk(func(l listed) bool { return l.local == local && l.remote == remote && l.isOpen() })
}

// walk gives the wanted sockets.
func walk(want func(listed) bool) ([]socket, error) {
	all, err := tables()
	if err != nil {
		return nil, err
	}
	var found []socket
	for _, l := range all {
		l.half = l.state != "ESTABLISHED" && l.state != "LISTEN"
		if want(l) {
			found = append(found, l.socket)
		}
	}
	return found, nil
}
