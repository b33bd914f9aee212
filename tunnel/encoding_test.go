package tunnel

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const arn = "arn:aws:eks:eu-west-1:123456789012:cluster/prod"

// TestPartsOfARouteAreDecoded: several ways to write a route are one route, and its parts mean what was encoded.
func TestPartsOfARouteAreDecoded(t *testing.T) {
	c := mustLoad(t, `
[provider.own]
routes = ["own://{place}/{host}:{port}"]
command = ["own", "{place}", "--zone={place}", "wss://{host}/{place}", "{listen}"]
`)
	const encodedARN = "arn%3Aaws%3Aeks%3Aeu-west-1%3A123456789012%3Acluster%2Fprod"
	for _, tc := range []struct {
		routes []string // the first one is the one that it is known by
		name   string
		value  string
	}{
		{[]string{"kubectl://kubernetes-admin%40kubernetes@ns/pod/desk:1", "kubectl://kubernetes-admin@kubernetes@ns/pod/desk:1"}, "context", "kubernetes-admin@kubernetes"},
		{[]string{"kubectl://" + encodedARN + "@ns/pod/desk:1", "kubectl://" + arn + "@ns/pod/desk:1", "kubectl://" + strings.ToLower(encodedARN) + "@ns/pod/desk:1"}, "context", arn},
		{[]string{"kubectl://default%2Fapi-lab%3A6443%2Fadmin@ns/pod/desk:1", "kubectl://default/api-lab:6443/admin@ns/pod/desk:1"}, "context", "default/api-lab:6443/admin"},
		{[]string{"kubectl://prod@ns/pod/desk:1", "kubectl://%70rod@ns/pod/desk:1"}, "context", "prod"},
		{[]string{"aws-ssm://ecs%3Aa_b/desk:1", "aws-ssm://ecs:a_b/desk:1"}, "target", "ecs:a_b"},
		{[]string{"gcloud-iap://example.com%3Ap/zone/desk:1", "gcloud-iap://example.com:p/zone/desk:1"}, "project", "example.com:p"},
		{[]string{"azure-bastion://g/b/%2Fsubscriptions%2Fx:1", "azure-bastion://g/b//subscriptions/x:1"}, "target_id", "/subscriptions/x"},
		{[]string{"own://a%20b%3F%23%25%2Fc/desk:1", "own://a%20b%3f%23%25%2fc/desk:1"}, "place", "a b?#%/c"},
		{[]string{"ssh://corp%40me@gate/desk:1"}, "user", "corp@me"},
		{[]string{"desk-1:3389", "desk%2D1:3389"}, "host", "desk-1"},
	} {
		for _, route := range tc.routes {
			r, err := c.Route(route)
			if err != nil || r.Text != tc.routes[0] || r.Given != tc.routes[0] || r.parts[tc.name] != tc.value {
				t.Errorf("%s: %q, known as %q, %v; want %q, known as %q", route, r.parts[tc.name], r.Text, err, tc.value, tc.routes[0])
			}
			if got := r.values(netip.AddrPort{}, "")["route"]; got != route {
				t.Errorf("%s: {route} is %q, which is not as it was given", route, got)
			}
		}
	}
	r := mustRoute(t, c, "own://a%2Fb%20c/desk:1")
	want := []string{"own", "a/b c", "--zone=a/b c", "wss://desk/a%2Fb%20c", "127.0.0.1:1"}
	if got := r.Argv(netip.MustParseAddrPort("127.0.0.1:1"), "", nil); !slices.Equal(got, want) {
		t.Errorf("argv %q, want %q", got, want)
	}
}

func TestAllWaysToWriteARouteAreOneListenAddress(t *testing.T) {
	c := mustLoad(t)
	one, err := mustRoute(t, c, "kubectl://"+arn+"@ns/pod/desk:3389").ParseListen("stable")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := mustRoute(t, c, "kubectl://arn%3aaws:eks:eu-west-1:123456789012:cluster/prod@ns/pod/desk:3389").ParseListen("stable"); err != nil || other != one {
		t.Errorf("%v and %v, %v", one, other, err)
	}
}

func TestNamesOfARouteInAnotherWayOfWriting(t *testing.T) {
	c := mustLoad(t, "[tunnel.a]\nroute = \"kubectl://x@y@ns/pod/desk:1\"\n[tunnel.b]\nroute = \"kubectl://x%40y@ns/pod/desk:1\"\n[tunnel.c]\nroute = \"kubectl://x@ns/pod/desk:1\"\n")
	want := []string{"kubectl://x%40y@ns/pod/desk:1", "a", "b"}
	if got := c.Aliases(mustRoute(t, c, "kubectl://x@y@ns/pod/desk:1")); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWhatNoPartOfARouteMayMean(t *testing.T) {
	c := mustLoad(t, "[provider.x]\nroutes = [\"x://{a*}@{b*}@{host}:{port}\", \"x://{host}/{port}\"]\ncommand = [\"x\", \"{host}\"]\n"+
		"[provider.sh]\ncommand = [\"sh\", \"-c\", \"x {host}\"]\n[provider.step]\ncommand = [\"x\", \"{host}\"]\nbefore = [[\"sh\", \"-c\", \"wake {host}\"]]\n"+
		"[tunnel.wake]\nroute = \"x://a%20b/1\"\nafter = [[\"sh\", \"-c\", \"x {host}\"]]\n")
	for route, want := range map[string]string{
		"ssh://%2DoProxyCommand%3Dx/h:1":      "would be an option",
		"ssh://me@gate/%2d%2dx:1":             "would be an option",
		"kubectl://a%2F%2E%2E%2Fb@ns/pod/h:1": `".."`,
		"kubectl://a%2F.%2e/b@ns/pod/h:1":     `".."`,
		"desk%00:1":                           `'\x00'`,
		"desk%0a:1":                           `'\n'`,
		"desk%1B[31m:1":                       "form",
		"desk%1B:1":                           `'\x1b'`,
		"desk%22:1":                           `'"'`,
		"desk%24(x):1":                        "'('",
		"desk%24:1":                           "'$'",
		"desk%60:1":                           "'`'",
		"desk%5C:1":                           `'\\'`,
		"desk%7Blisten%7D:1":                  "'{'",
		"desk%E2%80%AE:1":                     `\u202e`,
		"desk%ff:1":                           "UTF-8",
		"desk%:1":                             "%25",
		"desk%4:1":                            "%25",
		"desk%zz:1":                           "%25",
		"desk%+1:1":                           "%25",
		"ssh://gate/a%3A22:1":                 "can hold no ':'",
		"kubectl://ns/pod%2Fx/desk:1":         "can hold no '/'",
		"kubectl://a%2Fb@ns/pod/desk/x:1":     "%2F",
		"desk?:1":                             "%3F",
		"desk #:1":                            "%20",
		"sh://desk%20-x:1":                    "can hold no ' '",
		"sh://%23desk:1":                      "can hold no '#'",
		"step://desk%20-x:1":                  "can hold no ' '",
		"wake":                                "can hold no ' '",
		"x://a@b@c@desk:1":                    "%40", // two ways to read it
	} {
		_, err := c.Route(route)
		var bad *RouteError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x00\x1b\u202e") {
			t.Errorf("%s: %v, want a RouteError of one line with %q", route, err, want)
		}
	}
	if r := mustRoute(t, c, "x://a@b/c@desk:1"); r.parts["b"] != "b/c" {
		t.Errorf("what can be read in one way only: %q", r.parts)
	}
}

func TestDefaultsOfOptionalParts(t *testing.T) {
	c := mustLoad(t, `
[provider.rdpgw]
routes = ["rdpgw://[{user}@]{host}[:{port}]"]
command = ["rdpgw", "{user}", "--port={port}", "{host}"]
defaults = { port = 3389, user = "corp/me" }
[provider.cloudflared]
defaults = { port = "5900" }
`)
	r := mustRoute(t, c, "rdpgw://desk")
	if want := map[string]string{"host": "desk", "port": "3389", "user": "corp/me"}; !maps.Equal(r.parts, want) || r.Port() != 3389 {
		t.Errorf("%v, want %v", r.parts, want)
	}
	if want := "rdpgw://corp%2Fme@desk:3389"; r.Text != want || mustRoute(t, c, want).Text != want {
		t.Errorf("it is known as %q, which is not the route with its defaults", r.Text)
	}
	if r := mustRoute(t, c, "rdpgw://you@desk:1"); r.parts["port"] != "1" || r.parts["user"] != "you" {
		t.Errorf("what is given: %v", r.parts)
	}
	if r := mustRoute(t, c, "cloudflared://rdp.example.com"); r.Port() != 5900 {
		t.Errorf("an embedded provider's: %v", r.parts)
	}
	if _, err := mustRoute(t, c, "cloudflared://rdp.example.com").ParseListen("stable"); err != nil {
		t.Error(err)
	}
}
