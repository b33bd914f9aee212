package flatpak

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What Flatpak 1.14 mounts for an application with the sockets x11 and wayland.
const mountinfo = `127 102 254:0 /xrd/.flatpak/org.test.App/xdg-run /run/user/0 rw,nosuid,nodev,relatime - ext4 /dev/vda rw
143 140 0:46 / /tmp/.X11-unix rw,nosuid,nodev,relatime - tmpfs tmpfs rw,mode=755
144 143 0:31 /.X11-unix/X7 /tmp/.X11-unix/X7 ro,nosuid,nodev,relatime - tmpfs tmpfs rw
145 102 0:40 /bindfilejzEpbz//deleted /run/flatpak/Xauthority ro,nosuid,nodev,relatime - tmpfs tmpfs rw
146 102 254:0 /xrd/.dbus-proxy/session-bus-proxy-5X06Y3 /run/flatpak/bus ro,nosuid,nodev,relatime - ext4 /dev/vda rw
147 102 0:50 /wayland-1 /run/flatpak/wayland-1 ro,nosuid,nodev,relatime - tmpfs tmpfs rw
`

func TestOnlyWhatIsTrueOnTheHostGoesAlong(t *testing.T) {
	s := Sandbox{mounts: parseMounts([]byte(mountinfo))}
	got := s.hostEnviron([]string{
		"DISPLAY=:7.0",
		"WAYLAND_DISPLAY=wayland-1",
		"XAUTHORITY=/run/flatpak/Xauthority",
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/flatpak/bus",
		"XDG_RUNTIME_DIR=/run/user/0",
		"XDG_CONFIG_HOME=/home/ann/.var/app/org.test.App/config",
		"XDG_CURRENT_DESKTOP=XFCE",
		"LANG=de_DE.UTF-8",
		"LC_TIME=C",
		"LANGUAGE=",
		"PATH=/app/bin:/usr/bin",
		"LD_LIBRARY_PATH=/app/lib",
		"container=flatpak",
		"garbage",
		"LC_PAPER=de\xff", // for which a bus would drop us
	})
	want := map[string]string{
		"DISPLAY": ":7.0", "WAYLAND_DISPLAY": "wayland-1", "XDG_CURRENT_DESKTOP": "XFCE", "LANG": "de_DE.UTF-8", "LC_TIME": "C",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDisplayHasItsNameOnTheHost(t *testing.T) {
	const oldFlatpak = "1 2 0:31 /.X11-unix/X1 /tmp/.X11-unix/X99 ro - tmpfs tmpfs rw\n"
	for _, test := range []struct{ mountinfo, inside, want string }{
		{mountinfo, ":7", ":7"},
		{mountinfo, "unix:7", "unix:7"},
		{oldFlatpak, ":99.0", ":1.0"},
		{oldFlatpak, "desk:99", "desk:99"}, // over TCP
		{"", ":3", ":3"},                   // an abstract socket
		{"1 2 0:31 /bindfile//deleted /tmp/.X11-unix/X99 ro - tmpfs tmpfs rw\n", ":99", ""},
		{mountinfo, "nonsense", ""},
	} {
		s := Sandbox{mounts: parseMounts([]byte(test.mountinfo))}
		if got := s.hostEnviron([]string{"DISPLAY=" + test.inside})["DISPLAY"]; got != test.want {
			t.Errorf("display %s is %q on the host, want %q", test.inside, got, test.want)
		}
	}
}

func TestWaylandDisplayNeedsItsSocket(t *testing.T) {
	for _, test := range []struct {
		mountinfo string
		want      string
	}{
		{"1 2 0:50 /wayland-0 /run/flatpak/wayland-0 ro - tmpfs tmpfs rw\n", "wayland-0"},
		{"1 2 0:50 /wayland-0 /run/user/1000/wayland-0 ro - tmpfs tmpfs rw\n", "wayland-0"},
		{"1 2 0:50 /.flatpak/wl/wayland-Xy12Za /run/flatpak/wayland-0 ro - tmpfs tmpfs rw\n", "wayland-0"},
		{"1 2 0:50 /weston-7 /run/flatpak/wayland-0 ro - tmpfs tmpfs rw\n", ""},
		{mountinfo, ""},
	} {
		s := Sandbox{mounts: parseMounts([]byte(test.mountinfo))}
		if got := s.hostEnviron([]string{"WAYLAND_DISPLAY=wayland-0"})["WAYLAND_DISPLAY"]; got != test.want {
			t.Errorf("with %q: %q, want %q", test.mountinfo, got, test.want)
		}
	}
}

func TestXauthorityThatFlatpakLeftAloneGoesAlong(t *testing.T) {
	s := Sandbox{mounts: parseMounts([]byte(mountinfo))}
	if got := s.hostEnviron([]string{"XAUTHORITY=/home/ann/.Xauthority"})["XAUTHORITY"]; got != "/home/ann/.Xauthority" {
		t.Errorf("got %q", got)
	}
}
