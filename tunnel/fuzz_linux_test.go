package tunnel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzSocket reads sockets as the kernel tells of them by sock_diag(7).
func FuzzSocket(f *testing.F) {
	f.Add(make([]byte, diagMessageSize), []byte{127, 0, 0, 1}, []byte{10, 0, 0, 1}, uint16(3389), uint16(40000))
	f.Add(make([]byte, diagMessageSize+8), netip.MustParseAddr("::1").AsSlice(), netip.MustParseAddr("::ffff:1.2.3.4").AsSlice(), uint16(1), uint16(65535))
	f.Add([]byte{2, 10}, []byte{}, []byte{1}, uint16(0), uint16(0))
	long := make([]byte, diagMessageSize+200)
	binary.NativeEndian.PutUint16(long[diagMessageSize:], 200)
	binary.NativeEndian.PutUint16(long[diagMessageSize+2:], diagInfo)
	f.Add(long, []byte{0, 0, 0, 0}, []byte{0, 0, 0, 0}, uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, message, local, remote []byte, localPort, remotePort uint16) {
		if s, ok := diagSocket(message); ok != (len(message) >= diagMessageSize) {
			t.Fatalf("%d bytes: %v, %v", len(message), s, ok)
		} else if ok {
			_ = sentNothing(message)
			roundTripSocket(t, message, local, remote, localPort, remotePort)
		}
	})
}

// roundTripSocket puts addresses into a message, where they are addresses.
func roundTripSocket(t *testing.T, message, local, remote []byte, localPort, remotePort uint16) {
	t.Helper()
	from, ok1 := netip.AddrFromSlice(local)
	to, ok2 := netip.AddrFromSlice(remote)
	if !ok1 || !ok2 || from.Is4() != to.Is4() {
		return
	}
	b := append([]byte{}, message...)
	b[0] = unix.AF_INET6
	if from.Is4() {
		b[0] = unix.AF_INET
	}
	binary.BigEndian.PutUint16(b[diagID:], localPort)
	binary.BigEndian.PutUint16(b[diagID+2:], remotePort)
	copy(b[diagID+4:], local)
	copy(b[diagID+20:], remote)
	s, ok := diagSocket(b)
	want := socket{local: netip.AddrPortFrom(from.Unmap(), localPort), remote: netip.AddrPortFrom(to.Unmap(), remotePort)}
	if !ok || s.local != want.local || s.remote != want.remote {
		t.Fatalf("%v, %v; want %v", s, ok, want)
	}
}

// FuzzTableLine reads lines of /proc/net/tcp, those that the kernel writes and others.
func FuzzTableLine(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1}, []byte{10, 0, 0, 1}, uint16(3389), uint16(40000), byte(10), uint32(1000), uint32(123456), "")
	f.Add(netip.MustParseAddr("::1").AsSlice(), netip.MustParseAddr("::ffff:1.2.3.4").AsSlice(), uint16(1), uint16(65535), byte(1), uint32(0), uint32(1<<31), "0: 0:0 0:0 0A")
	f.Add([]byte{1}, []byte{}, uint16(0), uint16(0), byte(255), uint32(0), uint32(0), "0: 0100007F:0D3D 00000000:0000 FF 0:0 0:0 0 -1 0 99999999999")
	f.Fuzz(func(t *testing.T, local, remote []byte, localPort, remotePort uint16, state byte, uid, inode uint32, other string) {
		if l, err := parseListed(strings.Fields(other)); err == nil && (!l.local.IsValid() || !l.remote.IsValid() || l.local.Addr().Is4In6()) {
			t.Fatalf("%q is %+v", other, l)
		}
		from, ok1 := netip.AddrFromSlice(local)
		to, ok2 := netip.AddrFromSlice(remote)
		if !ok1 || !ok2 {
			return
		}
		line := fmt.Sprintf("   7: %s:%04X %s:%04X %02X 00000000:00000000 00:00000000 00000000 %5d        0 %d 1 0000000000000000 100 0 0 10 0\n",
			words(local), localPort, words(remote), remotePort, state, uid, inode)
		l, err := parseListed(strings.Fields(line))
		want := socket{local: netip.AddrPortFrom(from.Unmap(), localPort), remote: netip.AddrPortFrom(to.Unmap(), remotePort), uid: int(uid), inode: inode}
		if err != nil || l.local != want.local || l.remote != want.remote || l.uid != want.uid || l.inode != want.inode || (l.state == "LISTEN") != (state == 10) {
			t.Fatalf("%q is %+v, %v; want %+v", line, l, err, want)
		}
	})
}

// words writes an address as the kernel does.
func words(addr []byte) string {
	var b strings.Builder
	for i := 0; i < len(addr); i += 4 {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(addr[i:]))
	}
	return b.String()
}
