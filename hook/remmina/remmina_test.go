package remmina

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the .enabled and .connection files in testdata anew")

// tunnelFor is a tunnel by hook, with the command lines that the start and stop commands have for it.
func tunnelFor(p Profile, route, listen string) Tunnel {
	return Tunnel{
		Route: route, Listen: listen, By: ByHook,
		Before: []string{"/usr/bin/tunhook", "start", "--ready", p.Ready(ByHook), route, listen},
		After:  []string{"/usr/bin/tunhook", "stop", route, listen},
	}
}

// byConnection is the same tunnel, started by the connection.
func (t Tunnel) byConnection() Tunnel {
	return Tunnel{Route: t.Route, Listen: t.Listen, By: ByConnection}
}

// bothWays runs a test of each sample, by hook and by connection.
func bothWays(t *testing.T, test func(t *testing.T, name, data string, way func(Tunnel) Tunnel)) {
	t.Helper()
	for name, data := range samples(t) {
		t.Run(name, func(t *testing.T) { test(t, name, data, func(t Tunnel) Tunnel { return t }) })
		t.Run(name+" by connection", func(t *testing.T) { test(t, name, data, Tunnel.byConnection) })
	}
}

func deskTunnel() Tunnel {
	return tunnelFor(Profile{Protocol: "RDP"}, "desk.corp.example.com:3389", "127.83.12.9:3389")
}

// samples are the profiles in testdata: name to content.
func samples(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.remmina")
	if err != nil || len(paths) < 30 {
		t.Fatalf("%d profiles in testdata: %v", len(paths), err)
	}
	all := map[string]string{}
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), ".remmina")] = read(t, path)
	}
	return all
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// profileFile writes a profile of its own for a test.
func profileFile(t testing.TB, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "desk.remmina")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func enable(t testing.TB, path string, tunnel Tunnel) Result {
	t.Helper()
	result, err := Enable(path, tunnel, true)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func disable(t testing.TB, path string) Result {
	t.Helper()
	result, err := Disable(path)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// sampleTunnel is the tunnel that the command makes for a profile whose server says where to.
func sampleTunnel(t *testing.T, path string) Tunnel {
	t.Helper()
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	route, err := p.Target()
	if err != nil {
		route = "ssh://gate.example.com/desk:3389"
	}
	return tunnelFor(p, route, "127.83.12.9:5999")
}

func TestEnableChangesOnlyItsKeysAndDisableGivesTheVeryFileBack(t *testing.T) {
	bothWays(t, func(t *testing.T, name, data string, way func(Tunnel) Tunnel) {
		path := profileFile(t, data)
		tunnel := way(sampleTunnel(t, path))
		force := errors.As(Check(path, tunnel, false), new(*ForeignError))
		before, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		old, _ := before.Old()
		result, err := Enable(path, tunnel, force)
		if p := result.Profile; err != nil || !result.Changed || !p.Enabled || p.Route != tunnel.Route || p.By != tunnel.By {
			t.Errorf("enabled: %+v, %v", result, err)
		}
		enabled := read(t, path)
		golden := filepath.Join("testdata", name+map[Way]string{ByHook: ".enabled", ByConnection: ".connection"}[tunnel.By])
		if *update {
			if err := os.WriteFile(golden, []byte(enabled), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(read(t, golden), enabled); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", golden, diff)
		}
		checkRemminaUses(t, data, enabled, tunnel, force || old.Before && old.After)

		result = disable(t, path)
		if !result.Changed || result.Profile.Enabled || result.Profile.By != "" || result.Kept != nil {
			t.Errorf("disabled: %+v", result)
		}
		if diff := cmp.Diff(data, read(t, path)); diff != "" {
			t.Errorf("not what it was before (-want +got):\n%s", diff)
		}
	})
}

// checkRemminaUses makes sure, by the model, that Remmina would use the tunnel. original is what the profile was, whose own
// commands stay where the tunnel starts by connection, unless they were set aside.
func checkRemminaUses(t testing.TB, original, data string, tunnel Tunnel, aside bool) {
	t.Helper()
	raw, values := modelRaw(data), modelValues(data)
	if values["server"] != tunnel.Listen {
		t.Errorf("Remmina connects to %q, want %q", values["server"], tunnel.Listen)
	}
	for key, want := range map[string][]string{"precommand": tunnel.Before, "postcommand": tunnel.After} {
		if tunnel.By == ByConnection {
			if own := modelValues(original)[key]; !aside && values[key] != own || aside && values[key] != "" {
				t.Errorf("%s is %q, was %q", key, values[key], own)
			}
			continue
		}
		argv, err := remminaRuns(raw[key], values)
		if diff := cmp.Diff(want, argv); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", key, err, diff)
		}
	}
}

func TestDisableKeepsWhatRemminaChangedMeanwhile(t *testing.T) {
	changes := [][2]string{{"window_maximize", "0"}, {"username", "grace"}, {"name", "Renamed 50%h"}}
	bothWays(t, func(t *testing.T, _, data string, way func(Tunnel) Tunnel) {
		path := profileFile(t, data)
		enable(t, path, way(sampleTunnel(t, path)))
		saved := remminaSaves(read(t, path), changes)
		if err := os.WriteFile(path, []byte(saved), 0o600); err != nil {
			t.Fatal(err)
		}
		if result := disable(t, path); result.Kept != nil {
			t.Errorf("kept %v", result.Kept)
		}
		// As if the profile had never been enabled.
		if diff := cmp.Diff(remminaSaves(data, changes), read(t, path)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestEnableTwiceIsOneEnable(t *testing.T) {
	bothWays(t, func(t *testing.T, _, data string, way func(Tunnel) Tunnel) {
		path := profileFile(t, data)
		tunnel := way(sampleTunnel(t, path))
		first := enable(t, path, tunnel)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		// Its own commands, and those that it set aside, need no force.
		second, err := Enable(path, tunnel, false)
		if err != nil || second.Changed {
			t.Errorf("second enable: %+v, %v", second, err)
		}
		if diff := cmp.Diff(first.Profile, second.Profile); diff != "" {
			t.Errorf("another result (-first +second):\n%s", diff)
		}
		after, err := os.Stat(path)
		if err != nil || !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
			t.Errorf("the file was written again: %v", err)
		}
	})
}

func TestEnableWithAnotherRouteStillUndoesToTheOriginal(t *testing.T) {
	bothWays(t, func(t *testing.T, _, data string, way func(Tunnel) Tunnel) {
		path := profileFile(t, data)
		enable(t, path, way(sampleTunnel(t, path)))
		other := way(tunnelFor(Profile{}, "relay://other.example.com:5900", "127.0.0.1:5900"))
		result, err := Enable(path, other, false)
		if err != nil || !result.Changed || result.Profile.Route != other.Route {
			t.Errorf("%+v, %v", result, err)
		}
		checkRemminaUses(t, data, read(t, path), other, true)
		disable(t, path)
		if diff := cmp.Diff(data, read(t, path)); diff != "" {
			t.Errorf("not what it was before (-want +got):\n%s", diff)
		}
	})
}

// A profile that an earlier tunhook has enabled goes by hook: the .enabled files are of its form.
func TestAProfileIsMovedFromOneWayToTheOther(t *testing.T) {
	bothWays(t, func(t *testing.T, name, data string, way func(Tunnel) Tunnel) {
		path := profileFile(t, data)
		hook := sampleTunnel(t, path)
		first, second := way(hook), hook
		if first.By == ByHook {
			second = hook.byConnection()
		}
		enable(t, path, first)
		result, err := Enable(path, second, false)
		if err != nil || !result.Changed || result.Profile.By != second.By {
			t.Errorf("moved: %+v, %v", result, err)
		}
		checkRemminaUses(t, data, read(t, path), second, true)
		if second.By == ByHook && read(t, path) != read(t, filepath.Join("testdata", name+".enabled")) {
			t.Errorf("moved, it is\n%s", read(t, path))
		}
		disable(t, path)
		if diff := cmp.Diff(data, read(t, path)); diff != "" {
			t.Errorf("not what it was before (-want +got):\n%s", diff)
		}
	})
}

// TestAnEnabledProfileConnectsWithoutAProxy that Remmina's environment may name, until it is disabled, or somebody wants it otherwise.
func TestAnEnabledProfileConnectsWithoutAProxy(t *testing.T) {
	proxied := func(data, value string) string {
		_, rest, _ := strings.Cut(data, "[remmina]\n")
		return "[remmina]\nuseproxyenv=" + value + "\n" + rest
	}
	const plain = "[remmina]\nname=Desk\nprotocol=RDP\nserver=desk.corp.example.com\n"
	for _, way := range []func(Tunnel) Tunnel{func(t Tunnel) Tunnel { return t }, Tunnel.byConnection} {
		for value, want := range map[string]string{"1": "0", "true": "0", "0": "0", "": ""} {
			data := proxied(plain, value)
			path := profileFile(t, data)
			for range 2 {
				if p := enable(t, path, way(sampleTunnel(t, path))).Profile; p.ByProxy || p.Proxy.Now != want || p.Proxy.Original != value {
					t.Errorf("useproxyenv=%s, enabled: %+v", value, p.Proxy)
				}
			}
			if p := disable(t, path).Profile; read(t, path) != data || p.ByProxy != (want != value) {
				t.Errorf("useproxyenv=%s, disabled: %q", value, read(t, path))
			}
		}
		path := profileFile(t, proxied(plain, "1"))
		enable(t, path, way(sampleTunnel(t, path)))
		changed := strings.Replace(read(t, path), "\nuseproxyenv=0\n", "\nuseproxyenv=1\n", 1)
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := Load(path); err != nil || !p.ByProxy {
			t.Errorf("ticked again: %+v, %v", p, err)
		}
		if r := disable(t, path); read(t, path) != proxied(plain, "1") || len(r.Kept) > 0 {
			t.Errorf("ticked again, and disabled: %q, kept %q", read(t, path), r.Kept)
		}
	}
}

func TestDisableOfAProfileNotEnabledChangesNothing(t *testing.T) {
	for name, data := range samples(t) {
		path := profileFile(t, data)
		if result := disable(t, path); result.Changed || result.Profile.Path != path {
			t.Errorf("%s: %+v", name, result)
		}
		if read(t, path) != data {
			t.Errorf("%s: was changed", name)
		}
	}
}

func TestEnableRefusesForeignCommandsUnlessForced(t *testing.T) {
	const before, after = `nm-connection up "Corp VPN" %u`, `nm-connection down`
	for _, tc := range []struct{ name, before, after string }{
		{"both", before, after},
		{"before only", before, ""},
		{"after only", "", after},
		{"tunhook by hand", "tunhook start desk:3389 3389", "tunhook stop desk:3389 3389"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := fmt.Sprintf("[remmina]\nname=Desk\nserver=desk\nprecommand=%s\npostcommand=%s\n", tc.before, tc.after)
			path := profileFile(t, data)
			_, err := Enable(path, deskTunnel(), false)
			foreign := (*ForeignError)(nil)
			if !errors.As(err, &foreign) || *foreign != (ForeignError{path, tc.before, tc.after}) {
				t.Fatalf("%v", err)
			}
			for _, want := range []string{path, tc.before, tc.after, "--force"} {
				if !strings.Contains(err.Error(), strings.Trim(fmt.Sprintf("%q", want), `"`)) {
					t.Errorf("message %q does not show %q", err, want)
				}
			}
			if read(t, path) != data {
				t.Error("the file was changed")
			}
			p := enable(t, path, deskTunnel()).Profile
			if p.Before.Original != tc.before || p.After.Original != tc.after || !p.Before.Ours || !p.After.Ours {
				t.Errorf("%+v", p)
			}
			disable(t, path)
			if diff := cmp.Diff(data, read(t, path)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadTellsTheOriginalServerOfAnEnabledProfile(t *testing.T) {
	path := profileFile(t, "[remmina]\nname=\\sDesk\nprotocol=VNC\nserver=kiosk:1\n")
	enable(t, path, deskTunnel())
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Profile{
		Path: path, Name: " Desk", Protocol: "VNC", Enabled: true, By: ByHook, Route: "desk.corp.example.com:3389",
		Server: Value{Now: "127.83.12.9:3389", Original: "kiosk:1", Ours: true},
		Before: Value{
			Now:  "/usr/bin/tunhook start --ready rdp desk.corp.example.com:3389 127.83.12.9:3389",
			Ours: true,
		},
		After: Value{Now: "/usr/bin/tunhook stop desk.corp.example.com:3389 127.83.12.9:3389", Ours: true},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if target, err := p.Target(); target != "kiosk:5901" {
		t.Errorf("Target() = %q, %v", target, err)
	}
}

func TestWhatTheUserChangedMeanwhileIsTheirs(t *testing.T) {
	const data = "[remmina]\nname=Desk\nprotocol=RDP\nserver=desk\nprecommand=\n"
	path := profileFile(t, data)
	enable(t, path, deskTunnel())
	edited := remminaSaves(read(t, path), [][2]string{{"server", "newdesk:3390"}, {"precommand", "logger mine"}})
	if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(path)
	if target, _ := p.Target(); err != nil || target != "newdesk:3390" {
		t.Errorf("Target() = %q, %v", target, err)
	}
	if _, err := Enable(path, deskTunnel(), false); !errors.As(err, new(*ForeignError)) {
		t.Errorf("enable over the user's new command: %v", err)
	}
	enable(t, path, deskTunnel())
	if result := disable(t, path); result.Kept != nil {
		t.Errorf("kept %v after enabling again", result.Kept)
	}
	const want = "[remmina]\nname=Desk\nprotocol=RDP\nserver=newdesk:3390\nprecommand=logger mine\n"
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("enabled again and disabled (-want +got):\n%s", diff)
	}

	if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	result := disable(t, path)
	if diff := cmp.Diff([]string{"server", "precommand"}, result.Kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("disabled (-want +got):\n%s", diff)
	}
}

// Remmina saves a profile that it has in memory: then the values that enable wrote are gone, its other keys are not.
func TestARemminaThatWroteItsOldValuesBackIsUndoneQuietly(t *testing.T) {
	const data = "[remmina]\nname=Desk\nprotocol=RDP\nserver=desk\nprecommand=\npostcommand=\n"
	path := profileFile(t, data)
	enable(t, path, deskTunnel())
	saved := remminaSaves(read(t, path), [][2]string{{"server", "desk"}, {"precommand", ""}, {"postcommand", ""}})
	if err := os.WriteFile(path, []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	if result := disable(t, path); result.Kept != nil {
		t.Errorf("kept %v", result.Kept)
	}
	if diff := cmp.Diff(data, read(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNothingIsDoneThatCannotBeUndone(t *testing.T) {
	path := profileFile(t, "[remmina]\nname=Desk\nserver=desk\nprecommand=\n")
	enable(t, path, deskTunnel())
	enabled := read(t, path)
	for name, damaged := range map[string]string{
		"digests gone":     strings.Replace(enabled, "tunhook_wrote=", "was=", 1),
		"route gone":       strings.Replace(enabled, "tunhook_route=", "was=", 1),
		"digests empty":    enabled + "\n[remmina]\ntunhook_wrote=\n",
		"digests cut":      strings.Replace(enabled, "tunhook_wrote=", "tunhook_wrote=x\nwas=", 1),
		"original twice":   enabled + "tunhook_server=other\n",
		"only an original": "[remmina]\nname=Desk\ntunhook_precommand=x\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := profileFile(t, damaged)
			_, enableErr := Enable(path, deskTunnel(), true)
			_, disableErr := Disable(path)
			for _, err := range []error{enableErr, disableErr} {
				if !errors.As(err, new(*DamagedError)) {
					t.Errorf("%v, want a DamagedError", err)
				}
			}
			if read(t, path) != damaged {
				t.Error("the file was changed")
			}
		})
	}
}

func TestEnableRefusesWhatItCouldNotRestoreToTheByte(t *testing.T) {
	for _, data := range []string{"[remmina]\nname=Desk\nserver=desk\r", "[remmina]\nprecommand=x\r\r\nname=Desk\n"} {
		path := profileFile(t, data)
		if _, err := Enable(path, deskTunnel(), true); !errors.As(err, new(*FileError)) || read(t, path) != data {
			t.Errorf("%q: %v, want a FileError and no change", data, err)
		}
	}
}

func TestEnableRefusesServersThatRemminaReachesAnotherWay(t *testing.T) {
	for _, tc := range []struct {
		protocol, key, value string
		refused              bool
	}{
		{"RDP", "ssh_tunnel_enabled", "1", true},
		{"RDP", "ssh_tunnel_enabled", "true", true},
		{"RDP", "ssh_tunnel_enabled", "0", false},
		{"RDP", "ssh_tunnel_enabled", "false", false},
		{"RDP", "ssh_tunnel_server", "gate", false},
		{"VNC", "ssh_enabled", "1", true},
		{"RDP", "gateway_server", "gate.example.com", true},
		{"RDP", "gateway_server", "", false},
		{"VNC", "gateway_server", "gate.example.com", false},
		{"VNC", "proxy", "repeater:5901", true},
		{"SSH", "ssh_proxycommand", "nc %h %p", true},
	} {
		data := fmt.Sprintf("[remmina]\nname=Desk\nprotocol=%s\nserver=desk\n%s=%s\n", tc.protocol, tc.key, tc.value)
		path := profileFile(t, data)
		for _, tunnel := range []Tunnel{deskTunnel(), deskTunnel().byConnection()} {
			_, err := Enable(path, tunnel, true)
			detour := (*DetourError)(nil)
			if errors.As(err, &detour) != tc.refused || !tc.refused && err != nil {
				t.Errorf("%s %s=%s: %v", tc.protocol, tc.key, tc.value, err)
			}
			if tc.refused && (detour.Path != path || detour.Key != tc.key || detour.Value != tc.value || read(t, path) != data) {
				t.Errorf("%s %s=%s: %v, or the file was changed", tc.protocol, tc.key, tc.value, err)
			}
			disable(t, path)
		}
	}
}

func TestRemminasOwnSSHTunnelIsNamedAsARoute(t *testing.T) {
	for _, tc := range []struct{ profile, route string }{
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=rack.example.org:2222\nssh_tunnel_username=lab-bot", "ssh://lab-bot@rack.example.org:2222/win-7:3389"},
		{"server=win-7:3390\nssh_tunnel_enabled=1\nssh_tunnel_server=rack\nssh_tunnel_loopback=1", "ssh://rack/127.0.0.1:3390"},
		{"server=win-7\nssh_tunnel_enabled=1", "ssh://win-7/win-7:3389"},
		{"server=[2001:db8::1]\nssh_enabled=1\nssh_server=gate\nssh_username=me", "ssh://me@gate/[2001:db8::1]:3389"},
		{"protocol=VNC\nserver=win-7:1\nssh_tunnel_enabled=1\nssh_tunnel_server=gate", "ssh://gate/win-7:5901"}, // a display
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=gate \nssh_tunnel_username=me@corp", "ssh://me%40corp@gate/win-7:3389"},
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=me@gate:2222", "ssh://me@gate:2222/win-7:3389"},
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=[2001:db8::2]:2222\nssh_tunnel_username=me", "ssh://me@[2001:db8::2]:2222/win-7:3389"},
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=2001:db8::2", "ssh://[2001:db8::2]/win-7:3389"},
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=gate\nssh_tunnel_username=DOM\\\\me", ""},
		{"server=win-7\nssh_tunnel_enabled=1\nssh_tunnel_server=gate/x", ""},
		{"server=win-7\ngateway_server=gate", ""},
		{"ssh_tunnel_enabled=1\nssh_tunnel_server=gate", ""},
	} {
		_, err := Enable(profileFile(t, "[remmina]\nname=Desk\nprotocol=RDP\n"+tc.profile+"\n"), deskTunnel(), false)
		detour := (*DetourError)(nil)
		if !errors.As(err, &detour) || detour.Route != tc.route || strings.Contains(err.Error(), "--route "+tc.route) != (tc.route != "") {
			t.Errorf("%q: %v, want the route %q", tc.profile, err, tc.route)
		}
	}
}

func TestEnableRefusesPluginsThatConnectToNoServer(t *testing.T) {
	for protocol, says := range map[string]string{"WWW": "web page", "EXEC": "program", "VNCI": "listens", "XDMCP": "UDP"} {
		data := "[remmina]\nname=Thing\nserver=desk\nprotocol=" + protocol + "\n"
		path := profileFile(t, data)
		for _, tunnel := range []Tunnel{deskTunnel(), deskTunnel().byConnection()} {
			_, err := Enable(path, tunnel, true)
			if refused := (*ServerlessError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), says) || read(t, path) != data {
				t.Errorf("%s: %v, want a ServerlessError that speaks of %q, and no change", protocol, err, says)
			}
		}
	}
}

// By connection a profile's own commands have their place: one may bring a VPN up.
func TestByConnectionTheProfilesOwnCommandsStay(t *testing.T) {
	const data = "[remmina]\nname=Desk\nserver=desk\nprecommand=nm-connection up \"Corp VPN\"\npostcommand=\n"
	path := profileFile(t, data)
	tunnel := deskTunnel().byConnection()
	result, err := Enable(path, tunnel, false)
	if p := result.Profile; err != nil || p.Before.Ours || p.Before.Now != `nm-connection up "Corp VPN"` {
		t.Fatalf("%+v, %v", result, err)
	}
	if _, err := Enable(path, deskTunnel(), false); !errors.As(err, new(*ForeignError)) {
		t.Errorf("by hook, without force: %v, want a ForeignError", err)
	}
	// A change by hand meanwhile is theirs, and no matter for disable.
	if err := os.WriteFile(path, []byte(strings.Replace(read(t, path), "Corp", "Lab", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if result := disable(t, path); result.Kept != nil {
		t.Errorf("kept %v", result.Kept)
	}
	if diff := cmp.Diff(strings.Replace(data, "Corp", "Lab", 1), read(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatWasSetAsideStaysSoUntilDisable(t *testing.T) {
	const data = "[remmina]\nname=Desk\nserver=desk\nprecommand=logger up\npostcommand=logger down\n"
	path := profileFile(t, data)
	for _, tunnel := range []Tunnel{deskTunnel().byConnection(), deskTunnel(), deskTunnel().byConnection()} {
		enable(t, path, tunnel)
		p, err := Load(path)
		if err != nil || p.Before.Original != "logger up" || p.Before.Now == "logger up" || p.After.Now == "logger down" {
			t.Errorf("%s: %+v, %v", tunnel.By, p, err)
		}
		if _, err := Enable(path, tunnel, false); err != nil {
			t.Errorf("%s again, without force: %v", tunnel.By, err)
		}
	}
	disable(t, path)
	if diff := cmp.Diff(data, read(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Two that start a tunnel, each for another address, would be one too many.
func TestByConnectionCommandsThatStartATunnelAreRefused(t *testing.T) {
	for _, tc := range []struct {
		server, before, after string
		refused               bool
		target                string
	}{
		{"localhost:3390", "/home/me/pom.sh start desk:3389 localhost:3390", "/home/me/pom.sh stop desk:3389 localhost:3390", false, "desk:3389"},
		{"127.0.0.1:3390", "bash pom.sh start ssh://gate/desk:3389 3390", "bash pom.sh stop ssh://gate/desk:3389 3390", false, "ssh://gate/desk:3389"},
		{"127.9.9.9:3389", "/usr/bin/tunhook start desk:3389 stable --ready rdp", "/usr/bin/tunhook stop desk:3389 stable", false, "desk:3389"},
		{"desk", "tunhook start %p", "tunhook stop %p", true, "desk:3389"},
		{"127.9.9.9:3389", "tunhook start %p", "tunhook stop %p", true, ""},
		{"desk", "systemctl start vpn", "systemctl stop vpn", false, "desk:3389"},
		{"localhost:3390", "systemctl start vpn", "systemctl stop vpn", false, ""},
		{"localhost:3390", "pom.sh start desk:3389 3391", "pom.sh stop desk:3389 3391", false, ""},
		{"localhost:3390", "pom.sh start desk:3389 3390", "other.sh stop desk:3389 3390", false, ""},
		{"localhost:3390", "pom.sh start desk:3389 3390", "pom.sh stop lab:3389 3390", false, ""},
		{"localhost:3390", "pom.sh start desk:3389 3390", "", false, "desk:3389"},
		{"localhost:3390", "pom.sh start ", "pom.sh stop ", false, ""},
	} {
		path := profileFile(t, fmt.Sprintf("[remmina]\nname=Desk\nprotocol=RDP\nserver=%s\nprecommand=%s\npostcommand=%s\n", tc.server, tc.before, tc.after))
		p, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if target, err := p.Target(); target != tc.target || (err == nil) != (tc.target != "") {
			t.Errorf("%+v: the target is %q, %v", tc, target, err)
		}
		tunnel := deskTunnel().byConnection()
		if _, err := Enable(path, tunnel, false); errors.As(err, new(*ForeignError)) != tc.refused || !tc.refused && err != nil {
			t.Errorf("%+v: %v", tc, err)
		}
		if tc.refused {
			p := enable(t, path, tunnel).Profile
			if target, _ := p.Target(); p.Before.Now != "" || p.After.Now != "" || target != tc.target {
				t.Errorf("%+v: forced, %+v", tc, p)
			}
		}
	}
}

func TestEnableRefusesAddressesThatRemminaReadsOtherwise(t *testing.T) {
	for _, tc := range []struct{ protocol, listen string }{
		{"RDP", ""},
		{"RDP", "3389"},
		{"RDP", ":3389"},
		{"RDP", "127.0.0.1"},
		{"RDP", "127.0.0.1:0"},
		{"RDP", "localhost:3389"},
		{"RDP", "127.0.0.1:65536"},
		{"RDP", "auto"},
		{"VNC", "127.0.0.1:99"},
	} {
		path := profileFile(t, "[remmina]\nname=Desk\nserver=desk\nprotocol="+tc.protocol+"\n")
		_, err := Enable(path, tunnelFor(Profile{}, "desk:3389", tc.listen), false)
		if !errors.As(err, new(*ListenError)) {
			t.Errorf("%s %q: %v, want a ListenError", tc.protocol, tc.listen, err)
		}
	}
	for _, listen := range []string{"[::1]:3389", "127.0.0.1:99", "192.0.2.1:3389"} {
		path := profileFile(t, "[remmina]\nname=Desk\nserver=desk\nprotocol=RDP\n")
		if _, err := Enable(path, tunnelFor(Profile{}, "desk:3389", listen), false); err != nil {
			t.Errorf("RDP %q: %v", listen, err)
		}
	}
}

func TestEnableRefusesCommandsThatCannotBeWritten(t *testing.T) {
	const data = "[remmina]\nname=Desk\nserver=desk\n"
	for name, spoil := range map[string]func(*Tunnel){
		"before": func(t *Tunnel) { t.Before[0] = "/opt/caf\xe9/tunhook" },
		"after":  func(t *Tunnel) { t.After = nil },
	} {
		path := profileFile(t, data)
		tunnel := deskTunnel()
		spoil(&tunnel)
		if _, err := Enable(path, tunnel, false); !errors.As(err, new(*QuoteError)) || read(t, path) != data {
			t.Errorf("%s: %v, want a QuoteError and no change", name, err)
		}
	}
}

func TestFilesThatAreNoProfilesAreRefusedByName(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range map[string]string{"empty": "", "text": "hello\n", "nameless": "[remmina]\nserver=x\n"} {
		if err := os.WriteFile(path(name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"dangling": "nowhere", "loop": "loop"} {
		if err := os.Symlink(target, path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		dir, path("empty"), path("text"), path("nameless"), path("dangling"), path("loop"), path("missing"), path("text/x"), "/dev/null",
	} {
		_, enableErr := Enable(path, deskTunnel(), true)
		_, disableErr := Disable(path)
		_, loadErr := Load(path)
		for _, err := range []error{enableErr, disableErr, loadErr} {
			failed := (*FileError)(nil)
			if !errors.As(err, &failed) || failed.Path != path || failed.Hint == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if _, err := Load(path("missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestAReadOnlyProfileIsLeftAlone(t *testing.T) {
	const data = "[remmina]\nname=Desk\nserver=desk\n"
	path := profileFile(t, data)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	_, err := Enable(path, deskTunnel(), true)
	failed := (*WriteError)(nil)
	if !errors.As(err, &failed) || failed.Path != path || !errors.Is(err, fs.ErrPermission) || read(t, path) != data {
		t.Errorf("%v, want a WriteError and no change", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWritingKeepsModeAndFollowsLinks(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o664} {
		target := profileFile(t, "[remmina]\nname=Desk\nserver=desk\n")
		if err := os.Chmod(target, mode); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link.remmina")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if p := enable(t, link, deskTunnel()).Profile; p.Path != link {
			t.Errorf("Path is %q, want the link as it was named", p.Path)
		}
		checkRemminaUses(t, "[remmina]\nname=Desk\n", read(t, target), deskTunnel(), true)
		if info, err := os.Stat(target); err != nil || info.Mode() != mode {
			t.Errorf("mode is %v, want %v: %v", info.Mode(), mode, err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("the link is %v: %v", info.Mode(), err)
		}
		if left, err := os.ReadDir(filepath.Dir(target)); err != nil || len(left) != 1 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestWritingAsRootKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := profileFile(t, "[remmina]\nname=Desk\nserver=desk\n")
	if err := os.Chown(path, 12345, 54321); err != nil {
		t.Skip(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	enable(t, path, deskTunnel())
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, a := owner(t, before), owner(t, after); b != a {
		t.Errorf("owner was %v, is %v", b, a)
	}
}

// profile draws files that Remmina would open, with the keys that matter in every number and place.
func profile() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		blank := rapid.SampledFrom([]string{"", "", "", " ", "\t"})
		key := rapid.SampledFrom([]string{"server", "precommand", "postcommand", "name", "username", "x-other"})
		value := rapid.StringOfN(rapid.RuneFrom([]rune(`abc:0 \sn%h'"#=[]é`)), 0, 8, -1)
		body := rapid.Custom(func(t *rapid.T) string {
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				return "# comment"
			case 1:
				return blank.Draw(t, "blank")
			case 2:
				return rapid.SampledFrom([]string{"[remmina]", "[other]", " [remmina] "}).Draw(t, "group")
			}
			return blank.Draw(t, "indent") + key.Draw(t, "key") + blank.Draw(t, "left") + "=" + blank.Draw(t, "right") + value.Draw(t, "value")
		})
		lines := append([]string{"[remmina]"}, rapid.SliceOfN(body, 0, 12).Draw(t, "lines")...)
		lines = append(lines, "[remmina]", "name=Desk")
		var data strings.Builder
		for i, l := range lines {
			data.WriteString(l)
			if i < len(lines)-1 || rapid.Bool().Draw(t, "finished") {
				data.WriteString(rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"))
			}
		}
		return data.String()
	})
}

func TestAnyHistoryIsUndone(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		data := profile().Draw(rt, "profile")
		path := filepath.Join(dir, "desk.remmina")
		write := func(data string) {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		write(data)
		want := data
		for range rapid.IntRange(1, 4).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "remmina saves") {
				changes := [][2]string{{"window_maximize", "0"}, {"x-other", argument().Draw(rt, "value")}}
				now, err := os.ReadFile(path)
				if err != nil {
					rt.Fatal(err)
				}
				write(remminaSaves(string(now), changes))
				want = remminaSaves(want, changes)
			}
			tunnel := tunnelFor(Profile{}, "r"+argument().Draw(rt, "route"), "127.0.0.1:3389")
			if rapid.Bool().Draw(rt, "by connection") {
				tunnel = tunnel.byConnection()
			}
			force := rapid.Bool().Draw(rt, "force")
			result, err := Enable(path, tunnel, force)
			if errors.As(err, new(*ForeignError)) && !force {
				continue
			}
			if err != nil || result.Profile.By != tunnel.By || result.Profile.Route != tunnel.Route {
				rt.Fatal(result, err)
			}
		}
		if _, err := Disable(path); err != nil {
			rt.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			rt.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func owner(t *testing.T, info fs.FileInfo) [2]uint32 {
	t.Helper()
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Skip("no owners here")
	}
	return [2]uint32{stat.Uid, stat.Gid}
}
