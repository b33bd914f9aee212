//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFailingStartIsShownOnTheDesktop(t *testing.T) {
	t.Parallel()
	needHooks(t)
	for name, prepare := range map[string]func(*homeOffice) (failing enabledProfile, says []string){
		"missing program": missingProgram,
		"refused route":   refusedByGateway,
		"port taken":      portTaken,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newGuardedOffice(t)
			failing, says := prepare(o)
			o.recordHooks()

			o.open(failing.file, o.desk())
			eventually(t, patience, "a notification is shown and Remmina has given up", func() bool {
				return o.shownNotifications() == 1 && slices.Equal(o.ran(), []string{"start", "stop"}) && len(o.running(o.tunhook)) == 0
			})
			o.screenshot("failed")
			got := o.notifications()[0] // the newest: one that asked to sign in may have been before
			if want := "No tunnel to " + failing.route; got.summary != want {
				t.Errorf("the notification is about %q, want %q", got.summary, want)
			}
			for _, want := range says {
				if !strings.Contains(got.body, want) {
					t.Errorf("the notification does not say %q: %s", want, got.body)
				}
			}
		})
	}
}

func missingProgram(o *homeOffice) (failing enabledProfile, says []string) {
	o.t.Helper()
	if err := os.Remove(filepath.Join(o.binDir, "pomerium-cli")); err != nil {
		o.t.Fatal(err)
	}
	return o.saveEnabled(o.desk()), []string{
		"pomerium-cli was not found",
		"https://www.pomerium.com/docs/deploy/clients/pomerium-cli",
	}
}

func refusedByGateway(o *homeOffice) (failing enabledProfile, says []string) {
	o.t.Helper()
	o.gateway.signInAfter(0)
	return o.saveEnabled(o.desk(), "--route", refusedRoute, "--listen", freeAddress(o.t)), []string{
		"the gateway does not let you take this route",
		"ask those who run it for access",
		"unauthorized", // the last line of the log
	}
}

func portTaken(o *homeOffice) (failing enabledProfile, says []string) {
	o.t.Helper()
	holder := startSSHServer(o.t)
	return o.saveEnabled(o.desk(), "--listen", holder.address), []string{
		fmt.Sprintf("%s is taken by sshd (pid %d)", holder.address, holder.server.cmd.Process.Pid),
		"tunhook remmina enable --listen",
	}
}
