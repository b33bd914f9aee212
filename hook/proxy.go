package hook

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/tunhook/tunhook/tunnel"
)

// withoutProxy sees to it that a client which obeys the variables of a web proxy comes to the listen address directly: FreeRDP's would
// ask the proxy for it, which knows nothing of this machine's own addresses. What the person has set stays in force: a program reads
// the one spelling or the other, so that a variable which is not there begins as the other one.
func withoutProxy(environ []string, host netip.Addr) []string {
	if !slices.ContainsFunc(environ, namesProxy) {
		return environ
	}
	names := []string{host.String()}
	if host.Is6() {
		names = append(names, "["+names[0]+"]")
	}
	environ = slices.Clone(environ)
	lower, upper := tunnel.Getenv(environ, "no_proxy"), tunnel.Getenv(environ, "NO_PROXY")
	return append(environ, "no_proxy="+addTo(lower, upper, names), "NO_PROXY="+addTo(upper, lower, names))
}

// namesProxy tells whether a variable names a proxy: https_proxy, HTTP_PROXY, all_proxy and the like.
func namesProxy(variable string) bool {
	name, value, _ := strings.Cut(variable, "=")
	name = strings.ToLower(name)
	return value != "" && strings.HasSuffix(name, "_proxy") && name != "no_proxy"
}

// addTo adds names to a list with commas, or to another one where that is empty.
func addTo(list, other string, names []string) string {
	if list == "" {
		list = other
	}
	separator := func(r rune) bool { return r == ',' || r == ' ' }
	there := strings.FieldsFunc(list, separator)
	if slices.Contains(there, "*") { // alone it means everything, and beside others nothing
		return list
	}
	for _, name := range names {
		if !slices.Contains(there, name) {
			there = append(there, name)
		}
	}
	return strings.Join(there, ",")
}
