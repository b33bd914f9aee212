//go:build e2e

package e2e

import (
	"testing"
)

func TestRemminaHooksStartAndStopTheTunnel(t *testing.T) {
	t.Parallel()
	needHooks(t)
	server := startRDPServer(t)
	d := newDesktop(t)
	tunhook, listen := d.installTunhook(), freeAddress(t)
	tunnel := " relay://" + server.address + " " + listen

	client := d.connect(profile{
		name:          "relayed",
		server:        listen,
		beforeCommand: tunhook + " start" + tunnel,
		afterCommand:  tunhook + " stop" + tunnel,
	})
	d.waitForPicture(crimson, patience)
	d.screenshot("picture")
	client.closeWindow()
	eventually(t, patience, "nothing listens any more", func() bool { return !listens(t, listen) })
	eventually(t, patience, "no process of tunhook's is left", func() bool {
		return len(d.running(tunhook)) == 0
	})
}
