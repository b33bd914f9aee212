//go:build !linux

package tunnel

import (
	"net/netip"

	gopsutil "github.com/shirou/gopsutil/v3/net"
)

// tables has gopsutil read the system's, with each socket's pid where its process can be seen.
func tables() ([]listed, error) {
	connections, err := gopsutil.Connections("tcp")
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, c := range connections {
		l := listed{socket{local: address(c.Laddr), remote: address(c.Raddr), pid: int(c.Pid)}, c.Status}
		if len(c.Uids) > 0 {
			l.uid = int(c.Uids[0])
		}
		all = append(all, l)
	}
	return all, nil
}

// address understands what lsof says: it writes "*" for any address.
func address(a gopsutil.Addr) netip.AddrPort {
	ip, err := netip.ParseAddr(a.IP)
	if err != nil {
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}
