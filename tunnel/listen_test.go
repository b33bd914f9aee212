package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustRoute(t interface {
	Helper()
	Fatal(...any)
}, c *Config, text string,
) Route {
	t.Helper()
	r, err := c.Route(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestListenAddresses(t *testing.T) {
	r := mustRoute(t, mustLoad(t), "desk:3389")
	for text, want := range map[string]struct {
		addr, key string
		exposed   bool
	}{
		"3389":                    {"127.0.0.1:3389", "127.0.0.1:3389", false},
		":3389":                   {"127.0.0.1:3389", "127.0.0.1:3389", false},
		"1":                       {"127.0.0.1:1", "127.0.0.1:1", false},
		"65535":                   {"127.0.0.1:65535", "127.0.0.1:65535", false},
		"localhost:3389":          {"127.0.0.1:3389", "127.0.0.1:3389", false},
		"127.0.0.1:3389":          {"127.0.0.1:3389", "127.0.0.1:3389", false},
		"127.8.9.10:3389":         {"127.8.9.10:3389", "127.8.9.10:3389", false},
		"[::1]:3389":              {"[::1]:3389", "[::1]:3389", false},
		"[0:0:0:0:0:0:0:1]:3389":  {"[::1]:3389", "[::1]:3389", false},
		"LocalHost:3389":          {"127.0.0.1:3389", "127.0.0.1:3389", false},
		"[::ffff:127.0.0.1]:3389": {"127.0.0.1:3389", "127.0.0.1:3389", false},
		"[::FFFF:7f00:1]:03389":   {"127.0.0.1:3389", "127.0.0.1:3389", false},
		"[2001:DB8:0::000a]:3389": {"[2001:db8::a]:3389", "[2001:db8::a]:3389", true},
		"[2001:db8::A]:3389":      {"[2001:db8::a]:3389", "[2001:db8::a]:3389", true},
		"0.0.0.0:3389":            {"0.0.0.0:3389", "0.0.0.0:3389", true},
		"[::]:3389":               {"[::]:3389", "[::]:3389", true},
		"192.0.2.7:3389":          {"192.0.2.7:3389", "192.0.2.7:3389", true},
		"":                        {"127.0.0.1:0", "auto", false},
		"auto":                    {"127.0.0.1:0", "auto", false},
	} {
		l, err := r.ParseListen(text)
		if err != nil || l.Addr.String() != want.addr || l.String() != want.key || l.Exposed() != want.exposed || l.Auto() != (want.key == "auto") {
			t.Errorf("%q: %v (%s, exposed %v), %v; want %+v", text, l.Addr, l, l.Exposed(), err, want)
		}
	}
}

func TestBadListenAddressIsRefusedInOneLine(t *testing.T) {
	r := mustRoute(t, mustLoad(t), "desk:3389")
	for _, text := range []string{
		"0", "65536", "abc", "-1", "+1", "3389x", "3_389", " 3389", "3389 ", "3389\n", "1e3", ":", ":0", ":65536", ":abc",
		"127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:abc", "1.2.3.4", "1.2.3:3389", "256.0.0.1:3389",
		"127.1:3389", "0x7f.0.0.1:3389", "::1:3389", "::1", "[::1]", "[::1]:", "[::1]:0", "[::1:3389", "::1]:3389", "[]:3389", "[127.0.0.1]:3389",
		"[[::1]]:3389", "[::1%lo]:3389", "[::1%25lo]:3389", "[::1%]:3389", "[fe80::1%eth0]:3389", "[fe80::1%nosuch]:3389", "[::%1]:3389", "[::ffff:127.0.0.1%lo]:3389",
		"127.0.0.1%lo:3389", "224.0.0.1:3389", "255.255.255.255:3389", "127.255.255.255:3389", "[ff02::1]:3389", "[::ffff:224.0.0.1]:3389", "[::1%\x1b[2J]:3389", "0:3389", "127.0.1:3389", "2130706433:3389", "0177.0.0.1:3389", "127.0.0.01:3389", "１２７.0.0.1:3389", "localhost", "localhost:", "localhost:0", "desk.example.com:3389", "*:3389", "stable:3389", "STABLE", strings.Repeat("9", 10_000),
		"\x1b[31m:1",
	} {
		_, err := r.ParseListen(text)
		var bad *ListenError
		if !errors.As(err, &bad) || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 400 {
			t.Errorf("%.60q: error %v, want a ListenError of one line", text, err)
		}
	}
}

func TestListenAddressOfTheConfigurationStandsInForAMissingOne(t *testing.T) {
	c := mustLoad(t, "[tunnel.desk]\nroute = \"desk:3389\"\nlisten = \"4000\"\n")
	r := mustRoute(t, c, "desk")
	if l, err := r.ParseListen(""); err != nil || l.String() != "127.0.0.1:4000" {
		t.Errorf("left out: %v, %v", l, err)
	}
	if l, err := r.ParseListen("5000"); err != nil || l.String() != "127.0.0.1:5000" {
		t.Errorf("given: %v, %v", l, err)
	}
	if l, err := r.ParseListen("auto"); err != nil || !l.Auto() {
		t.Errorf("auto: %v, %v", l, err)
	}
}

func TestProgramThatListensOnOneHostOnly(t *testing.T) {
	c := mustLoad(t, "[provider.x]\ncommand = [\"x\"]\nlisten_host = \"127.7.7.7\"\n[provider.y]\ncommand = [\"y\"]\nlisten_host = \"::1\"\n")
	for _, tc := range []struct {
		route, listen, behind string
		itself                bool
	}{
		{"tsh-app://desk:3389", "3389", "127.0.0.1:0", true},
		{"tsh-app://desk:3389", "", "127.0.0.1:0", true},
		{"tsh-app://desk:3389", "127.0.0.2:3389", "127.0.0.1:0", false},
		{"tsh-app://desk:3389", "0.0.0.0:3389", "127.0.0.1:0", false},
		{"tsh-app://desk:3389", "[::1]:3389", "127.0.0.1:0", false},
		{"tsh-app://desk:3389", "stable", "127.0.0.1:0", false},
		{"aws-ssm://i/desk:3389", "stable", "127.0.0.1:0", false},
		{"gcloud-iap://z/desk:3389", "stable", "127.0.0.1:0", false},
		{"azure-bastion://g/b/10.0.0.1:3389", "stable", "127.0.0.1:0", false},
		{"relay://desk:3389", "stable", "127.0.0.1:0", true},
		{"relay://desk:3389", "0.0.0.0:3389", "127.0.0.1:0", true},
		{"x://desk:3389", "127.7.7.7:3389", "127.7.7.7:0", true},
		{"x://desk:3389", "3389", "127.7.7.7:0", false},
		{"x://desk:3389", "", "127.7.7.7:0", true},
		{"y://desk:3389", "", "[::1]:0", true},
		{"y://desk:3389", "3389", "[::1]:0", false},
	} {
		r := mustRoute(t, c, tc.route)
		l, err := r.ParseListen(tc.listen)
		if err != nil || r.ListensOn(l.Addr.Addr()) != tc.itself || r.Behind().Addr.String() != tc.behind || !r.ListensOn(r.Behind().Addr.Addr()) {
			t.Errorf("%s on %q: %v, by itself %v, behind it %v, %v; want %+v", tc.route, tc.listen, l, r.ListensOn(l.Addr.Addr()), r.Behind().Addr, err, tc)
		}
	}
}

func TestReserveFindsATakenAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l, err := ParseAddress(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := l.Reserve(); !errors.Is(err, ErrTaken) {
		t.Errorf("reserved %v, %v; want ErrTaken", addr, err)
	}
	for _, wildcard := range []string{"0.0.0.0:", ":"} {
		other, err := net.Listen("tcp", wildcard+"0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := ParseAddress(strconv.Itoa(other.Addr().(*net.TCPAddr).Port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reserve(); !errors.Is(err, ErrTaken) {
			t.Errorf("under the wildcard %v: %v, want ErrTaken", other.Addr(), err)
		}
		other.Close()
	}
}

func TestReserveLeavesTheAddressFree(t *testing.T) {
	r := mustRoute(t, mustLoad(t), "desk:3389")
	auto, err := r.ParseListen("")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := auto.Reserve()
	if err != nil || addr.Port() == 0 || addr.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Fatalf("%v, %v", addr, err)
	}
	again, err := Listen{addr}.Reserve()
	if err != nil || again != addr {
		t.Errorf("reserved again: %v, %v", again, err)
	}
	listener, err := net.Listen("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
}

// TestAddressInTimeWaitIsFree: a server that closes a connection first leaves its address in TIME_WAIT.
func TestAddressInTimeWaitIsFree(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(listener.Addr().String())
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	server.Close()
	_, _ = client.Read(make([]byte, 1)) // end of file
	client.Close()
	without := net.ListenConfig{Control: withoutReuse}
	if l, err := without.Listen(context.Background(), "tcp", addr.String()); err == nil {
		l.Close()
		t.Fatal("the address is not in TIME_WAIT: nothing is shown by this")
	}
	if got, err := (Listen{addr}).Reserve(); err != nil || got != addr {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReserveSaysWhatIsWrongWithAnAddress(t *testing.T) {
	for _, text := range []string{"192.0.2.7:3389", "[2001:db8::1]:3389", "203.0.113.9:3389", "[fe80::1]:3389"} {
		l, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		var bad *ListenError
		if addr, err := l.Reserve(); !errors.As(err, &bad) || !strings.Contains(err.Error(), l.Addr.String()) {
			t.Errorf("%s: reserved %v, %v; want a ListenError that names it", text, addr, err)
		}
	}
}

func TestStableAddressIsTheRoutesOwn(t *testing.T) {
	c := mustLoad(t, "[tunnel.desk]\nroute = \"desk.corp.example.com:3389\"\n")
	for route, want := range map[string]string{ // the same on every machine and every day
		"desk.corp.example.com:3389": "127.165.26.138:3389",
		"desk":                       "127.165.26.138:3389",
		"ssh://gate/desk:3389":       "127.94.30.208:3389",
		"relay://desk:3389":          "127.67.102.33:3389",
	} {
		l, err := mustRoute(t, c, route).ParseListen("stable")
		if err != nil || l.String() != want {
			t.Errorf("%s: %v, %v; want %s", route, l, err, want)
		}
	}
	var bad *ListenError
	if _, err := mustRoute(t, c, "cloudflared://rdp.example.com").ParseListen("stable"); !errors.As(err, &bad) {
		t.Errorf("a route without a port: %v", err)
	}
}

func TestStableAddressProperties(t *testing.T) {
	c := mustLoad(t)
	reserved := netip.MustParsePrefix("127.0.0.0/16")
	loopbacks := netip.MustParsePrefix("127.0.0.0/8")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-z0-9]{1,20}(\.[a-z]{1,8})?`).Draw(t, "host") + ":" + strconv.Itoa(rapid.IntRange(1, 65535).Draw(t, "port"))
		r := mustRoute(t, c, text)
		l, err := r.ParseListen("stable")
		if err != nil {
			t.Fatal(err)
		}
		ip := l.Addr.Addr()
		last := ip.As4()[3]
		if !loopbacks.Contains(ip) || reserved.Contains(ip) || last == 0 || last == 255 || ip.As4()[1] == 255 || l.Addr.Port() != r.Port() {
			t.Fatalf("%s: %v", text, l)
		}
		if again, err := r.ParseListen("stable"); err != nil || again != l {
			t.Fatalf("%s: %v at first, %v later", text, l, again)
		}
		if back, err := r.ParseListen(l.String()); err != nil || back != l {
			t.Fatalf("%s: %v does not come back as itself: %v, %v", text, l, back, err)
		}
	})
}

func TestRouteThatLeadsToItsOwnListenAddressIsRefused(t *testing.T) {
	c := mustLoad(t)
	for _, tc := range []struct {
		route, listen string
		loop          bool
	}{
		{"relay://127.0.0.1:3389", "3389", true},
		{"relay://localhost:3389", "127.0.0.1:3389", true},
		{"relay://0.0.0.0:3389", "3389", true},
		{"relay://127.0.0.2:3389", "0.0.0.0:3389", true},
		{"relay://192.0.2.7:3389", "192.0.2.7:3389", true},
		{"relay://[::1]:3389", "[::1]:3389", true},
		{"relay://127.0.0.1:3389", "[::]:3389", true},
		{"relay://[::]:3389", "[::1]:3389", true},
		{"relay://127.0.0.1:3389", "3390", false},
		{"relay://127.0.0.1:3389", "127.0.0.2:3389", false},
		{"relay://127.0.0.1:3389", "stable", false},
		{"relay://127.0.0.1:3389", "", false},
		{"relay://192.0.2.7:3389", "0.0.0.0:3389", false},
		{"relay://[::]:3389", "3389", false}, // that is [::1]
		{"relay://desk:3389", "3389", false},
		{"ssh://gateway/127.0.0.1:3389", "3389", false}, // that is the gateway's own
	} {
		_, err := mustRoute(t, c, tc.route).ParseListen(tc.listen)
		var bad *ListenError
		if errors.As(err, &bad) != tc.loop {
			t.Errorf("%s on %q: %v, want refused: %v", tc.route, tc.listen, err, tc.loop)
		}
	}
}
