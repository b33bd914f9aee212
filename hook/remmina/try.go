package remmina

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/tunnel"
)

// ErrUntold says that a Remmina that was tried has ended, or has taken too long, before it did anything by which one could tell.
var ErrUntold = errors.New("it connected to nothing in time; its RDP plugin may be missing")

// ErrNotNative says that there is no native Remmina, the one kind that can be tried.
var ErrNotNative = errors.New("only a native Remmina can be tried")

// trialPreferences keep it from asking and from telling. The secret is one that it would make and save at its first start.
const trialPreferences = `[remmina_pref]
secret=MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=
periodic_news_permitted=false
periodic_usage_stats_permitted=false
disable_tray_icon=true
`

// Try runs the native Remmina for a moment and tells whether it runs commands, whatever its version says. It shows a window of it.
//
// What Remmina gets is thrown away behind it: a home, and a profile whose command leaves a mark and whose server is a port of ours. It
// waits for that command before it connects, so that a connection without the mark says that it runs none. There is no session bus for
// it: by that it would hand the profile over to a Remmina that the user has open.
func (m Machine) Try(ctx context.Context) (runs bool, err error) {
	program := m.native()
	if program == "" {
		return false, ErrNotNative
	}
	dir, err := os.MkdirTemp("", "tunhook-remmina-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return false, err
	}
	defer server.Close()
	mark := filepath.Join(dir, "mark")
	profile, err := prepareTrial(dir, server.Addr().String(), mark)
	if err != nil {
		return false, err
	}

	ctx, cancel := context.WithTimeout(ctx, cmp.Or(m.Patience, 20*time.Second))
	defer cancel()
	connected := make(chan struct{})
	go func() {
		conn, err := server.Accept()
		if err == nil {
			conn.Close()
			close(connected)
			cancel()
		}
	}()
	cmd := exec.CommandContext(ctx, program, "-c", profile)
	cmd.Dir = "/"
	cmd.Env = m.trialEnviron(dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children
	tunnel.DieWithParent(cmd.SysProcAttr)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); cmd.Process == nil {
		return false, err
	}
	if _, err := os.Lstat(mark); err == nil {
		return true, nil
	}
	select {
	case <-connected:
		return false, nil
	default:
		return false, ErrUntold
	}
}

// prepareTrial writes what the Remmina that is tried finds, and gives the path of its profile.
func prepareTrial(dir, server, mark string) (profile string, err error) {
	command, err := quote([]string{"/bin/sh", "-c", `: >"$0"`, mark})
	if err != nil {
		return "", err
	}
	for _, name := range []string{"run", "remmina"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return "", err
		}
	}
	profile = filepath.Join(dir, "trial.remmina")
	text := "[remmina]\nname=tunhook doctor\nprotocol=RDP\nserver=" + server + "\nprecommand=" + escape(command) + "\ndisableautoreconnect=1\n"
	return profile, errors.Join(
		os.WriteFile(filepath.Join(dir, "remmina", "remmina.pref"), []byte(trialPreferences), 0o600),
		os.WriteFile(profile, []byte(text), 0o600),
	)
}

// trialEnviron has the display of the user's, and nothing else by which a program finds the session and its files.
func (m Machine) trialEnviron(dir string) []string {
	environ := append(slices.Clone(m.Environ), "HOME="+dir,
		"XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_RUNTIME_DIR="+filepath.Join(dir, "run"),
		// Without an address of the bus there are other ways to it, by the display's properties among them.
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(dir, "run", "none"),
		"NO_AT_BRIDGE=1", "GSETTINGS_BACKEND=memory", "GIO_USE_VFS=local")
	// What the display needs is found through the directories of the user's, unless it is named: Xsecurity(7), wl_display_connect(3).
	if tunnel.Getenv(m.Environ, "XAUTHORITY") == "" {
		environ = append(environ, "XAUTHORITY="+filepath.Join(tunnel.Getenv(m.Environ, "HOME"), ".Xauthority"))
	}
	if wayland := tunnel.Getenv(m.Environ, "WAYLAND_DISPLAY"); wayland != "" && !filepath.IsAbs(wayland) {
		environ = append(environ, "WAYLAND_DISPLAY="+filepath.Join(tunnel.Getenv(m.Environ, "XDG_RUNTIME_DIR"), wayland))
	}
	return environ
}
