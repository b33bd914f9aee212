package tunnel

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	gopsutil "github.com/shirou/gopsutil/v3/process"

	"github.com/tunhook/tunhook/pidfile/process"
)

// socket is one TCP socket of this machine. Its owner is told by inode or, where the system has no such thing, by pid.
type socket struct {
	local, remote netip.AddrPort
	inode         uint32 // 0 where no process has it open any more
	uid           int    // of the process that made it; 0 too where no process has it open any more
	pid           int
	half          bool // one side, or both, have shut down what they send
	unsent        bool // nothing was ever sent on it; known only to connection
}

// isAt tells whether the socket takes what is meant for that local address, or is one end of what came there, and has that remote
// port. Of an address that is unspecified, or none, only the port counts, and of port 0 nothing.
func (s socket) isAt(local netip.AddrPort, remote uint16) bool {
	ip := s.local.Addr()
	here := !isOne(local.Addr()) || ip == local.Addr() || ip.IsUnspecified()
	return here && (local.Port() == 0 || s.local.Port() == local.Port()) && (remote == 0 || s.remote.Port() == remote)
}

// isOne tells whether an address is a single one.
func isOne(ip netip.Addr) bool { return ip.IsValid() && !ip.IsUnspecified() }

// anywhere is where all sockets are.
var anywhere netip.AddrPort

// isOpen tells whether a process has the socket open, as far as that shows.
func (s socket) isOpen() bool { return s.inode != 0 || s.pid != 0 }

// errNoDiag says that sockets cannot be asked for the fast way here, so that the tables have to be walked: in a sandbox that refuses
// netlink sockets, for one.
var errNoDiag = errors.New("socket diagnostics are not available")

// asker asks for sockets, the fast way for as long as that works. Whoever looks again and again keeps one: making a
// connection takes about as long as a question does.
type asker struct {
	diag diag
	err  error // why not the fast way
}

func newAsker() *asker {
	d, err := dialDiag()
	return &asker{d, err}
}

func (a *asker) close() {
	if a.err == nil {
		a.diag.Close()
	}
}

func (a *asker) ask(fast, slow func() ([]socket, error)) ([]socket, error) {
	if a.err == nil {
		var found []socket
		if found, a.err = fast(); a.err == nil {
			return found, nil
		}
		a.diag.Close()
	}
	found, err := slow()
	return distinct(found), err
}

// distinct leaves out what is there twice: a table that changes while it is read may show a socket again.
func distinct(found []socket) []socket {
	seen := map[socket]bool{}
	return slices.DeleteFunc(found, func(s socket) bool {
		twice := seen[s]
		seen[s] = true
		return twice
	})
}

// listening gives the TCP sockets that listen at a local address, see isAt. A thousand tunnels may have its port.
func (a *asker) listening(local netip.AddrPort) ([]socket, error) {
	return a.ask(
		func() ([]socket, error) { return a.diag.listening(local) },
		func() ([]socket, error) { return walkListening(local) },
	)
}

// established gives the open ends of connections at a local address, see isAt, with that remote port; also where one half is shut
// down.
func (a *asker) established(local netip.AddrPort, remote uint16) ([]socket, error) {
	return a.ask(
		func() ([]socket, error) { return a.diag.established(local, remote) },
		func() ([]socket, error) { return walkEstablished(local, remote) },
	)
}

// both gives what listening and established would, in one question.
func (a *asker) both(local netip.AddrPort) ([]socket, error) {
	return a.ask(
		func() ([]socket, error) { return a.diag.both(local) },
		func() ([]socket, error) { return walkBoth(local) },
	)
}

// exact gives the one socket between those two addresses, as the end of local sees it, in whatever state; none where
// there is none.
func (a *asker) exact(local, remote netip.AddrPort) ([]socket, error) {
	return a.ask(
		func() ([]socket, error) { return a.diag.exact(local, remote) },
		func() ([]socket, error) { return walkExact(local, remote) },
	)
}

func listening(local netip.AddrPort) ([]socket, error) {
	a := newAsker()
	defer a.close()
	return a.listening(local)
}

// SeeSockets tells whether this machine's sockets can be asked for: fast where the kernel answers the questions of sock_diag(7), and
// otherwise by its tables, which take longer the more sockets there are. The error says that neither can be had: then nobody could
// tell who listens.
func SeeSockets() (fast bool, err error) {
	a := newAsker()
	defer a.close()
	_, err = a.listening(netip.AddrPortFrom(loopback, 1))
	return a.err == nil, err
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
		open, _ := openSockets(pid) // of a process that cannot be looked into nothing is known
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
	PID     int    `json:"pid"`            // 0 where it cannot be seen: it belongs to somebody else, or runs elsewhere
	Program string `json:"program"`        // "" likewise
	Host    string `json:"host,omitempty"` // the other machine that it runs on, if it does
}

// Held is a listen address that a process has.
type Held struct {
	Peer
	On  netip.AddrPort // where it listens: the address itself, or one that clashes with it
	UID int            // the user who made the socket; 0 also where that is not known
}

// Holder finds the process that listens on addr, or on a wildcard address that covers it, or on one that addr covers as
// a wildcard; ok is false where nobody does.
func Holder(addr netip.AddrPort) (holder Held, ok bool) {
	all, err := listening(addr)
	if err != nil {
		return Held{}, false
	}
	clashing := slices.DeleteFunc(all, func(s socket) bool {
		return !covers(s.local.Addr(), addr.Addr()) && !covers(addr.Addr(), s.local.Addr())
	})
	if len(clashing) == 0 {
		return Held{}, false
	}
	holder = Held{On: clashing[0].local, UID: clashing[0].uid}
	if pid, known := ownerOf(clashing); known {
		holder.Peer = peer(pid)
	}
	return holder, true
}

// ownerOf is owner of the one socket that there is, if there is one.
func ownerOf(sockets []socket) (pid int, ok bool) {
	if len(sockets) == 0 {
		return 0, false
	}
	return owner(sockets[0])
}

// owner finds the process that has the socket open. Where several have, it is the one that the others come from: a
// child has its parent's sockets until it executes another program, and the workers of some servers keep them.
func owner(s socket) (pid int, ok bool) {
	var owners []int
	for _, pid := range allPIDs() {
		if len(ownedBy([]int{pid}, []socket{s})) > 0 {
			owners = append(owners, pid)
		}
	}
	for _, pid := range owners {
		proc, err := gopsutil.NewProcess(int32(pid))
		if err != nil {
			continue
		}
		if parent, err := proc.Ppid(); err != nil || !slices.Contains(owners, int(parent)) {
			return pid, true
		}
	}
	return 0, false
}

// Free tells whether nobody listens on addr.
func Free(addr netip.AddrPort) bool {
	all, err := listening(addr)
	return err == nil && !slices.ContainsFunc(all, func(s socket) bool { return covers(s.local.Addr(), addr.Addr()) })
}

// covers tells whether a socket that listens on bound takes what is meant for addr.
func covers(bound, addr netip.Addr) bool {
	if bound.IsUnspecified() {
		return bound.Is6() || addr.Is4() // the IPv6 wildcard takes IPv4 too, unless it was told not to
	}
	return bound == addr
}

// Connections gives where the connections to addr come from. It is quick; Clients tells whose they are.
func Connections(addr netip.AddrPort) ([]netip.AddrPort, error) {
	a := newAsker()
	defer a.close()
	ends, err := a.established(addr, 0)
	return a.sources(ends, addr), err
}

// sources gives where those connections come from that were made to addr.
func (a *asker) sources(ends []socket, addr netip.AddrPort) []netip.AddrPort {
	var from []netip.AddrPort
	for _, s := range ends {
		if (s.local.Addr() == addr.Addr() || addr.Addr().IsUnspecified()) && (!s.half || a.openThere(s)) {
			from = append(from, s.remote)
		}
	}
	return from
}

// openThere tells whether the other end of a socket is open, too: a client that has said all may still be listening,
// and one that is gone leaves the tunnel's end open until its program notices. Of another machine it is not known.
func (a *asker) openThere(s socket) bool {
	found, err := a.exact(s.remote, s.local)
	if err == nil && len(found) > 0 {
		return found[0].isOpen()
	}
	return err != nil || !isLocal(s.remote.Addr())
}

// Clients lists the processes connected to addr, each once, in the order of their pids; then, likewise without a pid,
// those that belong to somebody else, and the machines that others connect from.
func Clients(addr netip.AddrPort) ([]Peer, error) {
	from, err := Connections(addr)
	if err != nil {
		return nil, err
	}
	return clients(addr, from)
}

func clients(addr netip.AddrPort, from []netip.AddrPort) ([]Peer, error) {
	if len(from) == 0 {
		return nil, nil
	}
	a := newAsker()
	defer a.close()
	ends, err := a.established(anywhere, addr.Port())
	if err != nil {
		return nil, err
	}
	var peers []Peer
	for _, source := range from {
		end := slices.DeleteFunc(slices.Clone(ends), func(s socket) bool { return s.local != source })
		client := Peer{}
		if pid, ok := ownerOf(end); ok {
			client = peer(pid)
		} else if !isLocal(source.Addr()) {
			client.Host = source.Addr().String()
		}
		if !slices.Contains(peers, client) {
			peers = append(peers, client)
		}
	}
	slices.SortStableFunc(peers, func(a, b Peer) int { return cmp.Compare(uint(a.PID-1), uint(b.PID-1)) })
	return peers, nil
}

// Sight is what one look at the sockets of an address shows.
type Sight struct {
	addr    netip.AddrPort
	listens []socket
	from    []netip.AddrPort // where the connections come from
}

// Look looks at who listens on addr and who is connected to it.
func Look(addr netip.AddrPort) (Sight, error) {
	a := newAsker()
	defer a.close()
	found, err := a.both(addr)
	listens, connected := split(found)
	return Sight{addr, listens, a.sources(connected, addr)}, err
}

// split tells the listening sockets, which have no remote end, from the others.
func split(sockets []socket) (listens, connected []socket) {
	for _, s := range sockets {
		if s.remote.Port() == 0 {
			listens = append(listens, s)
		} else {
			connected = append(connected, s)
		}
	}
	return listens, connected
}

// Same tells whether another look at the address has shown the same.
func (s Sight) Same(other Sight) bool {
	return slices.Equal(s.listens, other.listens) && slices.Equal(s.from, other.from)
}

// Listening is what Listening would tell.
func (s Sight) Listening(tunnel process.Session) bool { return oneListens(s.listens, s.addr, tunnel) }

// Clients is what Clients would give.
func (s Sight) Clients() ([]Peer, error) { return clients(s.addr, s.from) }

// isLocal tells whether an address is this machine's.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil { // where they may not be asked for, what can be bound is ours
		return tryBind(ip) == nil
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == ip
	})
}

func tryBind(ip netip.Addr) error {
	probe, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err == nil {
		probe.Close()
	}
	return err
}

// CutOff tells whether the tunnel has a connection whose own end is at an address that this machine has no more: nothing reaches it there.
func CutOff(tunnel process.Session, address netip.AddrPort) bool {
	a := newAsker()
	defer a.close()
	open, err := a.established(anywhere, 0)
	if err != nil {
		return false
	}
	lost := map[netip.Addr]bool{}
	cut := slices.DeleteFunc(open, func(s socket) bool {
		ip := s.local.Addr()
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() { // the latter are nothing without their link
			return true
		}
		if _, known := lost[ip]; !known { // what else keeps it from being bound says nothing
			lost[ip] = errors.Is(tryBind(ip), syscall.EADDRNOTAVAIL)
		}
		return !lost[ip]
	})
	return len(cut) > 0 && len(ownedBy(PIDs(tunnel, address), cut)) > 0
}

func peer(pid int) Peer {
	p := Peer{PID: pid}
	if proc, err := gopsutil.NewProcess(int32(pid)); err == nil {
		p.Program, _ = proc.Name()
	}
	return p
}

func allPIDs() []int {
	found, err := gopsutil.Pids()
	if err != nil {
		return nil
	}
	pids := make([]int, len(found))
	for i, pid := range found {
		pids[i] = int(pid)
	}
	return pids
}
