//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// override is the command that gives the sandbox its missing permission.
const override = "flatpak override --user --talk-name=org.freedesktop.Flatpak " + sandboxApp

func TestFlatpakHookWithoutPermissionSaysHowToGiveIt(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := login(t)
			d.startDunst()
			o := newBoxedOffice(officeOf(d), d.installSandbox(func(runtime string) {
				d.copyProgram(runtime, "/usr/bin/notify-send") // as the runtimes of Flathub have
			}))
			for _, hook := range []string{o.tunhook, o.script} {
				o.checkOverrideShown(hook, 0)
				o.checkOverrideShown(hook, 1, "--talk-name=org.freedesktop.Notifications")
			}
		})
	}
}

// checkOverrideShown has a hook fail in a sandbox that may not run programs on the host:
// the error says how to permit it, and so do that many notifications.
func (o *boxedOffice) checkOverrideShown(hook string, notified int, permissions ...string) {
	o.t.Helper()
	shell := o.startShell(permissions...)
	for _, command := range []string{" start", " stop"} { // a client calls both
		got := shell.does(hook + command + " relay://" + o.server + " " + freeAddress(o.t))
		if got.status != 1 || got.stdout != "" || !strings.Contains(got.stderr, override) || got.took > patience {
			o.t.Errorf("%s%s: want status 1 and %q: %v", hook, command, override, got)
		}
	}
	eventually(o.t, patience, "as many notifications are shown as may be", func() bool { return o.shownNotifications() == notified })
	if notified > 0 {
		o.screenshot("override")
		if got := o.notifications()[0]; !strings.Contains(got.body, override) {
			o.t.Errorf("%s: notification %+v, want %q", hook, got, override)
		}
	}
	shell.stop()
}

func TestFlatpakHookWorksOnceThePermissionIsGiven(t *testing.T) {
	t.Parallel()
	d := newOrdinaryDesktop(t)
	o := newBoxedOffice(officeOf(d), d.installSandbox(nil))
	o.must("/bin/sh", "-c", override)
	listen := freeAddress(t)
	if got := o.startShell().does(o.script + " start relay://" + o.server + " " + listen); got.status != 0 || got.stdout != listen+"\n" {
		t.Errorf("start: %v", got)
	}
}
