//go:build e2e

package e2e

import (
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toldProvider is a tunnel program that leaves its arguments, a line each, where the test
// finds them, and then serves as a relay.
const toldProvider = `[provider.told]
routes = ["told://{host}:{port}"]
command = ["told", "{listen}", "{route}", "{args}"]
[tunnel."a%b"]
route = "told://desk:7000"
`

const toldProgram = `#!/bin/bash
printf '%q\n' "$@" >"$HOME/told"
exec TUNHOOK relay --listen "$1" TARGET
`

// What stands behind "--", the PATH and the place of tunhook come to a listener as they
// are, by a unit of systemd's and by an autostart entry alike.
func TestEnabledListenerHasItsArguments(t *testing.T) {
	t.Parallel()
	arguments := []string{
		"plain", "two words", "", ";", "$HOME ${PATH} $$", "%h %% 100%", `q"'\`, "`id` $(id)",
		"line\nbreak\ttab", "~ * ? # & | < > ( ) [ ] { } !", "grüße", `C:\dir\`,
	}
	for name, withSystemd := range map[string]bool{"systemd": true, "autostart": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, listen := newOrdinaryUser(t), freeAddress(t)
			dir := u.path(`my "tools" 100% $HOME's \ dir`)
			program := filepath.Join(dir, "tunhook")
			u.mkdir(dir)
			u.must("/usr/bin/cp", tunhookBinary(t), program)
			u.write(u.path(".config", "tunhook", "config.toml"), toldProvider)
			told := strings.NewReplacer("TARGET", startEcho(t), "TUNHOOK", `"${0%/*}"/tunhook`).Replace(toldProgram)
			u.write(filepath.Join(dir, "told"), told)
			path := "PATH=" + dir + ":/usr/bin:/bin"
			if withSystemd {
				u.logInWithSystemd()
			}
			before := u.must("/usr/bin/find", u.path(".config"), "-type", "f", "-o", "-type", "l")

			u.must(append([]string{"/usr/bin/env", path, program, "enable", "a%b", listen, "--"}, arguments...)...)
			checkEcho(t, listen)
			_, got, _ := strings.Cut(u.read(u.path("told")), "\n") // the first is the private address
			quote := []string{"/bin/bash", "-c", `printf '%q\n' "$@"`, "bash", "told://desk:7000"}
			if want := u.must(append(quote, arguments...)...); got != want {
				t.Errorf("the tunnel program was told\n%s, want\n%s", got, want)
			}
			if status := u.must(program, "status", "a%b"); !strings.Contains(status, listen+"  ready") {
				t.Errorf("status is %s", status)
			}

			u.must(program, "disable", "--now", "a%b")
			if after := u.must("/usr/bin/find", u.path(".config"), "-type", "f", "-o", "-type", "l"); after != before {
				t.Errorf("below .config there were\n%s and there are\n%s", before, after)
			}
			if left := u.running("told"); len(left) > 0 || listens(t, listen) {
				t.Errorf("left: %q, and somebody listens: %v", left, listens(t, listen))
			}
		})
	}
}

// Without a display no page can open to sign in. GNOME and Plasma tell the manager theirs.
func TestEnableSaysWhatTheUserManagerLacks(t *testing.T) {
	t.Parallel()
	u, listen := newOrdinaryUser(t), freeAddress(t)
	program := u.installTunhook()
	u.extraEnv = append(u.extraEnv, "DISPLAY=:99")
	u.logInWithSystemd()
	enable := []string{program, "enable", "relay://127.0.0.1:9", listen}
	if got := u.run(enable...); !strings.Contains(got.stderr, `run "systemctl --user import-environment DISPLAY" now`) {
		t.Errorf("%v", got)
	}
	u.importEnvironment("DISPLAY")
	if got := u.run(enable...); got.status != 0 || strings.Contains(got.stderr, "import-environment") {
		t.Errorf("%v", got)
	}
	u.must(program, "disable", "--all")
}

// startEcho serves one that answers with what it is sent, and gives its address.
func startEcho(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				said := make([]byte, 64)
				if n, err := conn.Read(said); err == nil {
					_, _ = conn.Write(said[:n])
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// checkEcho connects, says something and wants it back.
func checkEcho(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	sayHello(t, conn)
}

// sayHello says something through a connection, wants it back, and closes it.
func sayHello(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "hello" {
		t.Errorf("the answer is %q and %v", answer[:n], err)
	}
}

// With the real manager, which may be in the middle of something.
func TestKilledEnableAndDisableArePutRightByTheNext(t *testing.T) {
	t.Parallel()
	u, listen := newOrdinaryUser(t), freeAddress(t)
	program := u.installTunhook()
	u.logInWithSystemd()
	commands := [2][]string{{program, "enable", "relay://127.0.0.1:9", listen}, {program, "disable", "relay://127.0.0.1:9", listen}}
	took := [2]time.Duration{u.run(commands[0]...).took, u.run(commands[1]...).took}
	is := 1
	for range 20 {
		p := u.start(commands[1-is]...)
		time.Sleep(rand.N(took[1-is]))
		p.signal(syscall.SIGKILL)
		p.wait(patience)
		is = rand.IntN(2)
		u.must(commands[is]...)
		state := strings.TrimSpace(u.systemctl("list-units", "--all", "--no-legend", "--plain", "tunhook-*"))
		if is == 0 && !strings.Contains(strings.Join(strings.Fields(state), " "), " active listening ") {
			t.Fatalf("enabled, the manager has %q", state)
		}
		if is == 0 { // the table of sockets may lack one while others come and go
			eventually(t, patience, "somebody listens", func() bool { return listens(t, listen) })
		}
		if is == 1 && (listens(t, listen) || state != "" || u.run("/usr/bin/test", "-e", u.path(".config")+"/systemd").status == 0) {
			t.Fatalf("disabled, the manager has %q", state)
		}
	}
	u.must(commands[1]...)
}
