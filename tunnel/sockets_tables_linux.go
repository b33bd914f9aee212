package tunnel

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// tables reads the TCP sockets of this network namespace from /proc, proc_pid_net(5). They come with inodes, as from sock_diag.
func tables() ([]listed, error) {
	v4, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		return nil, err
	}
	v6, err := os.ReadFile("/proc/self/net/tcp6")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // without IPv6 there is none
		return nil, err
	}
	var all []listed
	for line := range strings.Lines(string(v4) + string(v6)) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "sl" {
			continue // the heading
		}
		l, err := parseListed(fields)
		if err != nil {
			return nil, fmt.Errorf("unexpected line in /proc/net/tcp: %.120q: %w", line, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// states are those of a TCP socket as the tables number them, <net/tcp_states.h>.
var states = []string{
	1: "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
	"SYN_RECV", // TCP_NEW_SYN_RECV
}

// parseListed reads a line's fields: the number, both ends, the state, queues, two of a timer in one, retransmits, uid, timeout, inode.
func parseListed(fields []string) (listed, error) {
	if len(fields) < 10 {
		return listed{}, fmt.Errorf("%d fields", len(fields))
	}
	local, err1 := parseEnd(fields[1])
	remote, err2 := parseEnd(fields[2])
	state, err3 := strconv.ParseUint(fields[3], 16, 8)
	uid, err4 := strconv.ParseUint(fields[7], 10, 32)
	inode, err5 := strconv.ParseUint(fields[9], 10, 32)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return listed{}, err
	}
	l := listed{socket: socket{local: local, remote: remote, uid: int(uid), inode: uint32(inode)}}
	if int(state) < len(states) {
		l.state = states[state]
	}
	return l, nil
}

// parseEnd reads an address, 32-bit words in hexadecimal as the machine has them in memory, and a port.
func parseEnd(text string) (netip.AddrPort, error) {
	ip, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(ip)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("no address: %q", text)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("no address: %q", text)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}
