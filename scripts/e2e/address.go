//go:build e2e

package e2e

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// freeAddress returns an address on the loopback that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// waitUntilListening waits until a server accepts connections. It makes one, which
// real servers do not mind.
func waitUntilListening(t testing.TB, server *process, address string) {
	t.Helper()
	eventually(t, patience, server.name+" accepts connections", func() bool {
		if !server.alive() {
			t.Fatalf("%s has ended: %s", server.name, server.lastOutput())
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// listens reports whether anything listens on an IPv4 address. It does not connect.
func listens(t testing.TB, address string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	// Columns two and four: the address in the byte order of a little-endian machine,
	// and the state, 0A for LISTEN (proc(5)).
	want := netip.MustParseAddrPort(address)
	ip := want.Addr().As4()
	slices.Reverse(ip[:])
	local := fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(ip[:])), want.Port())
	return slices.ContainsFunc(strings.Split(string(table), "\n"), func(line string) bool {
		columns := strings.Fields(line)
		return len(columns) > 3 && columns[1] == local && columns[3] == "0A"
	})
}
