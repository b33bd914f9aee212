//go:build e2e

package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// newConnectionOffice is newGuardedOffice for a user with a systemd of their own, who
// signs in after some time.
func newConnectionOffice(t *testing.T, thinking time.Duration) *homeOffice {
	t.Helper()
	o := newGuardedOffice(t)
	o.gateway.signInAfter(thinking)
	o.logInWithSystemd()
	return o
}

// enableByConnection enables tunhook for a profile's file, by connection, which it is where nothing is said.
func (o *homeOffice) enableByConnection(file string) enabledProfile {
	o.t.Helper()
	p := enabledProfile{file: file, original: o.read(file)}
	o.must(o.program, "remmina", "enable", file)
	p.text = o.read(file)
	p.listen = settings(p.text)["server"]
	for _, key := range []string{"precommand", "postcommand"} {
		if settings(p.text)[key] != settings(p.original)[key] {
			o.t.Errorf("enable has changed %s:\n%s", key, p.text)
		}
	}
	if running := o.remains(); len(running) > 0 || !listens(o.t, p.listen) {
		o.t.Errorf("at rest there is %q, want a socket alone", running)
	}
	return p
}

// saveByConnection saves a profile and enables tunhook for it, by connection.
func (o *homeOffice) saveByConnection(p profile) enabledProfile {
	o.t.Helper()
	return o.enableByConnection(o.save(o.nativeRemmina(), p))
}

// checkDisabled disables tunhook for a profile and checks that it is as before, apart
// from Remmina's own changes, and that nothing listens for it, now and at the next login.
func (o *homeOffice) checkDisabled(p enabledProfile) {
	o.t.Helper()
	own := changedLines(p.text, o.read(p.file))
	o.must(o.program, "remmina", "disable", p.file)
	disabled := o.read(p.file)
	if len(own) == 0 && disabled != p.original {
		o.t.Errorf("disable gives back\n%s\nwant\n%s", disabled, p.original)
	}
	if got := changedLines(p.original, disabled); !slices.Equal(got, own) {
		o.t.Errorf("disable leaves the changes %q, want Remmina's own: %q", got, own)
	}
	if left := o.left(p.listen); len(left) > 0 {
		o.t.Errorf("disable leaves %q", left)
	}
	o.checkNoUnits()
}

// checkNoUnits checks that the user has no unit of tunhook's.
func (o *homeOffice) checkNoUnits() {
	o.t.Helper()
	if units := o.run("/usr/bin/systemctl", "--user", "list-unit-files", "--no-legend", "*tunhook*").stdout; units != "" {
		o.t.Errorf("the units %q are left", units)
	}
}

func TestConnectionShowsTheDesktopAtTheFirstTryThroughSignIn(t *testing.T) {
	t.Parallel()
	const thinking = 20 * time.Second
	o := newConnectionOffice(t, thinking)
	desk := o.desk()
	enabled := o.saveByConnection(desk)

	opened := time.Now()
	client := o.open(enabled.file, desk)
	eventually(t, patience, "a notification asks to sign in", func() bool { return o.shownNotifications() == 1 })
	o.screenshot("sign-in")
	o.waitForPicture(crimson, thinking+patience)
	took := time.Since(opened).Round(100 * time.Millisecond)
	t.Logf("the picture was there %v after Remmina was started, %v of them for signing in", took, thinking)
	o.screenshot("picture")
	if tabs := o.gateway.tabs(); took < thinking || len(tabs) != 1 {
		t.Errorf("after %v there were the tabs %q, want one", took, tabs)
	}
	o.checkAskedToSignIn(enabled.listen)

	client.closeWindow()
	client.wait(patience)
	o.waitUntilAtRest(enabled.listen)
	o.screenshot("closed")
	o.checkDisabled(enabled)
}

func TestConnectionTwoWindowsShareOneTunnel(t *testing.T) {
	t.Parallel()
	o := newConnectionOffice(t, 0)
	left, right := profile{name: "first", server: o.gateway.ownDesk}, profile{name: "second", server: o.gateway.ownDesk}
	first, second := o.saveByConnection(left), o.saveByConnection(right)
	if first.listen != second.listen {
		t.Fatalf("the two profiles of one route connect to %s and %s", first.listen, second.listen)
	}

	client := o.open(first.file, left)
	o.waitForPicture(crimson, patience)
	leftWindow := client.window()
	o.open(second.file, right)
	rightWindow := o.newWindow(right.name, leftWindow)
	o.must("/usr/bin/xdotool", "windowmove", "--sync", rightWindow, "640", "0")
	eventually(t, patience, "both windows show the picture", func() bool { return o.share(crimson) > 0.3 })
	o.screenshot("both")
	before := o.tunnel()

	o.closeSession(leftWindow)
	o.server.show(teal)
	o.waitForPicture(teal, patience)
	if now := o.tunnel(); now.PID != before.PID {
		t.Errorf("the tunnel was %+v and is %+v", before, now)
	}
	o.screenshot("second")

	o.closeSession(rightWindow)
	client.wait(patience)
	o.waitUntilAtRest(first.listen)
	o.must(o.program, "remmina", "disable", first.file)
	if !listens(t, second.listen) {
		t.Error("disabling one profile has ended the listening that the other needs")
	}
	o.checkDisabled(second)
}

func TestConnectionTunnelEndsWithRemmina(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*homeOffice, *remmina){
		"quit":     func(_ *homeOffice, client *remmina) { client.quit() },
		"SIGKILL":  func(_ *homeOffice, client *remmina) { client.signal(syscall.SIGKILL) },
		"X server": func(o *homeOffice, _ *remmina) { o.xserver.signal(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newConnectionOffice(t, 0)
			enabled := o.saveByConnection(o.desk())
			client := o.open(enabled.file, o.desk())
			o.waitForPicture(crimson, patience)
			o.screenshot("picture")
			end(o, client)
			client.wait(patience)
			o.waitUntilAtRest(enabled.listen)
		})
	}
}

// Remmina's own reconnecting finds a tunnel again.
func TestConnectionReconnectAfterTunnelProgramDied(t *testing.T) {
	t.Parallel()
	o := newConnectionOffice(t, 0)
	desk := o.desk()
	desk.reconnect = true
	enabled := o.saveByConnection(desk)
	o.open(enabled.file, desk)
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
	if tabs := o.gateway.tabs(); len(tabs) != 1 {
		t.Errorf("tabs: %q, want one", tabs)
	}
}

func TestFlatpakRemminaNeedsNoPermissionByConnection(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRDPServer(t)
			o := officeOf(login(t))
			o.guard(server.address)
			o.gateway.signInAfter(2 * time.Second)
			box := o.installSandboxedRemmina()
			o.logInWithSystemd()
			desk := o.enableByConnection(o.save(o.sandboxedRemmina(), o.desk()))

			opened := o.start(box.command(nil, "remmina", "-c", desk.file)...)
			client := &remmina{process: opened, desktop: o.desktop, profile: o.desk()}
			o.waitForPicture(crimson, patience)
			o.screenshot("picture")
			if !onHost(o.tunnel().PID) {
				t.Error("the tunnel is in the sandbox")
			}
			client.closeWindow()
			client.wait(patience)
			o.waitUntilAtRest(desk.listen)
			if tabs := o.gateway.tabs(); len(tabs) != 1 {
				t.Errorf("tabs: %q, want one", tabs)
			}
			o.checkDisabled(desk)
		})
	}
}
