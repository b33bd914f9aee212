package tunnel

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// What comes from outside, and is taken apart here: routes, addresses, configurations, logs, and what servers answer.

// isLine tells whether a message is one line that a terminal shows as it is.
func isLine(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func FuzzRoute(f *testing.F) {
	for _, seed := range []string{
		"desk:3389", "ssh://me@gate:22/desk:3389", "relay://[::1]:3389", "cloudflared://desk", "kubectl://ctx/ns/pod/p:1", "tcp+https://gate:8443/desk:3389",
		"desk", "relay://127.0.0.1%25:1", "ssh://u:p@g/h:1", "a..b:1", "-x:1", "relay://\x1b[2J:1", "\xff:1", "relay://:0", "desk:65536", "aws-ssm://i-1/desk:3389",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := LoadConfig()
		r, err := c.Route(text)
		if err != nil {
			var bad *RouteError
			if !errors.As(err, &bad) || !isLine(err.Error()) {
				t.Fatalf("%q: error %q, want a RouteError of one line", text, err)
			}
			return
		}
		if strings.ContainsFunc(r.Text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", text, r.Text)
		}
		again, err := c.Route(r.Text) // all spellings of a route come to one
		if err != nil || again.Text != r.Text || again.Provider.Name() != r.Provider.Name() || !maps.Equal(again.parts, r.parts) {
			t.Fatalf("%q: again %v, %v", text, again, err)
		}
		for name, part := range r.parts {
			if part == "" || part[0] == '-' || strings.ContainsFunc(part, unicode.IsControl) {
				t.Fatalf("%q: %s is %q", text, name, part)
			}
		}
		listen := netip.MustParseAddrPort("127.0.0.1:3389")
		if argv := r.Argv(listen, "/bin/tunhook", nil); len(argv) == 0 || slices.Contains(argv[:1], "") || strings.ContainsFunc(argv[0], unicode.IsControl) {
			t.Fatalf("%q: %q", text, argv)
		}
		if secret := WithoutPassword(text); WithoutPassword(secret) != secret {
			t.Fatalf("%q: %q, and again %q", text, secret, WithoutPassword(secret))
		}
	})
}

func FuzzListen(f *testing.F) {
	for _, seed := range []string{
		"3389", ":3389", "127.0.0.1:3389", "[::1]:3389", "[::FFFF:127.0.0.1]:1", "[::1%lo]:1", "localhost:1", "0:1", "127.1:3389", ":0", "65536", "[::]:03389", "\x1b[2J:1", "", "[]:1",
		"[fe80::1%25eth0]:1", "1.2.3.4:+1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseAddress(text)
		if err != nil {
			var bad *ListenError
			if !errors.As(err, &bad) || !isLine(err.Error()) {
				t.Fatalf("%q: error %q, want a ListenError of one line", text, err)
			}
			return
		}
		if l.Auto() || l.Addr.Addr().Zone() != "" || l.Addr.Addr().Is4In6() {
			t.Fatalf("%q is %v", text, l.Addr)
		}
		if again, err := ParseAddress(l.String()); err != nil || again != l {
			t.Fatalf("%q is %v, which is %v, %v", text, l, again, err)
		}
		if socket, err := netip.ParseAddrPort(l.String()); err != nil || socket != l.Addr {
			t.Fatalf("%q is %v, and %v, %v to others", text, l, socket, err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"[tunnel.desk]\nroute = \"desk:3389\"\nlisten = \"stable\"\nargs = [\"-v\"]\nready = \"rdp\"\n",
		"[provider.x]\nroutes = [\"x://{host}:{port}\"]\ncommand = [\"x\", \"{listen}\", \"{args}\"]\nsignal = \"INT\"\nsign_in = '(https://\\S+)'\n",
		"[provider.ssh]\nargs = [\"-F\", \"none\"]\n", "[tunnel.\"a b\"]\nroute = \"a:1\"\n", "[tunnel.a]\nroute = \"b\"\n", "tunnel = 1\n", "[tunnel]\na = 1\n", "x = 1\n",
		"[provider.x]\nsign_in = \"(\"\n", "[tunnel.a]\nlisten = \"[::1%lo]:1\"\nroute = \"a:1\"\n", "\xff", "[provider.x]\nroutes = [\"x://[{host}\"]\ncommand = [\"x\"]\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := LoadConfig()
		c.add("config.toml", text)
		for _, bad := range c.Faults() {
			if bad.Line < 0 || bad.Line > strings.Count(text, "\n")+1 || bad.Path != "config.toml" {
				t.Fatalf("%q: error %v, want a ConfigError with a line of the file", text, bad)
			}
			if name, ok := strings.CutPrefix(bad.Table, "tunnel."); ok {
				if _, err := c.Route(name); err == nil {
					t.Fatalf("%q: %v, and %s can be used", text, bad, name)
				}
			}
		}
		names := c.Names()
		for _, name := range names {
			if err := checkName(name); err != nil {
				t.Fatalf("%q has the name %q: %v", text, name, err)
			}
			r, err := c.Route(name)
			var bad *RouteError
			var faulty *ConfigError
			if err != nil && !errors.As(err, &bad) && !errors.As(err, &faulty) || err == nil && (r.Given != name || r.Provider == nil) {
				t.Fatalf("%q: %s is %v, %v", text, name, r, err)
			}
		}
		if c.add("config.toml", text); !slices.Equal(c.Names(), names) {
			t.Fatalf("%q: the second time it has %q, not %q: %v", text, c.Names(), names, c.Faults())
		}
	})
}

// FuzzLogLine reads a log in two pieces, as it comes in, and its last lines.
func FuzzLogLine(f *testing.F) {
	for _, seed := range []string{
		`{"level":"info","auth-url":"https://sign.in/?a=1\u0026b","message":"auth required"}` + "\n", `{"level":"error","error":"access denied: 403"}` + "\n",
		"Your browser has been opened to visit:\nhttps://x/\x1b[2J\n", "https://a \xff\n\r\n", "\x1b]0;t\a\u202e\n", strings.Repeat("x", 2000) + "\n",
		`"auth-url":"https://`, "Error: tunnel: connection refused\nauth-url=https://a/b c\n",
	} {
		f.Add(seed, uint16(7))
	}
	c := LoadConfig()
	var providers []*Provider
	for _, name := range c.providerNames() {
		p, err := c.provider(name)
		if err != nil {
			f.Fatal(err)
		}
		providers = append(providers, p)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string, cut uint16) {
		log, err := os.CreateTemp(dir, "log")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(log.Name())
		defer log.Close()
		at := int(cut) % (len(text) + 1)
		for _, p := range providers {
			whole, parts := p.newWatch(log), p.newWatch(log)
			seen := whole.read([]byte(text))
			first := parts.read([]byte(text[:at]))
			if both := first.Then(parts.read([]byte(text[at:]))); both != seen {
				t.Fatalf("%s: in one piece %+v; cut at %d %+v", p.Name(), seen, at, both)
			}
			if strings.ContainsFunc(seen.SignIn, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Fatalf("%s: the URL is %q", p.Name(), seen.SignIn)
			}
			if seen.Why.Line != "" && !isLine(seen.Why.Line) {
				t.Fatalf("%s: %q", p.Name(), seen.Why.Line)
			}
		}
		if _, err := log.WriteString(text); err != nil {
			t.Fatal(err)
		}
		for _, line := range slices.Concat(LastLines(log, 0, 3), TellingLines(log, 0, 3)) {
			if !isLine(line) || len([]rune(line)) > 501 {
				t.Fatalf("%q ends in %q", text, line)
			}
		}
		if plain := Plain(text); plain != "" && !isLine(plain) || Plain(plain) != plain {
			t.Fatalf("%q: %q, and again %q", text, plain, Plain(plain))
		}
	})
}

// server is a connection to one that answers whatever it is sent with the same.
type server struct {
	net.Conn
	answer io.Reader
}

func (s server) Read(b []byte) (int, error)    { return s.answer.Read(b) }
func (server) Write(b []byte) (int, error)     { return len(b), nil }
func (server) SetReadDeadline(time.Time) error { return nil }

// FuzzAnswer reads what servers answer to a probe, X.224 above all.
func FuzzAnswer(f *testing.F) {
	for _, ready := range ReadyKinds()[1:] {
		for _, answer := range []string{
			"\x03\x00\x00\x13\x0e\xd0\x00\x00\x124\x00\x02\x00\x08\x00\x00\x00\x00\x00", "\x03\x00\x00\x0b\x06\xd0\x00\x00\x00\x00\x00", "\x03\x00\x00\x13\x0e\xe0", "\x03",
			"RFB 003.008\n", "SSH-2.0-x\r\n", "hello\nSSH-2.0-x\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "", "\x1b[2J\n",
		} {
			f.Add(ready, []byte(answer))
		}
	}
	f.Fuzz(func(t *testing.T, ready string, answer []byte) {
		p, _ := probeOf(ready)
		if p.exchange == nil {
			return // nothing is asked
		}
		err := p.exchange(server{answer: bytes.NewReader(answer)})
		var other *ProtocolError
		var spoken bool
		switch ready {
		case ReadyRDP: // TPKT version 3, a Connection Confirm
			spoken = len(answer) >= 6 && answer[0] == 3 && answer[5]>>4 == 0xd
		case ReadyVNC:
			spoken = bytes.HasPrefix(answer, []byte("RFB "))
		case ReadySSH:
			const most = 16 << 10
			spoken = bytes.Contains(append([]byte("\n"), answer[:min(most, len(answer))]...), []byte("\nSSH-"))
		default:
			t.Fatalf("nothing tells what a server of %s says", ready)
		}
		switch {
		case spoken != (err == nil):
			t.Fatalf("%s: %q: %v", ready, answer, err)
		case len(answer) == 0 && !errors.Is(err, ErrClosed):
			t.Fatalf("%s: nothing was answered: %v", ready, err)
		case err != nil && len(answer) > 0 && (!errors.As(err, &other) || !isLine(err.Error()) || !bytes.HasPrefix(answer, other.Got)):
			t.Fatalf("%s: %q: error %q, want a ProtocolError of one line", ready, answer, err)
		}
	})
}

// FuzzForm compiles the forms of routes that a configuration may have.
func FuzzForm(f *testing.F) {
	f.Add("ssh://[{user}@]{gateway}[:{gateway_port}]/{host}:{port}", "ssh://me@gate/desk:1")
	f.Add("{host}:{port}", "[::1]:1")
	f.Add("x://[[{a}]", "x://a")
	f.Add("x://{a}{a}", "x://a")
	f.Add("]{", "")
	f.Fuzz(func(t *testing.T, text, route string) {
		form := newForm(text)
		if _, err := form.compile(strict); err != nil {
			if !strings.Contains(err.Error(), "route form ") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		parts, ok := form.parts(route)
		for name, part := range parts {
			if !ok || part == "" || part[0] == '-' || !strings.Contains(route, part) {
				t.Fatalf("%q in %q: %s is %q", route, text, name, part)
			}
		}
	})
}
