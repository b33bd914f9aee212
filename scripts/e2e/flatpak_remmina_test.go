//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestFlatpakRemminaStartsAndStopsItsTunnel(t *testing.T) {
	t.Parallel()
	needHooks(t)
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRDPServer(t)
			o := officeOf(login(t))
			o.startDunst()
			o.gateway = o.startPomerium(server.address)
			o.gateway.signInAfter(2 * time.Second)
			box := o.installSandboxedRemmina()
			desk := o.enable(o.save(o.sandboxedRemmina(), o.desk()))

			client := o.openSandboxed(box, desk)
			o.waitForPicture(crimson, patience)
			o.screenshot("picture")
			if !onHost(o.tunnel().PID) {
				t.Error("the tunnel is in the sandbox")
			}
			client.closeWindow()
			client.wait(patience)
			o.waitUntilNothingIsLeft(desk.listen)

			// What Remmina itself does since 1.4.41.
			o.write(desk.file, strings.ReplaceAll(o.read(desk.file), "command=", "command="+spawnPrefix))
			client = o.openSandboxed(box, desk)
			o.waitForPicture(crimson, patience)
			o.screenshot("picture-with-prefix")
			box.kill()
			o.waitUntilNothingIsLeft(desk.listen)
			client.wait(patience)
			o.screenshot("killed")

			client = o.openSandboxed(box, desk)
			o.waitForPicture(crimson, patience)
			client.closeWindow()
			client.wait(patience)
			o.waitUntilNothingIsLeft(desk.listen)
			if tabs := o.gateway.tabs(); len(tabs) != 1 {
				t.Errorf("tabs: %q, want one", tabs)
			}
		})
	}
}

// openSandboxed is open for a Remmina in a sandbox that may run programs on the host.
func (o *homeOffice) openSandboxed(box *sandbox, p enabledProfile) *remmina {
	o.t.Helper()
	command := box.command([]string{talkToHost}, "remmina", "-c", p.file)
	return &remmina{process: o.start(command...), desktop: o.desktop, profile: o.desk()}
}
