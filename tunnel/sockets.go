package tunnel

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/shirou/gopsutil/v3/process"
)

// socket is one TCP socket of this machine. Its owner is told by inode or, where the system has no such thing, by pid.
type socket struct {
	local, remote netip.AddrPort
	inode         uint32
	pid           int
}

// errNoDiag says that sockets cannot be asked for the fast way here, so that gopsutil has to walk the tables.
var errNoDiag = errors.New("socket diagnostics are not available")

// listening gives the listening TCP sockets with that local port, or all with port 0.
func listening(port uint16) ([]socket, error) {
	found, err := diagListening(port)
	if err != nil {
		return walkListening(port)
	}
	return found, nil
}

// connectedTo gives the client's end of every established connection of this machine to addr.
func connectedTo(addr netip.AddrPort) ([]socket, error) {
	found, err := diagConnectedTo(addr)
	if err != nil {
		return walkConnectedTo(addr)
	}
	return found, nil
}

// ownedBy keeps the sockets that one of the processes has open.
func ownedBy(pids []int, sockets []socket) []socket {
	var owned []socket
	left := slices.Clone(sockets)
	for _, pid := range pids {
		if len(left) == 0 {
			break
		}
		if pid == 0 { // what sockets have whose owner cannot be seen
			continue
		}
		open := openSockets(pid)
		left = slices.DeleteFunc(left, func(s socket) bool {
			if s.pid != pid && !open[s.inode] {
				return false
			}
			s.pid = pid
			owned = append(owned, s)
			return true
		})
	}
	return owned
}

// Peer is a process at the other end of something: one that holds a listen address, or a client of it.
type Peer struct {
	PID     int    `json:"pid"`     // 0 where it belongs to somebody else and cannot be seen
	Program string `json:"program"` // "" likewise
}

// Holder finds the process that listens on addr, or on a wildcard address that covers it, or on one that addr covers as a
// wildcard; ok is false where nobody does.
func Holder(addr netip.AddrPort) (holder Peer, ok bool) {
	all, err := listening(addr.Port())
	if err != nil {
		return Peer{}, false
	}
	clashing := slices.DeleteFunc(all, func(s socket) bool {
		return !covers(s.local.Addr(), addr.Addr()) && !covers(addr.Addr(), s.local.Addr())
	})
	if len(clashing) == 0 {
		return Peer{}, false
	}
	owned := ownedBy(allPIDs(), clashing)
	if len(owned) == 0 {
		return Peer{}, true
	}
	return peer(owned[0].pid), true
}

// Free tells whether nobody listens on addr.
func Free(addr netip.AddrPort) bool {
	all, err := listening(addr.Port())
	return err == nil && !slices.ContainsFunc(all, func(s socket) bool { return covers(s.local.Addr(), addr.Addr()) })
}

// covers tells whether a socket that listens on bound takes what is meant for addr.
func covers(bound, addr netip.Addr) bool {
	if bound.IsUnspecified() {
		return bound.Is6() || addr.Is4() // the IPv6 wildcard takes IPv4 too, unless it was told not to
	}
	return bound == addr
}

// Clients lists the processes connected to addr, each once, in the order of their pids.
func Clients(addr netip.AddrPort) ([]Peer, error) {
	ends, err := connectedTo(addr)
	if err != nil || len(ends) == 0 {
		return nil, err
	}
	owned := ownedBy(allPIDs(), ends)
	var clients []Peer
	for _, s := range owned {
		if !slices.ContainsFunc(clients, func(p Peer) bool { return p.PID == s.pid }) {
			clients = append(clients, peer(s.pid))
		}
	}
	slices.SortFunc(clients, func(a, b Peer) int { return a.PID - b.PID })
	if len(owned) < len(ends) {
		clients = append(clients, Peer{})
	}
	return clients, nil
}

func peer(pid int) Peer {
	p := Peer{PID: pid}
	if proc, err := process.NewProcess(int32(pid)); err == nil {
		p.Program, _ = proc.Name()
	}
	return p
}

func allPIDs() []int {
	found, err := process.Pids()
	if err != nil {
		return nil
	}
	pids := make([]int, len(found))
	for i, pid := range found {
		pids[i] = int(pid)
	}
	return pids
}
