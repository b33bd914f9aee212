package flatpak

import (
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// sameOnHost are variables that Flatpak hands on unchanged: language, terminal, and what xdg-open(1) goes by.
var sameOnHost = []string{
	"LANG", "LANGUAGE", "TERM",
	"XDG_CURRENT_DESKTOP", "XDG_SESSION_DESKTOP", "XDG_SESSION_TYPE",
	"DESKTOP_SESSION", "KDE_FULL_SESSION", "KDE_SESSION_VERSION",
}

// hostEnviron picks from the sandbox's environment what is true on the host and may be missing there: programs on the host get
// the environment of flatpak-session-helper, which a bus started that perhaps knows of no display.
//
// Left out is what Flatpak points at places that only the sandbox has: DBUS_SESSION_BUS_ADDRESS (a proxy's socket; the helper
// has the address of the bus that started it), XDG_RUNTIME_DIR, PATH, and XDG_{CONFIG,DATA,STATE,CACHE}_HOME.
func (s Sandbox) hostEnviron(environ []string) map[string]string {
	host := map[string]string{}
	for _, variable := range environ {
		name, value, ok := strings.Cut(variable, "=")
		if !ok {
			continue
		}
		switch {
		case name == "DISPLAY":
			value, ok = s.mounts.hostDisplay(value)
		case name == "WAYLAND_DISPLAY":
			ok = s.mounts.waylandIsHosts(value)
		case name == "XAUTHORITY":
			// Flatpak makes a file of its own, /run/flatpak/Xauthority, where it was built with libXau.
			_, replaced := s.mounts[value]
			ok = !replaced
		default:
			ok = slices.Contains(sameOnHost, name) || strings.HasPrefix(name, "LC_")
		}
		if ok && value != "" && utf8.ValidString(value) { // a bus drops clients that send anything else
			host[name] = value
		}
	}
	return host
}

// mounts maps mount points to what is mounted there: the path within its own file system, fields 5 and 4 of
// proc_pid_mountinfo(5).
type mounts map[string]string

func parseMounts(mountinfo []byte) mounts {
	m := mounts{}
	for text := range strings.Lines(string(mountinfo)) {
		if fields := strings.Fields(text); len(fields) > 4 {
			m[fields[4]] = fields[3]
		}
	}
	return m
}

// hostDisplay is the host's name for an X display, X(7). Flatpak before 1.14 calls every display 99: it mounts the socket X1,
// say, at X99. A display without a mounted socket is reached in the same way from both sides.
func (m mounts) hostDisplay(display string) (string, bool) {
	server, rest, ok := strings.Cut(display, ":")
	if !ok {
		return "", false
	}
	number, screen, _ := strings.Cut(rest, ".")
	socket, mounted := m["/tmp/.X11-unix/X"+number]
	if !mounted || (server != "" && server != "unix") {
		return display, true
	}
	number, ok = strings.CutPrefix(path.Base(socket), "X")
	if screen != "" {
		number += "." + screen
	}
	return server + ":" + number, ok
}

// waylandIsHosts tells whether name means the same compositor on the host. Flatpak keeps the name of the host's socket, and
// says wayland-0 where it knows of none; so the socket has to be there. With a compositor that knows security-context-v1 it is
// a socket made for this sandbox alone, in place of the host's of the same name.
func (m mounts) waylandIsHosts(name string) bool {
	for point, source := range m {
		if path.Base(point) == name && strings.HasPrefix(point, "/run/") {
			return path.Base(source) == name || strings.HasSuffix(path.Dir(source), "/.flatpak/wl")
		}
	}
	return false
}
