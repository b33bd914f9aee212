package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestXfreerdpTunnelTakesTheClientThatFitsTheDisplay, of those that are installed.
func TestXfreerdpTunnelTakesTheClientThatFitsTheDisplay(t *testing.T) {
	t.Parallel()
	const x, wayland = "DISPLAY=:1", "WAYLAND_DISPLAY=wayland-0"
	every := "xfreerdp xfreerdp3 sdl-freerdp sdl-freerdp3 wlfreerdp wlfreerdp3"
	script, err := filepath.Abs("../../scripts/xfreerdp-tunnel")
	check(t, err)
	for _, tc := range []struct{ display, there, want string }{
		{x, every, "xfreerdp"},
		{x, "wlfreerdp3 sdl-freerdp3 xfreerdp3", "xfreerdp3"},
		{x, "wlfreerdp3 sdl-freerdp3", "sdl-freerdp3"},
		{x, "sdl-freerdp wlfreerdp", "sdl-freerdp"},
		{x, "wlfreerdp", "wlfreerdp"}, // which says what it lacks
		{x, "", "xfreerdp"},
		{wayland, every, "sdl-freerdp"},
		{wayland, "xfreerdp3 wlfreerdp3 sdl-freerdp3", "sdl-freerdp3"},
		{wayland, "xfreerdp wlfreerdp", "wlfreerdp"},
		{wayland, "xfreerdp3 wlfreerdp3", "wlfreerdp3"},
		{wayland + " " + x, "xfreerdp3 sdl-freerdp", "sdl-freerdp"},
		{wayland + " " + x, "xfreerdp3", "xfreerdp3"},
		{wayland, "", "sdl-freerdp"},
		{"WAYLAND_DISPLAY= " + x, every, "xfreerdp"},
		{"", every, "xfreerdp"},
	} {
		bin := t.TempDir()
		for _, name := range append(strings.Fields(tc.there), "tunhook") {
			check(t, tunneltest.WriteProgram(filepath.Join(bin, name), []byte("#!/bin/sh\necho \"$@\"\n")))
		}
		cmd := exec.Command("/bin/sh", script, "desk", "/u:me")
		cmd.Env = append(strings.Fields(tc.display), "PATH="+bin)
		out, err := cmd.Output()
		want := "run --ready rdp desk stable -- " + tc.want + " /v:{address} /cert:name:{route_host} /u:me\n"
		if err != nil || string(out) != want {
			t.Errorf("%q with %q: %q, %v; want %q", tc.display, tc.there, out, err, want)
		}
	}
}
