//go:build e2e

package e2e

import (
	"image/color"
	"slices"
	"strings"
	"time"
)

// A client is a program that connects to an address and shows the desktop that is there.
type client struct {
	name  string
	ready string // what it speaks, as --ready calls it

	// open starts it on an address.
	open func(d *desktop, address string) *process

	// answer answers what it asks for once the server has answered: whether the
	// certificate is right, and for the password. nil where it asks nothing.
	answer func(d *desktop)
}

// clients returns those of the release.
func clients() []client {
	return slices.DeleteFunc([]client{
		{"xfreerdp", "rdp", freerdp("/usr/bin/xfreerdp"), nil},
		{"xfreerdp3", "rdp", freerdp("/usr/bin/xfreerdp3"), nil},
		{"sdl-freerdp3", "rdp", freerdp("/usr/bin/sdl-freerdp3"), nil},
		{"wlfreerdp3", "rdp", wlfreerdp, nil},
		{"krdc", "rdp", krdc, answerKRDC},
		{"gnome-connections", "rdp", gnomeConnections, answerGNOMEConnections},
		{"vncviewer", "vnc", vncviewer, nil},
		{"remote-viewer", "vnc", remoteViewer, nil},
	}, func(c client) bool { return !slices.Contains(release().clients, c.name) })
}

// connect opens the client on an address and waits until it shows a desktop in crimson,
// which the way there may delay by some time.
func (c client) connect(d *desktop, address string, delay time.Duration) *process {
	d.t.Helper()
	opened := c.open(d, address)
	if c.answer != nil {
		c.answer(d)
	}
	d.waitForPicture(crimson, delay+patience)
	d.screenshot("picture")
	return opened
}

// freerdp opens one of FreeRDP's own clients for X.
func freerdp(program string) func(d *desktop, address string) *process {
	return func(d *desktop, address string) *process {
		d.t.Helper()
		return d.start(program, "/v:"+address, "/u:"+rdpUser, "/p:"+rdpPassword, "/cert:ignore", "/size:800x600")
	}
}

func wlfreerdp(d *desktop, address string) *process {
	d.t.Helper()
	d.startWeston()
	return freerdp("/usr/bin/wlfreerdp3")(d, address)
}

// startWeston starts a Wayland desktop in a window of the X display, so that screenshots
// have it. It has no renderer that needs a graphics card.
func (d *desktop) startWeston() {
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
}

// krdcSettings keeps KRDC from asking how to show a machine that it does not know, from
// asking KWallet, and from ending the session where there is no microphone.
const krdcSettings = `[General]
ShowPreferencesForNewConnections=false
WalletSupport=false
[RDP]
Sound=2
`

func krdc(d *desktop, address string) *process {
	d.t.Helper()
	d.write(d.path(".config", "krdcrc"), krdcSettings)
	return d.start("/usr/bin/krdc", "rdp://"+rdpUser+"@"+address)
}

func answerKRDC(d *desktop) {
	d.t.Helper()
	const itsContinue = "alt+o"
	d.dismiss("^Verify Certificate", itsContinue)
	d.must(append(typing(d.window("^Password"), rdpPassword), "key", "Return")...)
}

// typing returns the command line that types into a window.
func typing(window, text string) []string {
	return []string{"/usr/bin/xdotool", "windowfocus", "--sync", window, "type", "--delay", "50", "--args", "1", text}
}

// connectionsSettings keeps GNOME Connections from showing itself off.
const connectionsSettings = `[org/gnome/Connections]
first-run=false
`

func gnomeConnections(d *desktop, address string) *process {
	d.t.Helper()
	d.write(d.path(".config", "glib-2.0", "settings", "keyfile"), connectionsSettings)
	return d.start("/usr/bin/env", "GSETTINGS_BACKEND=keyfile", "/usr/bin/gnome-connections", "rdp://"+address)
}

// authenticateButton is the paint of GNOME's button that logs in, in its dark theme.
var authenticateButton = color.RGBA{R: 0x15, G: 0x53, B: 0x9e, A: 0xff}

// answerGNOMEConnections knows where things are in its two dialogs, which have one title:
// not every field of theirs can be reached by the keyboard.
func answerGNOMEConnections(d *desktop) {
	d.t.Helper()
	const dialog = "^gnome-connections$"
	d.window(dialog)
	eventually(d.t, patience, "GNOME Connections asks for the password", func() bool {
		if d.share(authenticateButton) > 0.002 {
			return true
		}
		d.click(d.window(dialog), "305", "26") // Verify
		time.Sleep(time.Second)
		return false
	})
	window := d.window(dialog)
	d.click(window, "120", "172")
	time.Sleep(time.Second) // on a busy machine a field takes a moment to get the keys
	d.must(typing(window, rdpUser)...)
	d.click(window, "120", "228")
	time.Sleep(time.Second)
	d.must(append(typing(window, rdpPassword), "key", "Return")...)
}

// click clicks at a place in a window.
func (d *desktop) click(window, x, y string) {
	d.t.Helper()
	d.must("/usr/bin/xdotool", "mousemove", "--sync", "--window", window, x, y, "click", "1")
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
