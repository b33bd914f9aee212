//go:build e2e

package e2e

import (
	"testing"
	"time"
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
	d.waitForPicture(crimson, 20*time.Second)
	d.screenshot("picture")
	client.closeWindow()
	eventually(t, 10*time.Second, "nothing listens any more", func() bool { return !listens(t, listen) })
	eventually(t, 10*time.Second, "no process of tunhook's is left", func() bool {
		return len(d.running(tunhook)) == 0
	})
}
