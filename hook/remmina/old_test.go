package remmina

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOldTunnelsAreRecognised(t *testing.T) {
	old := func(route string, after bool, args ...string) Old {
		return Old{Route: route, Args: args, Before: true, After: after}
	}
	for _, tc := range []struct {
		server, before, after string
		want                  Old // without a Route: not recognised
	}{
		// the script of Pomerium's guide, and its kind
		{"localhost:3390", "~/pomerium-tunnel.sh start desk:3389 3390", "~/pomerium-tunnel.sh stop desk:3389 3390", old("desk:3389", true)},
		{"localhost:3390", "bash /x/t.sh start desk:3389 :3390", "bash /x/t.sh stop desk:3389 :3390", old("desk:3389", true)},
		{"127.9.9.9:3389", "/usr/bin/tunhook start desk:3389 stable --ready rdp", "/usr/bin/tunhook stop desk:3389 stable", old("desk:3389", true)},
		{"localhost", "'/home/me/my tunnel.sh' start desk:3389 3389", "'/home/me/my tunnel.sh' stop desk:3389 3389", old("desk:3389", true)},
		{"localhost:3390", "t.sh start desk:3389 3391", "t.sh stop desk:3389 3391", Old{}},
		{"desk:3390", "t.sh start desk:3389 3390", "t.sh stop desk:3389 3390", Old{}},
		{"localhost:3390", "t.sh start %h 3390", "t.sh stop %h 3390", Old{}},
		// with something around it
		{"localhost:3390", `sh -c "/x/pom.sh start desk:3389 3390"`, `sh -c "/x/pom.sh stop desk:3389 3390"`, old("desk:3389", true)},
		{"localhost:3390", `bash -lc '$HOME/pom.sh start desk:3389 :3390 </dev/null >/dev/null 2>&1 &'`, "bash /x/pom.sh stop desk:3389 :3390", old("desk:3389", true)},
		{"localhost:3390", `/bin/bash -e -c "exec \"$(dirname ~/bin/x)/pom.sh\" start desk:3389 3390"`, `/bin/bash -c 'kill $(pgrep -f "tcp desk:3389")'`, old("desk:3389", true)},
		{"localhost:3390", "nohup /x/pom.sh start desk:3389 3390", "nohup /x/pom.sh stop desk:3389 3390", old("desk:3389", true)},
		{"localhost:3390", `nohup sh -c "setsid -f env LANG=C /x/pom.sh start desk:3389 3390; sleep 2"`, "/x/pom.sh stop desk:3389 3390", old("desk:3389", true)},
		{"localhost:3390", `sh -c "sh -c '(LC_ALL=C bash /x/pom.sh start desk:3389 3390 &)'; disown"`, "/x/pom.sh stop", old("desk:3389", true)},
		{"localhost:3390", "timeout -k 5 3600 nice -n 5 /x/pom.sh start desk:3389 3390", "logger bye", old("desk:3389", false)},
		{"localhost:3390", "systemd-run --user -u pom --collect /x/pom.sh start desk:3389 3390", "systemctl --user stop pom", Old{}},
		{"localhost:3390", "~/pom.sh start desk:3389 3390 &", "~/pom.sh stop desk:3389 3390", old("desk:3389", true)},
		{"localhost:3390", "/home/o'neil/pom.sh start desk:3389 3390", "/home/o'neil/pom.sh stop desk:3389 3390", old("desk:3389", true)},
		{"localhost:3390", "flatpak-spawn --host tunhook start desk:3389 3390", "flatpak-spawn --host tunhook stop desk:3389 3390", old("desk:3389", true)},
		{"localhost:3390", `sh -c "/x/pom.sh start $DESK 3390"`, `sh -c "/x/pom.sh stop $DESK 3390"`, Old{}},
		{"localhost:3390", `sh -c "nmcli con up vpn; /x/pom.sh start desk:3389 3390"`, "/x/pom.sh stop desk:3389 3390", Old{}},
		{"localhost:3390", `env -S "/x/pom.sh start desk:3389 3390"`, "/x/pom.sh stop desk:3389 3390", Old{}},
		{"localhost:3390", "nohup", "", Old{}},
		{"localhost:3390", `sh -c "HTTPS_PROXY=http://p:1 pomerium-cli tcp desk:3389 --listen localhost:3390"`, "", Old{}},
		{"localhost:3390", "env https_proxy=http://p:1 ssh -fNL 3390:desk:3389 gate", "", Old{}},
		{"localhost:3390", `sh -c 'LANG=$(/x/vpn-up.sh); /x/pom.sh start desk:3389 3390'`, "", Old{}},
		{"localhost:3390", `sh -c 'sleep $(/x/vpn-up.sh); /x/pom.sh start desk:3389 3390'`, "", Old{}},
		{"localhost:3390", `sh -c 'echo desk >/run/target; /x/pom.sh start desk:3389 3390'`, "", Old{}},
		// what starts something else, or from elsewhere
		{"localhost:3390", "ssh -f -L 3390:localhost:3390 gate ./pom.sh start desk:3389 3390", "", Old{}},
		{"localhost:3390", "docker exec box pom start desk:3389 3390", "", Old{}},
		{"localhost:3390", "VBoxManage start vm:win10 3390", "", Old{}},
		{"localhost:3390", "/x/vm.sh start vm:win10 3390", "", Old{}},
		{"localhost:3390", "logger start desk:3389 3390", "", Old{}},
		{"localhost:3390", "/x/gw.sh --profile corp start desk:3389 3390", "/x/gw.sh --profile corp stop desk:3389 3390", Old{}},
		{"localhost:3390", "/x/pom.sh start desk:3389 3390", "/x/other.sh stop desk:3389 3390", Old{}},
		{"localhost:3390", "pomerium-cli tcp desk:3389 --listen localhost:3390 --service-account-file=/home/%u/account", "", Old{}},
		// without one that ends it, or with another
		{"localhost:3390", "/x/pom.sh start desk:3389 3390", "", old("desk:3389", false)},
		{"localhost:3390", "/x/pom.sh start tcp+https://gate:8443/desk:3389 3390", "", old("tcp+https://gate:8443/desk:3389", false)},
		{"localhost:3390", "/x/pom.sh start desk:3389 3390", "pkill pomerium-cli", old("desk:3389", true)},
		{"localhost:3390", "/x/pom.sh start desk:3389 3390", "/x/pom.sh stop lab:3389 3390", Old{}},
		{"localhost:3390", "/x/pom.sh start desk:3389 3391", "", Old{}},
		// with arguments for the program
		{"localhost:3390", "tunhook start ssh://gw/desk:3389 stable --ready rdp -- -J bastion", "tunhook stop ssh://gw/desk:3389 stable", old("ssh://gw/desk:3389", true, "-J", "bastion")},
		{"localhost:3390", "/x/pom.sh start desk:3389 3390 --pomerium-url=https://p", "/x/pom.sh stop desk:3389 3390", Old{}},
		{"localhost:3390", `sh -c '/x/pom.sh start desk:3389 3390 --pomerium-url="$P"'`, "/x/pom.sh stop desk:3389 3390", Old{}},
		// ssh
		{"localhost:3390", "ssh -f -N -L 3390:desk:3389 me@gate", "", old("ssh://me@gate/desk:3389", false)},
		{"localhost:3390", "/usr/bin/ssh -fNTL3390:desk:3389 gate", "pkill -f 3390:desk", old("ssh://gate/desk:3389", true)},
		{
			"127.0.0.1:3390", "ssh -f -N -p 2222 -l me -i ~/.ssh/lab -o ExitOnForwardFailure=yes -o ServerAliveInterval=5 -C gate -L localhost:3390:desk:3389", "logger bye",
			old("ssh://me@gate:2222/desk:3389", false, "-i", "~/.ssh/lab", "-o", "ServerAliveInterval=5", "-C"),
		},
		{"[::1]:3390", "ssh -J a,b -f -N -L [::1]:3390:[2001:db8::1]:3389 gate", "killall ssh", old("ssh://gate/[2001:db8::1]:3389", true, "-J", "a,b")},
		{"localhost:3390", `bash -c "nohup ssh -N -L 3390:desk:3389 gate >/dev/null 2>&1 & sleep 3"`, "", old("ssh://gate/desk:3389", false)},
		{"localhost:3390", "ssh -f -L 3390:desk:3389 gate sleep 10", "", old("ssh://gate/desk:3389", false)},
		{"localhost:3390", "autossh -M 0 -f -N -L 3390:desk:3389 gate", "sh -c 'pkill autossh; sleep 1'", old("ssh://gate/desk:3389", true)},
		{"localhost:3390", "autossh -M 20000 -fN -L 3390:localhost:3389 gate", "", old("ssh://gate/localhost:3389", false)},
		{"localhost:3390", "flatpak-spawn --host ssh -fNL 3390:desk:3389 gate", "", old("ssh://gate/desk:3389", false)},
		{"localhost:3390", "env SSH_AUTH_SOCK=/x ssh -fN ssh://me@gate:2222 -L 3390:desk:3389", "ssh -O exit gate", old("ssh://me@gate:2222/desk:3389", true)},
		{"localhost:3390", "nohup ssh -fNL 3390:desk:3389 gate", "", old("ssh://gate/desk:3389", false)},
		{"localhost:3390", "ssh -f -N -L 3390:desk:3389 gate && sleep 2", "killall ssh; true", old("ssh://gate/desk:3389", true)},
		{"localhost:3390", `sh -c "ssh -fNL 3390:desk:3389 -i \"$HOME/lab\" gate"`, "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3391:desk:3389 gate", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3390:desk:3389 -D 1080 gate", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3390:desk:3389 -L 80:intra:80 gate", "", Old{}},
		{"localhost:3390", "ssh -f -L 3390:desk:3389 gate reboot", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3390:desk:3389", "", Old{}},
		{"localhost:3390", "ssh -f -N -L", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 0.0.0.0:3390:desk:3389 gate", "", old("ssh://gate/desk:3389", false)},
		{"localhost:3390", "ssh -f -N -L 192.0.2.7:3390:desk:3389 gate", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3390:-x:3389 gate", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3390:/run/x gate", "", Old{}},
		{"desk", "ssh -f -N -L 3390:desk:3389 gate", "", Old{}},
		{"localhost:3390", "bash -c 'nmcli con up vpn; ssh -fNL 3390:desk:3389 gate'", "", Old{}},
		{"localhost:3390", "bash -c 'ssh -fNL 3390:$HOST:3389 gate'", "", Old{}},
		{"localhost:3390", "ssh -f -N -L 3390:desk:3389 'gate", "", Old{}},
		// pomerium-cli
		{"localhost:3390", "pomerium-cli tcp desk:3389 --listen localhost:3390", "", old("desk:3389", false)},
		{
			"localhost:3390", `sh -c "pomerium-cli tcp --listen=:3390 --pomerium-url https://p.example.com --disable-tls-verification desk:3389 &"`, "pkill pomerium-cli",
			old("desk:3389", true, "--pomerium-url=https://p.example.com", "--disable-tls-verification"),
		},
		{"localhost:3390", "/opt/pomerium-cli tcp tcp+https://gate:8443/desk:3389 --listen 127.0.0.1:3390", "", old("tcp+https://gate:8443/desk:3389", false)},
		{"localhost:3390", "pomerium-cli tcp desk:3389", "", Old{}},
		{"localhost:3390", "pomerium-cli tcp desk:3389 --listen 127.0.0.1:3391", "", Old{}},
		{"localhost:3390", "pomerium-cli proxy --listen 127.0.0.1:3390", "", Old{}},
		{"localhost:3390", "systemctl start vpn", "systemctl stop vpn", Old{}},
		{"localhost:3390", "", "", Old{}},
	} {
		before, after := strings.ReplaceAll(tc.before, `\`, `\\`), strings.ReplaceAll(tc.after, `\`, `\\`)
		path := profileFile(t, fmt.Sprintf("[remmina]\nname=Desk\nprotocol=RDP\nserver=%s\nprecommand=%s\npostcommand=%s\n", tc.server, before, after))
		p, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.Old()
		if ok != (tc.want.Route != "") {
			t.Errorf("%s: recognised: %v, %+v", tc.before, ok, got)
			continue
		}
		if !ok {
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.before, diff)
		}
		if target, err := p.Target(); err != nil || target != tc.want.Route {
			t.Errorf("%s: the target is %q, %v", tc.before, target, err)
		}
		for _, tunnel := range []Tunnel{deskTunnel().byConnection(), deskTunnel()} {
			was := read(t, path)
			if !tc.want.After && tc.after != "" && tunnel.By == ByHook {
				continue // there is no room for it
			}
			r, err := Enable(path, tunnel, false)
			if err != nil || r.Profile.Before.Now == tc.before || tunnel.By == ByConnection && (r.Profile.After.Now == "") != (tc.want.After || tc.after == "") {
				t.Errorf("%s, %s: %+v, %v", tc.before, tunnel.By, r.Profile, err)
			}
			disable(t, path)
			if got := read(t, path); got != was {
				t.Errorf("%s: disabled it is %q", tc.before, got)
			}
		}
	}
}

func FuzzShellWords(f *testing.F) {
	for _, seed := range []string{`a "b c" 'd'`, `a\ b`, `"`, `sh -c "x & y"`, "a > b 2>&1 & c", `\`, "&>x y", "# x", "'a\"b'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, shell := range []bool{false, true} {
			all, ok := shellWords(text, shell)
			for _, words := range all {
				if len(words) == 0 || !ok {
					t.Fatalf("%q: %q, %v", text, all, ok)
				}
			}
		}
		p := Profile{Name: text, Protocol: "RDP", Server: Value{Original: "localhost"}, Before: Value{Original: text}, After: Value{Original: text}}
		if old, ok := p.Old(); ok && !old.plain() {
			t.Fatalf("%q: %+v", text, old)
		}
	})
}

// Remmina connects to port 5901 where a VNC server is localhost:1.
func TestOldTunnelsOfADisplayAreRecognised(t *testing.T) {
	for command, route := range map[string]string{
		"ssh -fNL 5901:kiosk:5900 gate":          "ssh://gate/kiosk:5900",
		"/x/pom.sh start kiosk:5900 5901":        "kiosk:5900",
		"ssh -fNL 1:kiosk:5900 gate":             "",
		"pomerium-cli tcp kiosk:5900 --listen 1": "",
	} {
		p := Profile{Protocol: "VNC", Server: Value{Original: "localhost:1"}, Before: Value{Now: command, Original: command}}
		if old, ok := p.Old(); old.Route != route || ok != (route != "") {
			t.Errorf("%s: %+v, %v; want the route %q", command, old, ok, route)
		}
		if port := p.OwnPort(); port != "5901" {
			t.Errorf("OwnPort() = %s", port)
		}
	}
}
