//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
)

func TestSandboxReachesTheHostOnlyWithPermission(t *testing.T) {
	t.Parallel()
	for name, login := range map[string]func(testing.TB) *desktop{
		"root":          newRootDesktop,
		"ordinary user": newOrdinaryDesktop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := login(t).installSandbox(nil)
			d := s.desktop
			inside := s.command(nil, "test", "-e", "/.flatpak-info")
			if got := d.run(inside...); got.status != 0 {
				t.Errorf("the sandbox is none: %v", got)
			}
			onHost := []string{"flatpak-spawn", "--host", "sh", "-c", "test ! -e /.flatpak-info && exit 7"}
			if got := d.run(s.command([]string{talkToHost}, onHost...)...); got.status != 7 {
				t.Errorf("with permission: %v", got)
			}
			if got := d.run(s.command(nil, onHost...)...); got.status == 7 || !strings.Contains(got.stderr, "org.freedesktop.DBus.Error.ServiceUnknown") {
				t.Errorf("without permission: %v", got)
			}
		})
	}
}

func TestKillingASandboxEndsWhatRunsInIt(t *testing.T) {
	t.Parallel()
	d := newDesktop(t)
	s := d.installSandbox(nil)
	inside := d.start(s.command(nil, "sleep", "120")...)
	eventually(t, patience, "a program runs in the sandbox", func() bool {
		return len(d.running("sleep 120")) > 0
	})
	s.kill()
	inside.wait(patience)
	eventually(t, patience, "the sandbox is gone", func() bool {
		return len(d.running("sleep 120")) == 0
	})
}

func TestSandboxedRemminaShowsPicture(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	d := newDesktop(t)
	s := d.installSandboxedRemmina()
	client := d.connectSandboxed(s, nil, profile{name: "boxed", server: server.address})
	d.waitForPicture(crimson, patience)
	d.screenshot("picture")
	client.closeWindow()
	client.wait(patience)
}

// newRootDesktop is newDesktop for a test that is about being root.
func newRootDesktop(t testing.TB) *desktop {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test has to be run as root")
	}
	return newDesktop(t)
}
