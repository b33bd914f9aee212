//go:build e2e

package e2e

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// run and the wrapper, each with the arguments that let any xfreerdp log in.
var ways = map[string]func(o *homeOffice, listen string, more ...string) []string{
	"run": func(o *homeOffice, listen string, more ...string) []string {
		argv := []string{o.program, "run", "--ready", "rdp", o.gateway.ownDesk, listen, "--"}
		return append(argv, xfreerdp("{address}", rdpPassword, more...)...)
	},
	"wrapper": func(o *homeOffice, listen string, more ...string) []string {
		login := []string{"/u:" + rdpUser, "/p:" + rdpPassword, "/cert:ignore"}
		return o.wrapper(append(append([]string{o.gateway.ownDesk, listen}, login...), more...)...)
	},
}

// wrapper returns the command line of xfreerdp-tunnel.
func (o *homeOffice) wrapper(args ...string) []string {
	o.t.Helper()
	path, err := filepath.Abs("../xfreerdp-tunnel")
	if err != nil {
		o.t.Fatal(err)
	}
	return append([]string{"/usr/bin/env", "TUNHOOK=" + o.program, path}, args...)
}

// newRDPOffice returns an office with a gateway in front of an RDP server, at which
// somebody signs in within a second.
func newRDPOffice(t *testing.T) *homeOffice {
	t.Helper()
	server := startRDPServer(t)
	o := newHomeOffice(t)
	o.server, o.gateway = server, o.startPomerium(server.address)
	o.gateway.signInAfter(time.Second)
	return o
}

func TestXfreerdpThroughRunLogsIn(t *testing.T) {
	t.Parallel()
	for name, argv := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newRDPOffice(t)
			listen := freeAddress(t)
			o.gateway.signInAgain() // only a listener keeps resets from the tunnel program
			most := 1
			if release().resets {
				most = 2
			}
			for _, login := range []struct {
				more []string
				want int
			}{
				{[]string{authOnly}, 0}, // through the sign-in: the first connection works
				{[]string{authOnly, "/p:wrong"}, release().logonFailure},
			} {
				got := o.run(argv(o, listen, login.more...)...)
				if got.status != login.want {
					t.Errorf("%q, want status %d: %v", login.more, login.want, got)
				}
				o.waitUntilNothingIsLeft(listen)
			}
			if tabs := o.gateway.tabs(); len(tabs) == 0 || len(tabs) > most {
				t.Errorf("tabs: %q, want at most %d", tabs, most)
			}
		})
	}
}

func TestXfreerdpThroughRunShowsPictureAsLongAsItsWindowIsThere(t *testing.T) {
	t.Parallel()
	for name, argv := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newRDPOffice(t)
			listen := freeAddress(t)
			client := o.start(argv(o, listen)...)
			o.waitForPicture(crimson, patience)
			o.screenshot("picture")
			o.must("/usr/bin/xdotool", "windowkill", o.window("FreeRDP"))
			client.wait(patience)
			o.waitUntilNothingIsLeft(listen)
			o.screenshot("closed")
		})
	}
}

func TestCtrlCEndsXfreerdpAndItsTunnel(t *testing.T) {
	t.Parallel()
	for name, argv := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newRDPOffice(t)
			listen := freeAddress(t)
			client, keyboard := o.startOnTerminal(argv(o, listen)...)
			o.waitForPicture(crimson, patience)
			o.screenshot("picture")

			const ctrlC = "\x03"
			if _, err := io.WriteString(keyboard, ctrlC); err != nil {
				t.Fatal(err)
			}
			status := client.wait(patience)
			o.waitUntilNothingIsLeft(listen)
			if left := o.running("xfreerdp"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			o.screenshot("ended")
			t.Logf("status %d", status)
			if shown := o.read(client.log); !strings.Contains(shown, "waiting for sign-in in your browser, ") {
				t.Errorf("while somebody had to sign in, the terminal showed: %q", shown)
			}
		})
	}
}

// startOnTerminal starts a program on a terminal of its own, and returns that terminal's
// keyboard.
func (u *user) startOnTerminal(argv ...string) (*process, io.Writer) {
	u.t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		u.t.Fatal(err)
	}
	defer terminal.Close()
	u.t.Cleanup(func() { person.Close() })
	cmd := u.command(argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr.Setpgid = false // a session of its own is one
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	p := u.startCommand(cmd)

	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		u.t.Fatal(err)
	}
	go func() {
		defer log.Close()
		_, _ = io.Copy(log, person) // until it is closed, or nobody has the terminal any more
	}()
	return p, person
}
