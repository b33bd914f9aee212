package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// endings is a socket on which the kernel tells of the end of each TCP socket with one of some ports at one of its ends,
// sock_diag(7). It asks for no privilege. What has come waits in it until it is read.
type endings struct{ fd int }

func watchEndings(ports ...uint16) (endings, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return endings{}, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	const groups = 1<<(unix.SKNLGRP_INET_TCP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_TCP_DESTROY-1)
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, onlyWithPorts(ports)),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}),
	)
	if err != nil {
		unix.Close(fd)
		return endings{}, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	return endings{fd}, nil
}

// onlyWithPorts is a filter that keeps all other sockets of the machine from filling ours, bpf(2): each message is a
// netlink header and a struct inet_diag_msg. For more ports than a filter has room for there is none.
func onlyWithPorts(ports []uint16) *unix.SockFprog {
	const (
		load = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS // takes it as a number in network byte order
		same = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give = unix.BPF_RET | unix.BPF_K
		from = unix.NLMSG_HDRLEN + diagID
		all  = 1 << 16
		most = 200 // at 64 bytes each, since what a socket has of filters is bounded, to 20 KiB at least: net.core.optmem_max
	)
	var program []unix.SockFilter
	for _, end := range []uint32{from, from + 2} {
		program = append(program, unix.SockFilter{Code: load, K: end})
		for _, port := range ports {
			program = append(program, unix.SockFilter{Code: same, K: uint32(port), Jf: 1}, unix.SockFilter{Code: give, K: all})
		}
	}
	program = append(program, unix.SockFilter{Code: give, K: 0})
	if len(ports) > most {
		program = []unix.SockFilter{{Code: give, K: all}}
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}

// next gives the sockets that have ended; lost tells that there was no room for all of them.
func (e endings) next() (ended []socket, lost bool) {
	buf := make([]byte, os.Getpagesize())
	for {
		n, _, err := unix.Recvfrom(e.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			return nil, true
		case err != nil:
			return ended, false
		}
		const header = unix.NLMSG_HDRLEN
		if n < header || int(binary.NativeEndian.Uint32(buf)) > n {
			continue
		}
		if s, ok := diagSocket(buf[header:n]); ok {
			ended = append(ended, s)
		}
	}
}

func (e endings) descriptor() int { return e.fd }
func (e endings) close()          { unix.Close(e.fd) }

// tcpTraces are all states of a socket that has, or had, another end.
const tcpTraces = 1<<12 - 1 - tcpListen

// tcpShut are those of a socket on which its own side will say no more, or neither: FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, LAST_ACK and
// CLOSING.
const tcpShut = 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<9 | 1<<11

func (d diag) traces(port uint16) ([]socket, error) { return d.atEitherEnd(tcpTraces, port) }

func (d diag) closed(port uint16) ([]socket, error) {
	found, err := d.atEitherEnd(tcpShut, port)
	return slices.DeleteFunc(found, func(s socket) bool { return s.inode != 0 }), err // that is half closed
}

// atEitherEnd asks for the sockets in those states with that port at one of their ends.
func (d diag) atEitherEnd(states uint32, port uint16) ([]socket, error) {
	tunnels, err := d.ask(states, netip.AddrPortFrom(netip.Addr{}, port), 0)
	if err != nil {
		return nil, err
	}
	clients, err := d.ask(states, anywhere, port)
	return append(tunnels, clients...), err
}
