package hook

import (
	"net/netip"
	"testing"

	"github.com/tunhook/tunhook/tunnel"
)

func TestAClientComesToTheTunnelPastTheProxy(t *testing.T) {
	t.Parallel()
	const proxy = "https_proxy=http://proxy.example.com:3128"
	for _, tc := range []struct {
		environ      []string
		host         string
		lower, upper string
	}{
		{[]string{"HOME=/"}, "127.1.2.3", "", ""},
		{[]string{"no_proxy=a"}, "127.1.2.3", "a", ""}, // there is no proxy to keep it from
		{[]string{"https_proxy=", "NO_PROXY=b"}, "127.1.2.3", "", "b"},
		{[]string{proxy}, "127.1.2.3", "127.1.2.3", "127.1.2.3"},
		{[]string{"HTTP_PROXY=p:1"}, "127.1.2.3", "127.1.2.3", "127.1.2.3"},
		{[]string{"all_proxy=socks5://p:1"}, "127.1.2.3", "127.1.2.3", "127.1.2.3"},
		{[]string{proxy, "no_proxy=localhost,127.0.0.1"}, "127.1.2.3", "localhost,127.0.0.1,127.1.2.3", "localhost,127.0.0.1,127.1.2.3"},
		{[]string{proxy, "NO_PROXY=.corp"}, "127.1.2.3", ".corp,127.1.2.3", ".corp,127.1.2.3"},
		{[]string{proxy, "no_proxy=a", "NO_PROXY=b"}, "127.1.2.3", "a,127.1.2.3", "b,127.1.2.3"},
		{[]string{proxy, "no_proxy=a, 127.1.2.3,"}, "127.1.2.3", "a,127.1.2.3", "a,127.1.2.3"},
		{[]string{proxy, "no_proxy=*"}, "127.1.2.3", "*", "*"},
		{[]string{proxy}, "::1", "::1,[::1]", "::1,[::1]"},
	} {
		got := withoutProxy(tc.environ, netip.MustParseAddr(tc.host))
		if lower, upper := tunnel.Getenv(got, "no_proxy"), tunnel.Getenv(got, "NO_PROXY"); lower != tc.lower || upper != tc.upper {
			t.Errorf("%q: no_proxy=%q NO_PROXY=%q, want %q and %q", tc.environ, lower, upper, tc.lower, tc.upper)
		}
	}
}
