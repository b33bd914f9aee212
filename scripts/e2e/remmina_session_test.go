//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tunnel program is slow to listen, as in TestOldScriptFailsFirstTry.
func TestFirstTryShowsTheDesktopThroughSignIn(t *testing.T) {
	t.Parallel()
	needHooks(t)
	o := newGuardedOffice(t)
	o.extraEnv = append(o.extraEnv, slowToListen)
	const thinking = 20 * time.Second
	o.gateway.signInAfter(thinking)
	desk := o.desk()
	enabled := o.saveEnabled(desk)
	o.recordHooks()

	opened := time.Now()
	client := o.open(enabled.file, desk)
	eventually(t, patience, "a notification asks to sign in", func() bool { return o.shownNotifications() == 1 })
	o.screenshot("sign-in")
	o.waitForPicture(crimson, thinking+patience)
	took := time.Since(opened).Round(100 * time.Millisecond)
	t.Logf("the picture was there %v after Remmina was started, %v of them for signing in", took, thinking)
	o.screenshot("picture")
	if ran := o.ran(); took < thinking || !slices.Equal(ran, []string{"start"}) {
		t.Errorf("hooks: %q, want the one start, which waits for the sign-in", ran)
	}
	if tabs := o.gateway.tabs(); len(tabs) != 1 {
		t.Errorf("tabs: %q, want one", tabs)
	}
	if shown := o.shownNotifications(); shown != 0 {
		t.Errorf("%d notifications are still shown, want none", shown)
	}

	client.closeWindow()
	client.wait(patience)
	o.waitUntilNothingIsLeft(enabled.listen)
	o.screenshot("closed")
	if ran := o.ran(); !slices.Equal(ran, []string{"start", "stop"}) {
		t.Errorf("hooks: %q, want one start and one stop", ran)
	}
	if got := o.notifications(); len(got) != 1 || !strings.Contains(got[0].summary, "Sign in") || !strings.Contains(got[0].body, o.gateway.ownDesk) {
		t.Errorf("notifications: %+v, want only that to sign in", got)
	}
}

func TestTwoWindowsShareOneTunnel(t *testing.T) {
	t.Parallel()
	needHooks(t)
	for name, second := range map[string]string{"one profile twice": "first", "two profiles": "second"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newGuardedOffice(t)
			o.gateway.signInAfter(0)
			left, right := profile{name: "first", server: o.gateway.ownDesk}, profile{name: second, server: o.gateway.ownDesk}
			enabled := o.saveEnabled(left)
			rightFile := enabled.file
			if right.name != left.name {
				rightFile = o.saveEnabled(right).file
			}

			client := o.open(enabled.file, left)
			o.waitForPicture(crimson, patience)
			leftWindow := client.window()
			o.open(rightFile, right)
			rightWindow := o.newWindow(second, leftWindow)
			o.must("/usr/bin/xdotool", "windowmove", "--sync", rightWindow, "640", "0")
			eventually(t, patience, "both windows show the picture", func() bool { return o.share(crimson) > 0.3 })
			o.screenshot("both")
			before := o.tunnel()

			o.closeSession(leftWindow)
			o.server.show(teal)
			o.waitForPicture(teal, patience)
			eventually(t, patience, "the tunnel is to end when its last client has left", func() bool {
				return o.tunnel().State == "ending when idle"
			})
			if now := o.tunnel(); now.PID != before.PID {
				t.Errorf("the tunnel was %+v and is %+v", before, now)
			}
			o.screenshot("second")

			o.closeSession(rightWindow)
			client.wait(patience)
			o.waitUntilNothingIsLeft(enabled.listen)
		})
	}
}

// However Remmina goes here, it runs no after-command.
func TestTunnelEndsWithRemmina(t *testing.T) {
	t.Parallel()
	needHooks(t)
	for name, end := range map[string]func(*homeOffice, *remmina){
		"quit":     func(_ *homeOffice, client *remmina) { client.quit() },
		"SIGTERM":  func(_ *homeOffice, client *remmina) { client.signal(syscall.SIGTERM) },
		"SIGKILL":  func(_ *homeOffice, client *remmina) { client.signal(syscall.SIGKILL) },
		"X server": func(o *homeOffice, _ *remmina) { o.xserver.signal(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newGuardedOffice(t)
			o.gateway.signInAfter(0)
			desk := o.desk()
			enabled := o.saveEnabled(desk)
			o.recordHooks()
			client := o.open(enabled.file, desk)
			o.waitForPicture(crimson, patience)
			o.screenshot("picture")

			end(o, client)
			client.wait(patience)
			o.waitUntilNothingIsLeft(enabled.listen)
			if ran := o.ran(); !slices.Equal(ran, []string{"start"}) {
				t.Errorf("hooks: %q, want no after-command", ran)
			}
		})
	}
}

func TestCancelDuringSignIn(t *testing.T) {
	t.Parallel()
	needHooks(t)
	for name, reconnect := range map[string]bool{"reconnecting": true, "not reconnecting": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newGuardedOffice(t)
			desk := o.desk()
			desk.reconnect = reconnect
			enabled := o.saveEnabled(desk)
			o.recordHooks()
			client := o.open(enabled.file, desk)
			eventually(t, patience, "the browser opens and a notification says why", func() bool {
				return len(o.gateway.tabs()) == 1 && o.shownNotifications() == 1
			})
			o.screenshot("waiting")

			client.cancel()
			eventually(t, patience, "Remmina runs its after-command", func() bool {
				return slices.Equal(o.ran(), []string{"start", "stop"})
			})
			o.waitUntilNothingIsLeft(enabled.listen)
			o.screenshot("cancelled")
			if tabs := o.gateway.tabs(); len(tabs) != 1 {
				t.Errorf("tabs: %q, want one", tabs)
			}
			if shown := o.shownNotifications(); shown != 0 {
				t.Errorf("%d notifications are still shown, want none: %+v", shown, o.notifications())
			}
		})
	}
}

func TestReconnectAfterTunnelProgramDied(t *testing.T) {
	t.Parallel()
	needHooks(t)
	o := newGuardedOffice(t)
	o.gateway.signInAfter(0)
	desk := o.desk()
	desk.reconnect = true
	enabled := o.saveEnabled(desk)
	o.recordHooks()
	client := o.open(enabled.file, desk)
	o.waitForPicture(crimson, patience)
	o.screenshot("before")

	before := o.tunnel()
	o.kill(before.PID)
	died := time.Now()
	o.server.show(teal)
	o.waitForPicture(teal, patience)
	t.Logf("the picture was back after %v", time.Since(died).Round(100*time.Millisecond))
	o.screenshot("after")
	if now := o.tunnel(); now.PID == before.PID || now.Address != before.Address {
		t.Errorf("the tunnel was %+v and is %+v", before, now)
	}
	if ran := o.ran(); !slices.Equal(ran, []string{"start"}) {
		t.Errorf("hooks: %q, want only the one before connecting", ran)
	}
	if tabs := o.gateway.tabs(); len(tabs) != 1 {
		t.Errorf("tabs: %q, want one", tabs)
	}

	client.closeWindow()
	client.wait(patience)
	o.waitUntilNothingIsLeft(enabled.listen)
}

// newWindow returns the window with a title that is not the one known.
func (o *homeOffice) newWindow(title, known string) string {
	o.t.Helper()
	var open []string
	eventually(o.t, patience, "one more window titled "+title+" is open", func() bool {
		open = slices.DeleteFunc(o.windows("^"+title+"$"), func(id string) bool { return id == known })
		return len(open) == 1
	})
	return open[0]
}
