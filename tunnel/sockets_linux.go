package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Sizes and offsets of struct inet_diag_req and struct inet_diag_msg, <linux/inet_diag.h>, sock_diag(7). The request is
// the older of two: it gives IPv4 and IPv6 sockets in one walk through the kernel's tables, which is nearly all of what
// an answer costs.
const (
	diagRequestType = 18 // TCPDIAG_GETSOCK
	diagRequestSize = 60
	diagMessageSize = 72
	diagState       = 1
	diagExt         = 3 // which attributes to add, as bits, in the request
	diagID          = 4 // struct inet_diag_sockid in both
	diagCookie      = 44
	diagStates      = 52
	diagUID         = 64
	diagFilter      = 1 // INET_DIAG_REQ_BYTECODE, the attribute that holds a filter, in the request
	diagInfo        = 2 // INET_DIAG_INFO, the attribute that holds a struct tcp_info
	diagInode       = 68
)

// States of a TCP socket as bits of a request, <net/tcp_states.h>.
const (
	tcpEstablished = 1
	tcpListenState = 10
	tcpListen      = 1 << tcpListenState
	tcpOpen        = 1<<tcpEstablished | 1<<4 | 1<<5 | 1<<8 // and FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: one half is shut down, by either side
)

// diag is a connection to the kernel on which sockets are asked for.
type diag struct{ *netlink.Conn }

func dialDiag() (diag, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return diag{}, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	return diag{conn}, nil
}

func (d diag) listening(local netip.AddrPort) ([]socket, error) { return d.ask(tcpListen, local, 0) }

func (d diag) established(local netip.AddrPort, remote uint16) ([]socket, error) {
	found, err := d.ask(tcpOpen, local, remote)
	return withoutClosed(found), err
}

func (d diag) both(local netip.AddrPort) ([]socket, error) {
	found, err := d.ask(tcpListen|tcpOpen, local, 0)
	return withoutClosed(found), err
}

// withoutClosed leaves out the sockets that no process has open any more: the kernel is about to end them.
func withoutClosed(found []socket) []socket {
	return slices.DeleteFunc(found, func(s socket) bool { return s.half && s.inode == 0 })
}

// ask asks for the TCP sockets in those states at a local address, see isAt, with that remote port. After an error the connection is
// to be closed: what is left of the answer would come with the next one.
func (d diag) ask(states uint32, local netip.AddrPort, remote uint16) ([]socket, error) {
	request := diagRequest(states, local.Port(), remote)
	if isOne(local.Addr()) {
		filter, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: diagFilter, Data: onlyAt(local.Addr())}})
		if err != nil {
			return nil, err
		}
		request = append(request, filter...)
	}
	replies, err := d.Execute(netlink.Message{
		Header: netlink.Header{Type: diagRequestType, Flags: netlink.Request | netlink.Dump}, Data: request,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	var found []socket
	for _, reply := range replies {
		if s, ok := diagSocket(reply.Data); ok && s.isAt(local, remote) { // older kernels filter no listening ones
			found = append(found, s)
		}
	}
	return found, nil
}

// onlyAt is a program for the kernel's filter of sockets: only those are told of whose local address is that one or unspecified. It is
// made of struct inet_diag_bc_op, each of which says by how many bytes to go on if it holds, and if not, and struct inet_diag_hostcond,
// <linux/inet_diag.h>. To end right behind the last takes the socket, to go beyond refuses it.
func onlyAt(ip netip.Addr) []byte {
	const (
		jump, source = 1, 7 // INET_DIAG_BC_JMP, which never holds, and INET_DIAG_BC_S_COND
		size         = 4
	)
	var program []byte
	for i, ip := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified(), ip} {
		if i > 0 { // what was before holds only up to here
			program = append(program, jump, size, 0, 0)
		}
		family := byte(unix.AF_INET)
		if ip.Is6() {
			family = unix.AF_INET6
		}
		length := size + 8 + ip.BitLen()/8
		program = append(program, source, byte(length))
		program = binary.NativeEndian.AppendUint16(program, uint16(length+size))
		program = append(program, family, byte(ip.BitLen()), 0, 0)
		program = binary.NativeEndian.AppendUint32(program, math.MaxUint32) // any port
		program = append(program, ip.AsSlice()...)
	}
	for at := 0; at < len(program); at += int(program[at+1]) {
		if program[at] == jump {
			binary.NativeEndian.PutUint16(program[at+2:], uint16(len(program)-at))
		}
	}
	return program
}

func diagRequest(states uint32, local, remote uint16) []byte {
	b := make([]byte, diagRequestSize)
	binary.BigEndian.PutUint16(b[diagID:], local)
	binary.BigEndian.PutUint16(b[diagID+2:], remote)
	binary.NativeEndian.PutUint32(b[diagStates:], states)
	return b
}

func diagSocket(b []byte) (socket, bool) {
	if len(b) < diagMessageSize {
		return socket{}, false
	}
	end := func(port, addr []byte) netip.AddrPort {
		ip := netip.AddrFrom16([16]byte(addr[:16])).Unmap()
		if b[0] == unix.AF_INET {
			ip = netip.AddrFrom4([4]byte(addr[:4]))
		}
		return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port))
	}
	id := b[diagID:]
	return socket{
		local:  end(id[0:], id[4:]),
		remote: end(id[2:], id[20:]),
		inode:  binary.NativeEndian.Uint32(b[diagInode:]),
		uid:    int(binary.NativeEndian.Uint32(b[diagUID:])),
		half:   b[diagState] != tcpEstablished && b[diagState] != tcpListenState,
	}, true
}

// exact gives the one socket between those two addresses, as the end of local sees it; none where there is none. It is
// quicker than ask by far: the kernel looks in one place.
func (d diag) exact(local, remote netip.AddrPort) ([]socket, error) {
	b := diagRequest(0, local.Port(), remote.Port())
	b[0] = unix.AF_INET6
	if local.Addr().Is4() {
		b[0] = unix.AF_INET
	}
	b[diagExt] = 1 << (diagInfo - 1)
	copy(b[diagID+4:], local.Addr().AsSlice())
	copy(b[diagID+20:], remote.Addr().AsSlice())
	for i := range 8 { // INET_DIAG_NOCOOKIE: whichever socket it is
		b[diagCookie+i] = 0xff
	}
	replies, err := d.Execute(netlink.Message{
		Header: netlink.Header{Type: diagRequestType, Flags: netlink.Request}, Data: b,
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDiag, err)
	}
	var found []socket
	for _, reply := range replies {
		if s, ok := diagSocket(reply.Data); ok && s.local == local && s.remote == remote {
			s.unsent = sentNothing(reply.Data)
			found = append(found, s)
		}
	}
	return found, nil
}

// dataSegmentsOut is the offset of tcpi_data_segs_out in struct tcp_info, <linux/tcp.h>, since Linux 4.6.
const dataSegmentsOut = 156

// sentNothing tells, by the struct tcp_info of an answer, whether no data was ever sent on the socket. Where the kernel
// does not say, it may have been.
func sentNothing(b []byte) bool {
	attributes, err := netlink.UnmarshalAttributes(b[diagMessageSize:])
	if err != nil {
		return false
	}
	for _, a := range attributes {
		if a.Type == diagInfo && len(a.Data) >= dataSegmentsOut+4 {
			return binary.NativeEndian.Uint32(a.Data[dataSegmentsOut:]) == 0
		}
	}
	return false
}

// openSockets gives the inodes of a process's sockets. The error says that they cannot be looked at: the process is another user's,
// or its program has privileges of its own, or has asked the kernel to be private, ptrace(2) on access modes.
func openSockets(pid int) (map[uint32]bool, error) {
	inodes := map[uint32]bool{}
	any, err := addSockets(inodes, fmt.Sprintf("/proc/%d/fd", pid))
	if any && err == nil {
		return inodes, nil
	}
	// The first thread has none any more once it has ended, nor may be looked into by all. The others have their files in common.
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		if any, err = addSockets(inodes, fmt.Sprintf("/proc/%d/task/%s/fd", pid, thread.Name())); any && err == nil {
			break
		}
	}
	return inodes, err
}

// mayHaveMade tells whether a process may have made a socket that is that user's: it acts as that user, or as nobody knows whom.
func mayHaveMade(pid, uid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(status)) {
		if uids, ok := strings.CutPrefix(line, "Uid:"); ok {
			return slices.Contains(strings.Fields(uids), strconv.Itoa(uid))
		}
	}
	return true
}

// addSockets adds the inodes of the sockets in a directory of descriptors, and tells whether that holds anything at all.
func addSockets(inodes map[uint32]bool, fds string) (any bool, err error) {
	dir, err := os.Open(fds)
	if err != nil {
		return false, unlessGone(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false, unlessGone(err)
	}
	for _, name := range names {
		link, err := os.Readlink(dir.Name() + "/" + name)
		if errors.Is(err, fs.ErrPermission) {
			return true, err // what is listed need not be shown
		}
		if err != nil || !strings.HasPrefix(link, "socket:[") {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(link[len("socket:["):], "]"), 10, 32); err == nil {
			inodes[uint32(inode)] = true
		}
	}
	return len(names) > 0, nil
}

// unlessGone leaves out the error of a process that has ended.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
