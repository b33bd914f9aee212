//go:build e2e

package e2e

import (
	"testing"
)

func TestDesktopShowsPictureDirectly(t *testing.T) {
	t.Parallel()
	needHooks(t)
	server := startRDPServer(t)
	d := newDesktop(t)
	ran := d.path("after-command-ran")

	client := d.connect(profile{
		name:         "straight",
		server:       server.address,
		afterCommand: "touch " + ran,
	})
	d.waitForPicture(crimson, patience)
	d.screenshot("picture")

	server.show(teal)
	d.waitForPicture(teal, patience)

	client.closeWindow()
	eventually(t, patience, "the after-command ran", func() bool { return exists(ran) })
	if status := client.wait(patience); status != 0 {
		t.Errorf("Remmina exits with status %d", status)
	}
}

func TestRemminaConnectsAtOnceWhenItsUserCancelsTheBeforeCommand(t *testing.T) {
	t.Parallel()
	needHooks(t)
	server := startRDPServer(t)
	d := newDesktop(t)
	hook := d.path("slow-hook")
	d.write(hook, "#!/bin/sh\nexec sleep 120\n")

	client := d.connect(profile{name: "patience", server: server.address, beforeCommand: hook})
	eventually(t, patience, "the before-command runs", func() bool {
		return len(d.running("sleep 120")) == 1
	})
	d.screenshot("waiting")
	client.cancel()
	d.waitForPicture(crimson, patience)
	if len(d.running("sleep 120")) != 1 {
		t.Error("Remmina ended its before-command")
	}
}

func TestRemminaQuitRunsNoAfterCommand(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	d := newDesktop(t)
	ran := d.path("after-command-ran")

	client := d.connect(profile{name: "leaving", server: server.address, afterCommand: "touch " + ran})
	d.waitForPicture(crimson, patience)
	client.quit()
	if exists(ran) {
		t.Error("Remmina ran the after-command: hooks alone would do")
	}
}

func TestRemminaShowsTwoProfilesInTwoWindows(t *testing.T) {
	t.Parallel()
	left, right := startRDPServer(t), startRDPServer(t)
	right.show(teal)
	d := newDesktop(t)

	first := d.connect(profile{name: "left", server: left.address})
	d.waitForPicture(crimson, patience)
	second := d.connect(profile{name: "right", server: right.address})
	second.moveWindow(640, 0)
	d.waitForPicture(teal, patience)
	if !d.shows(crimson) {
		t.Error("the second window took the first one's picture away")
	}
	d.screenshot("both")

	first.closeWindow()
	eventually(t, patience, "the first window is gone", func() bool {
		return len(d.windows("^left$")) == 0
	})
	if !d.shows(teal) {
		t.Error("closing the first window closed the second")
	}
	d.screenshot("second")
}
