//go:build e2e

package e2e

import (
	"strings"
)

// A client is a program that connects to an address and shows what is there.
type client struct {
	name  string
	ready string // the kind of --ready: what it speaks

	// open starts it on an address of a server's of that kind, and answers what it asks
	// for. It returns at once.
	open func(d *desktop, address string) *process
}

// clients returns those that the release has.
func clients() []client {
	all := []client{
		{"xfreerdp", "rdp", freerdp("/usr/bin/xfreerdp")},
		{"xfreerdp3", "rdp", freerdp("/usr/bin/xfreerdp3")},
		{"sdl-freerdp3", "rdp", freerdp("/usr/bin/sdl-freerdp3")},
		{"wlfreerdp3", "rdp", wlfreerdp},
		{"krdc", "rdp", krdc},
		{"gnome-connections", "rdp", gnomeConnections},
		{"vncviewer", "vnc", vncviewer},
		{"remote-viewer", "vnc", remoteViewer},
	}
	var there []client
	for _, c := range all {
		if exists("/usr/bin/" + c.name) {
			there = append(there, c)
		}
	}
	return there
}

// freerdp opens one of FreeRDP's own clients for X.
func freerdp(program string) func(d *desktop, address string) *process {
	return func(d *desktop, address string) *process {
		d.t.Helper()
		return d.start(freerdpArgs(program, address)...)
	}
}

func freerdpArgs(program, address string) []string {
	return []string{program, "/v:" + address, "/u:" + rdpUser, "/p:" + rdpPassword, "/cert:ignore", "/size:800x600"}
}

func wlfreerdp(d *desktop, address string) *process {
	d.t.Helper()
	d.startWeston()
	return d.start(freerdpArgs("/usr/bin/wlfreerdp3", address)...)
}

// startWeston starts a Wayland desktop in a window of the X display, so that screenshots
// have it. It has no renderer that needs a graphics card.
func (d *desktop) startWeston() *process {
	d.t.Helper()
	const socket = "wayland-e2e"
	weston := d.start("/usr/bin/weston", "--backend=x11", "--renderer=pixman", "--socket="+socket,
		"--no-config", "--idle-time=0", "--width=1000", "--height=800")
	eventually(d.t, patience, "weston listens", func() bool {
		if !weston.alive() {
			d.t.Fatalf("weston has ended: %s", weston.lastOutput())
		}
		return exists(d.runtimeDir + "/" + socket)
	})
	d.extraEnv = append(d.extraEnv, "WAYLAND_DISPLAY="+socket)
	return weston
}

// krdcSettings keeps KRDC from asking how to show a machine that it does not know, and
// from asking KWallet.
const krdcSettings = `[General]
ShowPreferencesForNewConnections=false
WalletSupport=false
`

func krdc(d *desktop, address string) *process {
	d.t.Helper()
	d.write(d.path(".config", "krdcrc"), krdcSettings)
	return d.start("/usr/bin/krdc", "rdp://"+rdpUser+"@"+address)
}

func gnomeConnections(d *desktop, address string) *process {
	d.t.Helper()
	return d.start("/usr/bin/gnome-connections", "rdp://"+address)
}

// vncviewer wants two colons before a port.
func vncviewer(d *desktop, address string) *process {
	d.t.Helper()
	host, port, _ := strings.Cut(address, ":")
	return d.start("/usr/bin/vncviewer", host+"::"+port)
}

func remoteViewer(d *desktop, address string) *process {
	d.t.Helper()
	return d.start("/usr/bin/remote-viewer", "vnc://"+address)
}
