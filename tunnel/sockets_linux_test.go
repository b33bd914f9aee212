package tunnel

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// parsed is the address that a helper has written.
func parsed(t *testing.T, h *helper) netip.AddrPort {
	t.Helper()
	addr, err := netip.ParseAddrPort(h.line(t))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// eachWay calls f with each of the two ways to sockets, which must agree.
func eachWay(t *testing.T, f func(name string, way *asker)) {
	t.Helper()
	fast := newAsker()
	defer fast.close()
	f("sock_diag", fast)
	if fast.err != nil {
		t.Fatalf("not by sock_diag: %v", fast.err)
	}
	f("the walk", &asker{err: errNoDiag})
}

// port is where all sockets with a port are.
func port(addr netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(netip.Addr{}, addr.Port()) }

func TestListeningSocketsAreFoundByEveryWay(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:0", "127.9.8.7:0", "[::1]:0", "tcp4=0.0.0.0:0", "[::]:0"} {
		h := startHelper(t, "listen", addr)
		want := parsed(t, h)
		eachWay(t, func(name string, way *asker) {
			found, err := way.listening(port(want))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			owned := ownedBy([]int{h.pid()}, found)
			if len(owned) != 1 || owned[0].local != want || owned[0].pid != h.pid() {
				t.Errorf("%s on %s: %+v (owned %+v), want %v", name, addr, found, owned, want)
			}
			if owned := ownedBy([]int{0, 1 << 22, unix.Getpid()}, found); len(owned) > 0 {
				t.Errorf("%s on %s: %+v is ours or nobody's", name, addr, owned)
			}
			if all, err := way.listening(anywhere); err != nil || !slices.Contains(locals(all), want) {
				t.Errorf("%s on %s: not among all: %v, %v", name, addr, locals(all), err)
			}
		})
		if found, err := listening(want); err != nil || !slices.Contains(locals(found), want) {
			t.Errorf("%s: %v, %v", addr, found, err)
		}
		h.kill()
		if found, err := listening(want); err != nil || slices.Contains(locals(found), want) {
			t.Errorf("%s: still there after its end: %v, %v", addr, found, err)
		}
	}
}

// TestOnlyWhatAnAddressTakesIsTold: a thousand tunnels may listen on one port, each on an address of its own.
func TestOnlyWhatAnAddressTakesIsTold(t *testing.T) {
	t.Parallel()
	for listen, takes := range map[string]map[string]bool{
		"127.9.8.7:0":    {"127.9.8.7": true, "127.9.8.8": false, "::1": false, "0.0.0.0": true},
		"[::1]:0":        {"::1": true, "127.9.8.7": false, "::": true},
		"tcp4=0.0.0.0:0": {"127.9.8.7": true, "127.9.8.8": true},
		"[::]:0":         {"127.9.8.7": true, "127.9.8.8": true, "::1": true},
	} {
		h := startHelper(t, "listen", listen)
		own := parsed(t, h)
		eachWay(t, func(name string, way *asker) {
			for ip, want := range takes {
				found, err := way.listening(netip.AddrPortFrom(netip.MustParseAddr(ip), own.Port()))
				if got := len(ownedBy([]int{h.pid()}, found)) == 1; err != nil || got != want {
					t.Errorf("%s: what listens on %s is told of %s: %v (%v), want %v", name, listen, ip, got, err, want)
				}
			}
		})
	}
}

// TestASocketCountsOnce, however often a table shows it that changes while it is read.
func TestASocketCountsOnce(t *testing.T) {
	t.Parallel()
	one, other := socket{local: netip.MustParseAddrPort("[::1]:1"), inode: 1}, socket{local: netip.MustParseAddrPort("[::1]:1"), inode: 2}
	shown := []socket{one, other, one}
	found, err := (&asker{err: errNoDiag}).ask(nil, func() ([]socket, error) { return shown, nil })
	if want := []socket{one, other}; err != nil || !slices.Equal(found, want) {
		t.Errorf("%+v, %v; want %+v", found, err, want)
	}
}

func TestConnectionsAreFoundByEveryWay(t *testing.T) {
	t.Parallel()
	for listen, connect := range map[string]string{"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1", "[::]:0": "127.0.0.1"} {
		server := startHelper(t, "listen", listen)
		addr := netip.AddrPortFrom(netip.MustParseAddr(connect), parsed(t, server).Port())
		client := startHelper(t, "dial", addr.String())
		want := parsed(t, client)
		eachWay(t, func(name string, way *asker) {
			found, err := way.established(anywhere, addr.Port())
			if err != nil || len(found) != 1 || found[0].local != want || found[0].remote != addr {
				t.Errorf("%s to %s: %+v, %v; want %v", name, addr, found, err, want)
			}
			if owned := ownedBy([]int{server.pid(), client.pid()}, found); len(owned) != 1 || owned[0].pid != client.pid() {
				t.Errorf("%s to %s: owned %+v, want the client's", name, addr, owned)
			}
			found, err = way.both(addr)
			listens, connected := split(found)
			if err != nil || len(ownedBy([]int{server.pid()}, listens)) != 1 || len(connected) != 1 || connected[0].local != addr || connected[0].remote != want {
				t.Errorf("%s to %s: %+v listen and %+v are connected, %v", name, addr, listens, connected, err)
			}
		})
	}
}

func TestHolderIsNamedWithItsPid(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		listen, asked string
		held          bool
	}{
		{"127.0.0.1:0", "127.0.0.1", true},
		{"127.0.0.1:0", "127.0.0.2", false},
		{"127.0.0.1:0", "::1", false},
		{"[::1]:0", "::1", true},
		{"[::1]:0", "127.0.0.1", false},
		{"tcp4=0.0.0.0:0", "127.0.0.1", true},
		{"tcp4=0.0.0.0:0", "127.9.9.9", true},
		{"tcp4=0.0.0.0:0", "::1", false},
		{"[::]:0", "::1", true},
		{"[::]:0", "127.0.0.1", true}, // the IPv6 wildcard covers IPv4
	} {
		h := startHelper(t, "listen", tc.listen)
		asked := netip.AddrPortFrom(netip.MustParseAddr(tc.asked), parsed(t, h).Port())
		holder, held := Holder(asked)
		if held != tc.held || held && (holder.PID != h.pid() || holder.Program != filepath.Base(self(t))) {
			t.Errorf("%s, asked for %s: %+v, %v; want pid %d, %v", tc.listen, asked, holder, held, h.pid(), tc.held)
		}
		if Free(asked) == tc.held {
			t.Errorf("%s: %s is free: %v", tc.listen, asked, !tc.held)
		}
		if _, err := (Listen{asked}).Reserve(); tc.held != (err != nil) {
			t.Errorf("%s: reserving %s gives %v, and its holder is %v", tc.listen, asked, err, held)
		}
		h.kill()
		if !Free(asked) {
			t.Errorf("%s: %s is not free after the end", tc.listen, asked)
		}
	}
}

func TestHolderOfAnAddressThatKeepsAWildcardFromBeingHad(t *testing.T) {
	t.Parallel()
	h := startHelper(t, "listen", "127.0.0.1:0")
	asked := netip.AddrPortFrom(netip.IPv4Unspecified(), parsed(t, h).Port())
	if _, err := (Listen{asked}).Reserve(); err == nil {
		t.Fatalf("%s can be had", asked)
	}
	if holder, held := Holder(asked); !held || holder.PID != h.pid() {
		t.Errorf("holder %+v, %v; want pid %d", holder, held, h.pid())
	}
}

func TestClientsAreNamedOnceEach(t *testing.T) {
	t.Parallel()
	server := startHelper(t, "listen", "127.0.0.1:0")
	other := startHelper(t, "listen", "127.0.0.1:0")
	addr := parsed(t, server)
	if clients, err := Clients(addr); err != nil || len(clients) > 0 {
		t.Fatalf("nobody has connected: %v, %v", clients, err)
	}
	program := filepath.Base(self(t))
	var want []Peer
	for _, more := range [][]string{nil, {"and", "again"}} {
		client := startHelper(t, append([]string{"dial", addr.String()}, more...)...)
		client.line(t)
		want = append(want, Peer{PID: client.pid(), Program: program})
	}
	stranger := startHelper(t, "dial", parsed(t, other).String())
	stranger.line(t)
	slices.SortFunc(want, func(a, b Peer) int { return a.PID - b.PID })
	if clients, err := Clients(addr); err != nil || !slices.Equal(clients, want) {
		t.Errorf("%v, %v; want %v", clients, err, want)
	}
}

func TestBoundButNotListeningIsNotListening(t *testing.T) {
	t.Parallel()
	addr := freeAddress(t)
	family, sockaddr := socketAddress(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, sockaddr); err != nil {
		t.Fatal(err)
	}
	if !Free(addr) {
		t.Error("it counts as listening")
	}
	if _, held := Holder(addr); held {
		t.Error("it counts as held")
	}
}

func TestSocketOfSeveralProcessesBelongsToEach(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := netip.MustParseAddrPort(l.Addr().String())
	found, err := listening(addr)
	if err != nil {
		t.Fatal(err)
	}
	if owned := ownedBy([]int{unix.Getppid(), unix.Getpid()}, found); len(owned) != 1 || owned[0].pid != unix.Getpid() {
		t.Errorf("owned %+v", owned)
	}
	if !Listening(addr, identified(t, unix.Getpid())) {
		t.Error("it is ours and counts as not")
	}
	if Listening(addr, identified(t, unix.Getppid())) {
		t.Error("it counts as another's")
	}
}
