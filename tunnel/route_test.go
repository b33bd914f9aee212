package tunnel

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRouteIsTakenApart(t *testing.T) {
	c := mustLoad(t)
	for text, want := range map[string]struct {
		provider, host string
		port           uint16
		parts          map[string]string
	}{
		"desk.corp.example.com:3389":       {"pomerium", "desk.corp.example.com", 3389, nil},
		"[2001:db8::1]:3389":               {"pomerium", "2001:db8::1", 3389, nil},
		"desk:1":                           {"pomerium", "desk", 1, nil},
		"desk:65535":                       {"pomerium", "desk", 65535, nil},
		"tcp+https://proxy/desk:3389":      {"pomerium", "desk", 3389, map[string]string{"gateway": "proxy"}},
		"tcp+https://proxy:8443/desk:3389": {"pomerium", "desk", 3389, map[string]string{"gateway": "proxy", "gateway_port": "8443"}},
		"tcp+http://[::1]:80/desk:3389":    {"pomerium", "desk", 3389, map[string]string{"gateway": "[::1]", "gateway_port": "80"}},
		"ssh://me@gate:22/desk:3389":       {"ssh", "desk", 3389, map[string]string{"user": "me", "gateway": "gate", "gateway_port": "22"}},
		"ssh://gate/[::1]:3389":            {"ssh", "::1", 3389, map[string]string{"gateway": "gate"}},
		"ssh://a%20b@gate/desk:3389":       {"ssh", "desk", 3389, map[string]string{"user": "a b", "gateway": "gate"}},
		"relay://desk:3389":                {"relay", "desk", 3389, nil},
		"cloudflared://rdp.example.com":    {"cloudflared", "rdp.example.com", 0, nil},
		"boundary://ttcp_1234567890:3389":  {"boundary", "ttcp_1234567890", 3389, nil},
		"kubectl://ctx@ns/svc/desk:3389":   {"kubectl", "desk", 3389, map[string]string{"context": "ctx", "namespace": "ns", "kind": "svc"}},
		"gcloud-iap://p/europe/desk:3389":  {"gcloud-iap", "desk", 3389, map[string]string{"project": "p", "zone": "europe"}},
		"gcloud-iap://europe/desk:3389":    {"gcloud-iap", "desk", 3389, map[string]string{"zone": "europe"}},
		"aws-ssm://i-01234/10.0.0.7:3389":  {"aws-ssm", "10.0.0.7", 3389, map[string]string{"target": "i-01234"}},
		"relay://xn--mnchen-3ya.de:3389":   {"relay", "xn--mnchen-3ya.de", 3389, nil},
		"relay://münchen.example.com:3389": {"relay", "münchen.example.com", 3389, nil},
	} {
		r, err := c.Route(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		parts := maps.Clone(r.parts)
		maps.DeleteFunc(parts, func(name, _ string) bool { return name == "host" || name == "port" })
		if r.Given != text || r.Text != text || r.Provider.Name() != want.provider || r.Host() != want.host || r.Port() != want.port || !maps.Equal(parts, want.parts) {
			t.Errorf("%s: %s, host %q, port %d, %v; want %+v", text, r.Provider.Name(), r.Host(), r.Port(), parts, want)
		}
	}
}

func TestBadRouteIsRefusedInOneLine(t *testing.T) {
	c := mustLoad(t, "[tunnel.desk]\nroute = \"desk:3389\"\n[tunnel.loop]\nroute = \"desk\"\n[tunnel.bad]\nroute = \"desk: 1\"\n")
	for text, want := range map[string]string{
		"":                                   "is empty",
		"-x":                                 "begins with '-'",
		"--listen=1:2":                       "begins with '-'",
		"-oProxyCommand=x:22":                "begins with '-'",
		"desk\n:3389":                        `'\n'`,
		"desk:3389\n":                        `'\n'`,
		"desk\x00:3389":                      `'\x00'`,
		"desk\x1b[31m:3389":                  `'\x1b'`,
		"\xff\xfe:3389":                      "UTF-8",
		"desk\u202e:3389":                    `\u202e`,
		"../../etc/passwd":                   `".."`,
		"relay://../x:1":                     `".."`,
		"desk :3389":                         "' '",
		" desk:3389":                         "' '",
		"\t":                                 `'\t'`,
		"$(reboot):3389":                     "'$'",
		"`reboot`:3389":                      "'`'",
		"desk;reboot:3389":                   "';'",
		"desk|x:3389":                        "'|'",
		"desk&:3389":                         "'&'",
		"desk>x:3389":                        "'>'",
		"desk*:3389":                         "'*'",
		"desk?:3389":                         "'?'",
		"desk#:3389":                         "'#'",
		`desk\:3389`:                         `'\\'`,
		`desk":3389`:                         `'"'`,
		"desk':3389":                         `'\''`,
		"{listen}:3389":                      "'{'",
		strings.Repeat("a", 10_000):          "longer than",
		strings.Repeat("ü", 600):             "longer than",
		"nosuch":                             "desk", // the known names are listed
		"gopher://desk:3389":                 `unknown scheme "gopher"`,
		"SSH://gate/desk:3389":               `unknown scheme "SSH"`,
		"://desk:3389":                       "form",
		"desk:0":                             "ports go from 1 to 65535",
		"desk:65536":                         "ports go from 1 to 65535",
		"desk:99999999999999999999":          "ports go from 1 to 65535",
		"ssh://gate:0/desk:3389":             "ports go from 1 to 65535",
		"ssh://gate:65536/desk:3389":         "ports go from 1 to 65535",
		"tcp+https://gate:0/desk:3389":       "ports go from 1 to 65535",
		"tcp+https://gate:/desk:3389":        "form tcp+https://",
		"tcp+https://gate:-p/desk:3389":      "form tcp+https://",
		"desk:":                              "form HOST:PORT",
		":3389":                              "form HOST:PORT",
		"desk:abc":                           "form HOST:PORT",
		"desk:-1":                            "form HOST:PORT",
		"desk:+1":                            "form HOST:PORT",
		"desk:3389:3389":                     "form HOST:PORT",
		"desk/x:3389":                        "form HOST:PORT",
		"2001:db8::1:3389":                   "form HOST:PORT",
		"[2001:db8::1:3389":                  "form HOST:PORT",
		"[desk]:3389":                        "form HOST:PORT",
		"me@desk:3389":                       "form HOST:PORT",
		"ssh://-oProxyCommand=x/h:1":         "form ssh://",
		"ssh://-oProxyCommand=x@gate/h:1":    "form ssh://",
		"ssh://me@-oProxyCommand=x/h:1":      "form ssh://",
		"ssh://gate/-h:1":                    "form ssh://",
		"ssh://gate:-p/h:1":                  "form ssh://",
		"ssh://gate":                         "form ssh://",
		"ssh://gate/":                        "form ssh://",
		"ssh://gate/desk":                    "form ssh://",
		"ssh://@gate/desk:1":                 "form ssh://",
		"ssh://me:secret@gate/desk:3389":     "no password",
		"ssh://me:secret@gate:22/desk:3389":  "no password",
		"kubectl://-x/pod/desk:3389":         "form kubectl://",
		"kubectl://ns/--kubeconfig=x/desk:1": "form kubectl://",
		"gcloud-iap://z/--impersonate=x:1":   "form gcloud-iap://",
		"boundary://-x":                      "form boundary://",
		"tsh://-x/h:1":                       "form tsh://",
		"cloudflared://--logfile=x":          "form cloudflared://",
		"aws-ssm://--x/h:1":                  "form aws-ssm://",
		"loop":                               "[tunnel.loop]",
		"bad":                                "[tunnel.bad]",
	} {
		_, err := c.Route(text)
		var bad *RouteError
		if !errors.As(err, &bad) {
			t.Errorf("%.60q: error %v, want a RouteError", text, err)
			continue
		}
		message := err.Error()
		if !strings.Contains(message, want) || strings.ContainsAny(message, "\n\x00\x1b\u202e") || len(message) > 700 {
			t.Errorf("%.60q: %q, want one line with %q", text, message, want)
		}
		if strings.Contains(message, "secret") {
			t.Errorf("%.60q: the message tells the password: %q", text, message)
		}
	}
}

func TestPasswordIsHiddenAndNothingElse(t *testing.T) {
	for text, want := range map[string]string{
		"ssh://me:secret@gate/desk:3389":                         "ssh://me:…@gate/desk:3389",
		`route "ssh://me:se/c@ret@gate:22/desk:1" is no route`:   `route "ssh://me:…@gate:22/desk:1" is no route`,
		"too many from \"relay://:secret@x\" on: see --help":     "too many from \"relay://:…@x\" on: see --help",
		"tcp+https://gate:8443/desk:3389 taken":                  "tcp+https://gate:8443/desk:3389 taken",
		"ssh://me@gate:22/desk:3389":                             "ssh://me@gate:22/desk:3389",
		"sign in at https://idp:8443/login?hint=a:b@c first":     "sign in at https://idp:8443/login?hint=a:b@c first",
		"proxy http://me:secret@proxy:3128 and https://me:x@y/z": "proxy http://me:…@proxy:3128 and https://me:…@y/z",
		"127.0.0.1:3389 is taken by me@desk":                     "127.0.0.1:3389 is taken by me@desk",
		"://":                                                    "://",
		"":                                                       "",
	} {
		if got := WithoutPasswords(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestUnknownNameSaysWhereToWriteIt(t *testing.T) {
	c, paths, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Route("desk"); err == nil || !strings.Contains(err.Error(), paths[1]) {
		t.Errorf("error %v, want one that names %s", err, paths[1])
	}
}

func TestNamedRouteIsTheRouteItself(t *testing.T) {
	c := mustLoad(t, "[tunnel.desk]\nroute = \"ssh://gate/desk:3389\"\nlisten = \"stable\"\nready = \"listen\"\n")
	named, err := c.Route("desk")
	if err != nil {
		t.Fatal(err)
	}
	written, err := c.Route("ssh://gate/desk:3389")
	if err != nil {
		t.Fatal(err)
	}
	if named.Given != "desk" || named.Text != written.Text || named.Provider != written.Provider || named.Named.Listen != "stable" {
		t.Errorf("%+v", named)
	}
	listen := netip.MustParseAddrPort("127.0.0.1:1")
	if a, b := named.Argv(listen, "", nil), written.Argv(listen, "", nil); !slices.Equal(a, b) {
		t.Errorf("%q, written out %q", a, b)
	}
}

// TestNoRouteBecomesAnOption: whatever passes as a route, none of its parts is taken for an option by the tunnel program.
func TestNoRouteBecomesAnOption(t *testing.T) {
	c := mustLoad(t)
	listen := netip.MustParseAddrPort("127.0.0.1:13389")
	form := rapid.SampledFrom(argvRoutes)
	rapid.Check(t, func(t *rapid.T) {
		text := form.Draw(t, "route")
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			i := rapid.IntRange(0, len(text)).Draw(t, "place")
			text = text[:i] + rapid.SampledFrom([]string{"-", "--o=x", "-oProxyCommand=x", "@", "/", ":", "[", "]", " ", "\n", "'", `"`, ",", "ä", "%2F", "%2f", "%20", "%2D", "%40", "%22", "%0A", "%5B", "%", "%2E."}).Draw(t, "text") + text[i:]
		}
		r, err := c.Route(text)
		var bad *RouteError
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%q: %v is no RouteError", text, err)
			}
			return
		}
		for _, value := range r.parts {
			meant := strings.Contains(text, "%") || strings.Contains(strings.Join(r.Provider.Routes, ""), "*")
			if strings.HasPrefix(value, "-") || strings.Contains(value, "..") || strings.ContainsAny(value, "\n'\"") || !meant && strings.ContainsAny(value, " /") {
				t.Fatalf("%q: part %q", text, value)
			}
		}
		if again, err := c.Route(r.Text); err != nil || again.Text != r.Text || !maps.Equal(again.parts, r.parts) {
			t.Fatalf("%q is known as %q, which means %q, %v", text, r.Text, again.parts, err)
		}
		for _, word := range r.Argv(listen, "/t", nil) {
			if strings.HasPrefix(word, "-") && !slices.ContainsFunc(r.Provider.options(), func(o string) bool { return strings.HasPrefix(word, o) }) {
				t.Fatalf("%q: %q is an option that the command does not have", text, word)
			}
		}
	})
}

// options are the options that a provider's command has, up to what is filled in.
func (p *Provider) options() []string {
	var options []string
	for _, element := range p.command() {
		words, _ := group("command", element)
		for _, word := range words {
			if option, _, _ := strings.Cut(word, "{"); strings.HasPrefix(option, "-") {
				options = append(options, option)
			}
		}
	}
	return options
}
