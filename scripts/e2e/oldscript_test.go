//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
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

// Taken over, such a profile shows the desktop at the first try, also where Remmina runs no commands, and disable gives the script back.
func TestProfileOfTheOldScriptIsTakenOver(t *testing.T) {
	t.Parallel()
	const thinking = 2 * time.Second
	o := newConnectionOffice(t, thinking)
	script, listen := o.path("hook"), freeAddress(t)
	o.write(script, oldScript)
	arguments := " " + o.gateway.ownDesk + " " + listen
	desk := profile{name: "desk", server: listen, beforeCommand: script + " start" + arguments, afterCommand: script + " stop" + arguments}
	file := o.save(o.nativeRemmina(), desk)
	p := enabledProfile{file: file, original: o.read(file)}

	if shown := o.run(o.program, "remmina", "enable", "--all", "--dry-run"); !strings.Contains(shown.stdout+shown.stderr, o.gateway.ownDesk) {
		t.Errorf("what would change does not name the route: %+v", shown)
	}
	if o.read(file) != p.original {
		t.Error("to show what would change has changed it")
	}
	o.must(o.program, "remmina", "enable", "--all")
	p.text = o.read(file)
	p.listen = settings(p.text)["server"]
	if now := settings(p.text); now["precommand"] != "" || now["postcommand"] != "" || p.listen == listen {
		t.Errorf("the script is called yet, or connected to:\n%s", p.text)
	}

	client := o.open(file, desk)
	o.waitForPicture(crimson, thinking+patience)
	o.screenshot("picture")
	client.quit()
	client.wait(patience)
	o.waitUntilAtRest(p.listen)
	o.checkDisabled(p)
}
