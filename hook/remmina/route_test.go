package remmina

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestTargetReadsServersAsRemminaDoes(t *testing.T) {
	for _, tc := range []struct{ protocol, server, want string }{
		{"RDP", "desk.corp.example.com:3389", "desk.corp.example.com:3389"},
		{"RDP", "desk", "desk:3389"},
		{"RDP", "192.0.2.7", "192.0.2.7:3389"},
		{"RDP", "[2001:db8::1]:3390", "[2001:db8::1]:3390"},
		{"RDP", "[2001:db8::1]", "[2001:db8::1]:3389"},
		{"RDP", "2001:db8::1", "[2001:db8::1]:3389"},
		{"RDP", "[fe80::1%eth0]:3389", "[fe80::1%eth0]:3389"},
		{"RDP", "[desk]:3390", "desk:3390"},
		{"RDP", "bücher.example", "bücher.example:3389"},
		{"RDP", "desk:1", "desk:1"},
		{"RDP", " desk:3390 ", "desk:3390"},
		{"VNC", "kiosk", "kiosk:5900"},
		{"VNC", "kiosk:0", "kiosk:5900"},
		{"VNC", "kiosk:1", "kiosk:5901"},
		{"VNC", "kiosk:99", "kiosk:5999"},
		{"VNC", "kiosk:100", "kiosk:100"},
		{"VNC", "[2001:db8::1]:2", "[2001:db8::1]:5902"},
		{"GVNC", "kiosk", "kiosk:5900"},
		{"GVNC", "kiosk:1", "kiosk:1"},
		{"SSH", "shell:2222", "shell:2222"},
		{"SSH", "shell", "shell:22"},
		{"SFTP", "files", "files:22"},
		{"X2GO", "term", "term:22"},
		{"NX", "term:4000", "term:4000"},
	} {
		p := Profile{Protocol: tc.protocol, Server: Value{Now: "127.83.12.9:3389", Original: tc.server}}
		got, err := p.Target()
		if err != nil || got != tc.want {
			t.Errorf("%s %q: %q, %v; want %q", tc.protocol, tc.server, got, err, tc.want)
		}
	}
}

func TestTargetAsksForTheRouteWhereTheServerDoesNotSay(t *testing.T) {
	for _, tc := range []struct{ protocol, server, reason string }{
		{"RDP", "", "is empty"},
		{"RDP", "localhost:3389", "is this machine itself"},
		{"RDP", "LOCALHOST.", "is this machine itself"},
		{"RDP", "127.83.12.9:3389", "is this machine itself"},
		{"RDP", "[::1]:3389", "is this machine itself"},
		{"RDP", "::1", "is this machine itself"},
		{"RDP", "[::ffff:127.0.0.1]:3389", "is this machine itself"},
		{"RDP", "0.0.0.0:3389", "is this machine itself"},
		{"NX", "term", "has no port"},
		{"RDP", "desk:0", "has no port"},
		{"RDP", "desk:", "has no port number from 0 to 65535"},
		{"RDP", "desk:65536", "has no port number from 0 to 65535"},
		{"RDP", "desk:ms-wbt-server", "has no port number from 0 to 65535"},
		{"RDP", ":3389", "is no HOST:PORT"},
		{"RDP", "[2001:db8::1", "has an unclosed bracket"},
		{"RDP", "[2001:db8::1]3389", "is no HOST:PORT"},
		{"RDP", "a:b:c", "is no HOST:PORT"},
		{"RDP", "-oProxyCommand=reboot:22", "is no HOST:PORT"},
		{"RDP", "my desk:3389", "has a space or an invisible character in it"},
		{"RDP", "desk :3389", "has a space or an invisible character in it"},
		{"RDP", "desk: 3389", "has a space or an invisible character in it"},
		{"RDP", "desk\n:3389", "has a space or an invisible character in it"},
		{"RDP", "\u200bdesk:3389", "has a space or an invisible character in it"},
		{"VNC", "unix:///run/vnc.sock", "has no port number from 0 to 65535"},
		{"VNC", "ID:1234", "is a repeater's number"},
		{"WWW", "https://intra.example.com/", "has no port number from 0 to 65535"},
		{"VNC", "/run/vnc.sock:1", "is no HOST:PORT"},
		{"SSH", "ada@shell:22", "is no HOST:PORT"},
	} {
		p := Profile{Path: "/p", Protocol: tc.protocol, Server: Value{Original: tc.server}}
		got, err := p.Target()
		if refused := (*RouteError)(nil); !errors.As(err, &refused) || *refused != (RouteError{"/p", tc.server, tc.reason}) {
			t.Errorf("%s %q: %q, %v; want %q", tc.protocol, tc.server, got, err, tc.reason)
		}
	}
}

func TestReadyFitsTheProtocol(t *testing.T) {
	for protocol, want := range map[string]string{
		"RDP": "rdp", "VNC": "vnc", "GVNC": "vnc", "SSH": "ssh", "SFTP": "ssh", "X2GO": "ssh", "SPICE": "listen", "": "listen",
	} {
		for _, by := range []Way{ByHook, ByConnection} {
			if got := (Profile{Protocol: protocol}).Ready(by); got != want {
				t.Errorf("%q: %q, want %q", protocol, got, want)
			}
		}
	}
	machine := filepath.Join(t.TempDir(), "vm.remmina")
	if err := os.WriteFile(machine, []byte("[remmina]\nname=vm\nprotocol=RDP\nserver=host:2179\npreconnectionblob=6f9619ff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(machine)
	if err != nil || p.Ready(ByHook) != "listen" || p.Ready(ByConnection) != "rdp" {
		t.Errorf("of a virtual machine: %q, %q, %v", p.Ready(ByHook), p.Ready(ByConnection), err)
	}
}

// FuzzServer reads the servers of profiles: what comes out is a route's host, whatever stands there.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{"desk", "desk:3389", "[::1]:3389", "::1", "[::1%lo]:1", "-x:1", "a:b", "[", "desk ", "a\x1b:1", "/tmp/x:1", "http://x", "user@desk", "\xff:1", "desk:65536", ":1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, server string) {
		host, port, err := splitServer(server, 3389)
		if err != nil {
			return
		}
		if !isHost(host) || host[0] == '-' || strings.ContainsAny(host, " \t\n\x1b/@[]") || port < 0 || port > 65535 {
			t.Fatalf("%q is %q, %d", server, host, port)
		}
		again, samePort, err := splitServer(net.JoinHostPort(host, strconv.Itoa(port)), 1)
		if err != nil || again != host || samePort != port {
			t.Fatalf("%q is %q, %d; again %q, %d, %v", server, host, port, again, samePort, err)
		}
	})
}
