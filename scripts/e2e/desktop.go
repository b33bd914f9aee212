//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A desktop is a user with a session bus and an X display. No window manager runs, so
// windows stay where they opened until a test moves them.
type desktop struct {
	*user
	xserver *process
}

// newDesktop logs in a user and gives them a desktop.
func newDesktop(t testing.TB) *desktop {
	t.Helper()
	return logIn(newUser(t))
}

// newOrdinaryDesktop is newDesktop for a user without privileges.
func newOrdinaryDesktop(t testing.TB) *desktop {
	t.Helper()
	return logIn(newOrdinaryUser(t))
}

// logIn starts the bus before the display, so that programs which the bus starts have
// no DISPLAY: so it is on many real machines.
func logIn(u *user) *desktop {
	u.t.Helper()
	d := &desktop{user: u}
	d.startBus()
	d.xserver = u.startDisplay("1280x960")
	return d
}

// busConfig is a session bus that starts the services of one directory and no others:
// whether a notification daemon is there, for one, is each test's own choice. It lets
// root in, who runs the tests.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <servicedir>%s</servicedir>
  <policy context="default">
    <allow user="root"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// startBus starts a session bus that can start Flatpak's session helper, which is what
// a sandbox asks to run something on the host.
func (d *desktop) startBus() {
	d.t.Helper()
	socket := filepath.Join(d.runtimeDir, "bus")
	services := filepath.Join(d.dir, "services")
	const flatpakHelper = "org.freedesktop.Flatpak.service"
	helper, err := os.ReadFile("/usr/share/dbus-1/services/" + flatpakHelper)
	if err != nil {
		d.t.Fatalf("%v: run scripts/e2e-setup", err)
	}
	d.write(filepath.Join(services, flatpakHelper), string(helper))
	config := filepath.Join(d.dir, "bus.conf")
	d.write(config, fmt.Sprintf(busConfig, socket, services))

	d.start("/usr/bin/dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog")
	eventually(d.t, patience, "the session bus listens", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	// Flatpak insists on a system bus, but finds nothing there that it needs.
	d.extraEnv = append(d.extraEnv,
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+socket, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+socket)
}

// startDisplay starts an X server of a size such as 640x480.
func (u *user) startDisplay(size string) *process {
	u.t.Helper()
	// Nothing here needs GLX, and most of the time that Xvfb takes to start is spent on it.
	return u.startXServer("/usr/bin/Xvfb", "-screen", "0", size+"x24", "-extension", "GLX", "-nolisten", "tcp", "-noreset")
}

// startXServer starts an X server that tells its display number, in decimal with a
// newline, on the descriptor named by -displayfd (Xserver(1)).
func (u *user) startXServer(argv ...string) *process {
	u.t.Helper()
	displayReader, displayWriter, err := os.Pipe()
	if err != nil {
		u.t.Fatal(err)
	}
	defer displayReader.Close()
	cmd := u.command(append(argv, "-displayfd", "3")...)
	cmd.ExtraFiles = []*os.File{displayWriter}
	xserver := u.startCommand(cmd)
	displayWriter.Close()

	if err := displayReader.SetReadDeadline(time.Now().Add(patience)); err != nil {
		u.t.Fatal(err)
	}
	number, err := bufio.NewReader(displayReader).ReadString('\n')
	if err != nil {
		u.t.Fatalf("%s names no display: %v\n%s", xserver.name, err, xserver.lastOutput())
	}
	u.extraEnv = append(u.extraEnv, "DISPLAY=:"+strings.TrimSpace(number))
	return xserver
}

// windows returns the ids of the visible windows whose title matches a regular
// expression.
func (d *desktop) windows(title string) []string {
	d.t.Helper()
	// xdotool prints nothing and exits 1 where it finds none.
	return strings.Fields(d.run("/usr/bin/xdotool", "search", "--onlyvisible", "--name", title).stdout)
}

// window returns the window whose title matches a regular expression, once it is open.
func (d *desktop) window(title string) string {
	d.t.Helper()
	var open []string
	defer func() {
		if len(open) == 0 {
			d.screenshot("no-window")
		}
	}()
	eventually(d.t, patience, "a window titled "+title+" is open", func() bool {
		open = d.windows(title)
		return len(open) > 0
	})
	return open[0]
}

// dismiss presses a key, with the pointer and the focus in the window whose title matches, until that has closed: one that has just
// been opened takes no keys yet.
func (d *desktop) dismiss(title, key string) {
	d.t.Helper()
	window := d.window(title)
	var pressed time.Time
	eventually(d.t, patience, "the window titled "+title+" closes", func() bool {
		if time.Since(pressed) > 3*time.Second { // not to be pressed in what is opened next
			pressed = time.Now()
			d.run("/usr/bin/xdotool", "mousemove", "--window", window, "10", "10", "windowfocus", window, "key", "--clearmodifiers", key)
		}
		return !slices.Contains(d.windows(title), window)
	})
}
