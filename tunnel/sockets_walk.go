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
	return walk("ESTABLISHED", func(s socket) bool { return s.hasPorts(local, remote) })
}

func walkBoth(port uint16) ([]socket, error) {
	listens, err := walkListening(port)
	if err != nil {
		return nil, err
	}
	connected, err := walkEstablished(port, 0)
	return append(listens, connected...), err
}

func walk(state string, want func(socket) bool) ([]socket, error) {
	all, err := gopsutil.Connections("tcp")
	if err != nil {
		return nil, err
	}
	var found []socket
	for _, c := range all {
		if c.Status != state {
			continue
		}
		s := socket{local: address(c.Laddr), remote: address(c.Raddr), pid: int(c.Pid)}
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
