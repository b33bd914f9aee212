package autostart

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzEntry reads units and desktop entries: what is taken for one of ours is written back as it was read.
func FuzzEntry(f *testing.F) {
	e := Entry{Route: "desk:3389", Address: netip.MustParseAddrPort("127.0.0.1:3389"), Program: "/usr/bin/tunhook", For: "/home/me/\xffä.remmina"}
	for _, text := range []string{e.socketUnit(), e.serviceUnit(), e.desktopEntry(), marker, marker + e.keys(), marker + routeKey + "a:1\n" + addressKey + "[::1%lo]:1\n", "", "[Unit]\n"} {
		f.Add(text, e.Socket())
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		e, ok := parse(BySystemd, "/units/"+strings.ReplaceAll(name, "/", ""), []byte(text))
		if !ok {
			return
		}
		if e.Name() == "" || !e.Address.IsValid() {
			t.Fatalf("%q is %+v", text, e)
		}
		if strings.ContainsAny(e.Route, "\n") {
			t.Fatalf("a route of more than a line: %q", e.Route)
		}
		for by, written := range map[By]string{BySystemd: e.socketUnit(), ByDesktop: e.desktopEntry()} {
			again, ok := parse(by, e.Socket(), []byte(written))
			again.By = e.By
			if !ok || again.Key() != e.Key() || again.Program != e.Program || again.For != e.For {
				t.Fatalf("%+v became %+v, %v", e, again, ok)
			}
		}
	})
}
