//go:build e2e

package e2e

import (
	"testing"
	"time"
)

func TestSigningInAtTheBrowserLetsTheWaitingClientThrough(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	d := newDesktop(t)
	p := d.startPomerium(server.address)
	listen := freeAddress(t)
	const thinking = 2 * time.Second
	p.signInAfter(thinking)

	d.start(d.binDir+"/pomerium-cli", "tcp", deskRoute, "--listen", listen)
	// Not by connecting: that would open a tab.
	eventually(t, patience, "pomerium-cli listens", func() bool { return listens(t, listen) })
	got := d.run(xfreerdp(listen, rdpPassword, authOnly)...)
	if got.status != 0 || got.took < thinking {
		t.Errorf("xfreerdp: %v", got)
	}
	if tabs := p.tabs(); len(tabs) != 1 {
		t.Errorf("tabs: %q, want one", tabs)
	}
}
