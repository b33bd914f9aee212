//go:build e2e

package e2e

import (
	"testing"
)

// oldScript is the hook that people have used so far, from Pomerium's guide to RDP.
const oldScript = `#!/bin/sh
case "$1" in
start) pomerium-cli tcp "$2" --listen "$3" & ;;
stop) kill $(pgrep -f "pomerium-cli tcp $2 --listen $3") ;;
esac
`

// slowToListen makes a tunnel program listen only seconds after its start, and so for
// sure after Remmina has connected where nobody waits for it.
const slowToListen = "TUNNELTEST_DELAY=5s"

// Here the tunnel program is slow to listen. Where it listens at once, Remmina 1.4.29
// does connect, and then waits for the sign-in: for 100 seconds at least.
// TestFirstTryShowsTheDesktopThroughSignIn is the counterpart.
func TestOldScriptFailsFirstTry(t *testing.T) {
	t.Parallel()
	needHooks(t)
	server := startRDPServer(t)
	d := newDesktop(t)
	d.extraEnv = append(d.extraEnv, slowToListen)
	p := d.startPomerium(server.address)
	script, listen := d.path("hook"), freeAddress(t)
	d.write(script, oldScript)
	gaveUp := d.path("after-command-ran")

	client := d.connect(profile{
		name:          "old script",
		server:        listen,
		beforeCommand: script + " start " + deskRoute + " " + listen,
		afterCommand:  "touch " + gaveUp,
	})
	eventually(t, patience, "Remmina gives up", func() bool { return exists(gaveUp) })
	if d.shows(crimson) {
		t.Error("the picture was there at the first try")
	}
	if tabs := p.tabs(); len(tabs) != 0 {
		t.Errorf("somebody connected: %q", tabs)
	}
	client.window()
	d.screenshot("gave-up")
}
