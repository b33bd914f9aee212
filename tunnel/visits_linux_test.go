package tunnel

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// visited is a listener, and both ends of connections to it.
type visited struct {
	t *testing.T
	net.Listener
}

func newVisited(t *testing.T, listen string) visited {
	t.Helper()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return visited{t, ln}
}

func (v visited) addr() netip.AddrPort { return v.Addr().(*net.TCPAddr).AddrPort() }

// connect gives both ends of a connection, the tunnel's last.
func (v visited) connect(to string) (client, end *net.TCPConn) {
	v.t.Helper()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { conn.Close() })
	accepted, err := v.Accept()
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { accepted.Close() })
	return conn.(*net.TCPConn), accepted.(*net.TCPConn)
}

// closings are the ways in which a connection can end.
var closings = map[string]func(client, end *net.TCPConn){
	"the client closes": func(client, end *net.TCPConn) { client.Close(); end.Close() },
	"the tunnel closes": func(client, end *net.TCPConn) { end.Close(); client.Close() },
	"only the client":   func(client, _ *net.TCPConn) { client.Close() },
	"the client resets": func(client, end *net.TCPConn) { reset(client); end.Close() },
	"the tunnel resets": func(client, end *net.TCPConn) { reset(end); client.Close() },
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	conn.Close()
}

func TestAVisitIsSeenHoweverShort(t *testing.T) {
	t.Parallel()
	for listen, host := range map[string]string{
		"127.0.0.1:0": "127.0.0.1", "127.1.2.3:0": "127.1.2.3", "[::1]:0": "::1", "0.0.0.0:0": "127.0.0.1", "[::]:0": "127.0.0.1",
	} {
		for how, end := range closings {
			v := newVisited(t, listen)
			_, port, _ := net.SplitHostPort(v.Addr().String())
			visits := WatchVisits(v.addr())
			if visits.Ended() {
				t.Errorf("%s on %s: a visit that was none", how, listen)
			}
			end(v.connect(net.JoinHostPort(host, port)))
			tunneltest.Eventually(t, how+" on "+listen, visits.Ended)
			visits.Close()
		}
	}
}

// TestAVisitThatIsOverIsKnownAtOnce unless it was reset, and one that is not over is none: the kernel tells of both ends, or of none.
func TestAVisitThatIsOverIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	for how, over := range map[string]bool{"the client closes": true, "the tunnel closes": true, "only the client": true, "nobody": false, "half": false} {
		v := newVisited(t, "127.0.0.1:0")
		visits := WatchVisits(v.addr())
		visits.ended.close()
		visits.ended = endings{-1} // as if it had not told yet
		client, end := v.connect(v.Addr().String())
		switch how {
		case "nobody":
		case "half":
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		default:
			whileNothingIsForked(func() { closings[how](client, end) })
		}
		if got := visits.EndedByNow(); got != over {
			t.Errorf("%s: over: %v, want %v", how, got, over)
		}
	}
}

// whileNothingIsForked does something with files that no other process shall have open for a moment more.
func whileNothingIsForked(do func()) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	do()
}

func TestConnectionsFromBeforeAreNoVisits(t *testing.T) {
	t.Parallel()
	v := newVisited(t, "127.0.0.1:0")
	over, overEnd := v.connect(v.Addr().String()) // what a start has asked for an answer
	over.Close()
	stays, staysEnd := v.connect(v.Addr().String())
	visits := WatchVisits(v.addr())
	defer visits.Close()
	overEnd.Close()
	stays.Close()
	staysEnd.Close()

	elsewhere := newVisited(t, netip.AddrPortFrom(netip.MustParseAddr("127.1.2.3"), v.addr().Port()).String())
	closings["the client closes"](elsewhere.connect(elsewhere.Addr().String()))
	tunneltest.Eventually(t, "the connection to the other address is over", func() bool {
		from, err := Connections(elsewhere.addr())
		return err == nil && len(from) == 0
	})
	if visits.Ended() {
		t.Error("a connection counts that was there before, or to another address")
	}

	client, _ := v.connect(v.Addr().String())
	from, err := Connections(v.addr())
	if err != nil || !visits.New(from) || visits.Ended() {
		t.Errorf("a connection since then does not count, or is over: %v, %v", from, err)
	}
	told := WatchVisits(netip.MustParseAddrPort("127.0.0.1:1"), from...) // where the kernel has forgotten it already
	defer told.Close()
	if told.New(from) {
		t.Errorf("one counts of which was said that it was there before: %v", from)
	}
	client.Close()
	tunneltest.Eventually(t, "its end is seen", visits.Ended)
}

func TestVisitsAreRememberedWhereTheKernelTellsOfNone(t *testing.T) {
	t.Parallel()
	v := newVisited(t, "127.0.0.1:0")
	closings["the client closes"](v.connect(v.Addr().String()))
	visits := WatchVisits(v.addr())
	visits.Close()
	visits.err = errNoDiag
	if visits.Ended() {
		t.Error("a visit that was over before")
	}
	closings["the client closes"](v.connect(v.Addr().String()))
	tunneltest.Eventually(t, "it is remembered", visits.Ended)
	if visits.Ended() {
		t.Error("one visit counts again and again, for as long as the system remembers it")
	}
	closings["the client closes"](v.connect(v.Addr().String()))
	tunneltest.Eventually(t, "the next one counts", visits.Ended)
}

// TestAHalfClosedConnectionIsAConnection for as long as both ends are open, by every way to sockets.
func TestAHalfClosedConnectionIsAConnection(t *testing.T) {
	t.Parallel()
	eachWay(t, func(way string, a *asker) {
		for _, host := range []string{"127.0.0.1", "::1"} {
			v := newVisited(t, net.JoinHostPort(host, "0"))
			want := func(n int, half bool, when string) {
				t.Helper()
				tunneltest.Eventually(t, way+": "+when, func() bool {
					ends, err := a.established(v.addr(), 0)
					seen := slices.ContainsFunc(ends, func(s socket) bool { return s.half })
					return err == nil && len(a.sources(ends, v.addr())) == n && (seen == half || n == 0)
				})
			}
			shutDown := func(conn *net.TCPConn) {
				if err := conn.CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			client, end := v.connect(v.Addr().String())
			want(1, false, "connected")
			shutDown(client)
			want(1, true, "the client has shut down its half")
			shutDown(end)
			want(0, true, "both have")
			client.Close()
			end.Close()

			client, end = v.connect(v.Addr().String())
			shutDown(end)
			want(1, true, "the tunnel has shut down its half")
			client.Close()
			want(0, true, "and the client is gone")
			end.Close()

			client, end = v.connect(v.Addr().String())
			shutDown(client)
			want(1, true, "the client has shut down its half")
			client.Close()
			want(0, true, "and closed the other, which the tunnel does not notice")
			end.Close()
		}
	})
}

// TestEndsOfSeveralPortsAreTold, and of no other one, as far as a filter has room for them.
func TestEndsOfSeveralPortsAreTold(t *testing.T) {
	t.Parallel()
	watched := []visited{newVisited(t, "127.0.0.1:0"), newVisited(t, "[::1]:0"), newVisited(t, "127.0.0.1:0")}
	other := newVisited(t, "127.0.0.1:0")
	var ports, many []uint16
	for _, v := range watched {
		ports = append(ports, v.addr().Port())
	}
	for port := uint16(1); port < 1000; port++ {
		many = append(many, port)
	}
	ends, unfiltered := WatchSocketEnds(ports), WatchSocketEnds(append(many, ports...))
	defer ends.Close()
	defer unfiltered.Close()
	if ends.FD() < 0 || unfiltered.FD() < 0 {
		t.Fatal("the kernel tells of none")
	}
	closings["the client closes"](other.connect(other.Addr().String()))
	tunneltest.Eventually(t, "without a filter all are told of", unfiltered.Any)
	if ends.Any() {
		t.Error("it tells of a port that is not watched")
	}
	for _, v := range watched {
		closings["the client closes"](v.connect(v.Addr().String()))
		tunneltest.Eventually(t, "the end of a connection", ends.Any)
	}
	tunneltest.Eventually(t, "nothing more is told", func() bool { return !ends.Any() })
	watched[0].Close()
	tunneltest.Eventually(t, "the end of a listener", ends.Any)
}
