package tunnel

import (
	"net/netip"

	gopsutil "github.com/shirou/gopsutil/v3/net"
)

// The slow way to sockets, through gopsutil, which reads the system's whole tables and knows each socket's pid.

func walkListening(port uint16) ([]socket, error) {
	return walk("LISTEN", func(s socket) bool { return s.hasPorts(port, 0) })
}

func walkEstablished(local, remote uint16) ([]socket, error) {
	return walk("", func(s socket) bool {
		return s.hasPorts(local, remote) && s.remote.Port() != 0 && (!s.half || s.pid != 0)
	})
}

func walkBoth(port uint16) ([]socket, error) {
	listens, err := walkListening(port)
	if err != nil {
		return nil, err
	}
	connected, err := walkEstablished(port, 0)
	return append(listens, connected...), err
}

// walkExact knows whose a socket is only where its process can be seen.
func walkExact(local, remote netip.AddrPort) ([]socket, error) {
	return walk("", func(s socket) bool { return s.local == local && s.remote == remote && s.pid != 0 })
}

// walk gives the wanted sockets in that state, "" for any.
func walk(state string, want func(socket) bool) ([]socket, error) {
	all, err := gopsutil.Connections("tcp")
	if err != nil {
		return nil, err
	}
	var found []socket
	for _, c := range all {
		if state != "" && c.Status != state {
			continue
		}
		s := socket{local: address(c.Laddr), remote: address(c.Raddr), pid: int(c.Pid), half: c.Status != "ESTABLISHED" && c.Status != "LISTEN"}
		if len(c.Uids) > 0 {
			s.uid = int(c.Uids[0])
		}
		if want(s) {
			found = append(found, s)
		}
	}
	return found, nil
}

// address understands what lsof and /proc/net/tcp say; lsof writes "*" for any address.
func address(a gopsutil.Addr) netip.AddrPort {
	ip, err := netip.ParseAddr(a.IP)
	if err != nil {
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}
