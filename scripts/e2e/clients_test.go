//go:build e2e

package e2e

import "testing"

func TestEveryClientShowsPictureDirectly(t *testing.T) {
	t.Parallel()
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needClient(t, c)
			address := startServer(t, c.ready)
			d := newDesktop(t)
			if opened := c.connect(d, address, 0); !opened.alive() {
				t.Errorf("%s did not stay", c.name)
			}
		})
	}
}

// startServer starts a server for a desktop in crimson, and returns its address.
func startServer(t testing.TB, ready string) string {
	t.Helper()
	switch ready {
	case "rdp":
		return startRDPServer(t).address
	case "vnc":
		return startVNCServer(t).address
	}
	t.Fatalf("no server speaks %s", ready)
	return ""
}
