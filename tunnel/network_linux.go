package tunnel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Slept is for how long this machine has slept since it was booted: the one clock goes on meanwhile, and the other does not,
// clock_gettime(2). It may be some microseconds off.
func Slept() time.Duration {
	var all, awake unix.Timespec
	if errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake), unix.ClockGettime(unix.CLOCK_BOOTTIME, &all)) != nil {
		return 0
	}
	return time.Duration(all.Nano() - awake.Nano())
}

// Network gives what connections to elsewhere lean on, sorted: the default routes, and the addresses on their links, but for those that
// come and go by themselves, rtnetlink(7). A bridge for containers, say, carries none. It is empty where there are none, and where they
// may not be asked for.
func Network() []string {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil
	}
	defer conn.Close()
	routes, err := dump(conn, unix.RTM_GETROUTE)
	if err != nil {
		return nil
	}
	var network []string
	links := map[uint32]bool{}
	for _, b := range routes {
		route, link, ok := defaultRoute(b)
		if !ok {
			continue
		}
		links[link] = true
		if b[4] == unix.RT_TABLE_MAIN {
			network = append(network, route)
		}
	}
	addresses, err := dump(conn, unix.RTM_GETADDR)
	if err != nil {
		return nil
	}
	for _, b := range addresses {
		if address, link := networkAddress(b); address != "" && (links[link] || links[0]) {
			network = append(network, address)
		}
	}
	slices.Sort(network)
	return slices.Compact(network)
}

func dump(conn *netlink.Conn, kind netlink.HeaderType) (all [][]byte, err error) {
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, unix.SizeofRtMsg), // the larger one of the two; zero is for all families
	})
	for _, reply := range replies {
		all = append(all, reply.Data)
	}
	return all, err
}

// networkAddress reads a struct ifaddrmsg: family, length of the prefix, flags, scope, index of the link.
func networkAddress(b []byte) (address string, link uint32) {
	const temporary = unix.IFA_F_TEMPORARY | unix.IFA_F_TENTATIVE // IPv6's that are replaced every day, and those that are not there yet
	if len(b) < unix.SizeofIfAddrmsg || b[3] >= unix.RT_SCOPE_LINK || b[0] == unix.AF_INET6 && b[2]&temporary != 0 {
		return "", 0
	}
	_ = eachAttribute(b[unix.SizeofIfAddrmsg:], func(kind uint16, data []byte) {
		if ip, ok := netip.AddrFromSlice(data); ok && (kind == unix.IFA_LOCAL || kind == unix.IFA_ADDRESS && address == "") {
			address = ip.String()
		}
	})
	return address, binary.NativeEndian.Uint32(b[4:])
}

// defaultRoute reads a struct rtmsg: family, lengths of the destination's and the source's prefix, and so on. The link is 0 where the
// route has several, or does not name it. A VPN's may be in a table of its own.
func defaultRoute(b []byte) (route string, link uint32, ok bool) {
	if len(b) < unix.SizeofRtMsg || b[1] != 0 || b[7] != unix.RTN_UNICAST {
		return "", 0, false
	}
	route = "default"
	_ = eachAttribute(b[unix.SizeofRtMsg:], func(kind uint16, data []byte) {
		switch ip, ok := netip.AddrFromSlice(data); {
		case kind == unix.RTA_GATEWAY && ok:
			route += " via " + ip.String()
		case kind == unix.RTA_OIF && len(data) == 4:
			link = binary.NativeEndian.Uint32(data)
			route += " dev " + strconv.Itoa(int(link))
		}
	})
	return route, link, true
}

func eachAttribute(b []byte, read func(kind uint16, data []byte)) error {
	attributes, err := netlink.UnmarshalAttributes(b)
	for _, a := range attributes {
		read(a.Type, a.Data)
	}
	return err
}

// NetworkWatch is a socket on which the kernel tells that addresses or routes have changed, rtnetlink(7). It asks for no privilege.
// What has come waits in it until it is read.
type NetworkWatch struct{ fd int }

// WatchNetwork begins to watch. Where the kernel does not tell, nothing is ever found to have changed.
func WatchNetwork() *NetworkWatch {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return &NetworkWatch{-1}
	}
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		fd = -1
	}
	return &NetworkWatch{fd}
}

// Changed tells whether something has changed since the last call.
func (w *NetworkWatch) Changed() bool {
	changed := false
	for buf := make([]byte, os.Getpagesize()); w.fd >= 0; {
		_, _, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOBUFS) { // so much that there was no room for it
			break
		}
		changed = true
	}
	return changed
}

// Close ends the watch.
func (w *NetworkWatch) Close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
}
