package hook

import "testing"

func TestWhatStandsBetweenAClientAndItsTunnelIsKnownByItsName(t *testing.T) {
	t.Parallel()
	for exe, want := range map[string]bool{
		"/usr/bin/dash": true, "/usr/bin/python3.13": true, "/usr/bin/busybox (deleted)": true, "/usr/bin/tclsh8.6": true,
		"/usr/bin/flock": true, "/usr/bin/dbus-run-session": true, "/usr/bin/make": true, "/usr/bin/mawk": true,
		"/usr/bin/coreutils": true, "/usr/lib/cargo/bin/sudo": true,
		"/usr/bin/remmina": false, "/usr/bin/xfreerdp3": false, "/usr/bin/krdc": false, "/usr/bin/gnome-connections": false, "": false,
	} {
		if got := isInBetween(exe); got != want {
			t.Errorf("%s: %v, want %v", exe, got, want)
		}
	}
}
