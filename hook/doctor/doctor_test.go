package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/hook/sessionbus/bustest"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// patient is how long programs and buses are waited for here that never answer; others get far more than they need.
const patient = 3 * time.Second

// fake is a machine of which nothing is real but its kernel.
type fake struct {
	Machine
	t   *testing.T
	dir string
}

func newFake(t *testing.T, environ ...string) *fake {
	t.Helper()
	f := &fake{t: t, dir: t.TempDir()}
	config := f.path("config.toml")
	environ = append([]string{"HOME=" + f.dir, "PATH=" + f.path("bin") + ":/usr/bin:/bin"}, environ...)
	f.Machine = Machine{
		Hook: &hook.Env{
			Config: func() *tunnel.Config { return tunnel.LoadConfig(config) },
			RunDir: f.path("run"), LogDir: f.path("log"), ConfigHome: f.path("config"), Self: f.program("tunhook", "exit 0"),
			Environ: environ, Now: time.Now,
		},
		Config:   []string{config},
		Profiles: []remmina.Dir{{Path: f.path("remmina")}},
		Remmina:  remmina.Machine{Root: f.dir, DataHome: f.dir, Path: f.path("bin"), Environ: environ},
		Patience: tunneltest.Patience,
	}
	f.program("pomerium-cli", "echo pomerium-cli version v0.29.4")
	f.program("systemctl", "echo Failed to connect to bus >&2; exit 1")
	return f
}

func (f *fake) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

func (f *fake) write(name, text string, mode os.FileMode) (path string) {
	f.t.Helper()
	path = f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	syscall.ForkLock.RLock() // what is forked meanwhile would have the program open: then it cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *fake) program(name, script string) string {
	return f.write("bin/"+name, "#!/bin/sh\n"+script+"\n", 0o700)
}

func (f *fake) profile(name, keys string) {
	f.write("remmina/"+name+".remmina", "[remmina]\nname="+name+"\nprotocol=RDP\n"+keys, 0o600)
}

// see gives the remarks of the checks but the well ones, as "check level fact".
func (f *fake) see(scope Scope) []string {
	f.t.Helper()
	return amiss(f.Examine(context.Background(), scope))
}

func amiss(reports []Report) []string {
	var all []string
	for _, report := range reports {
		for _, r := range report.Remarks {
			if r.Level != Well {
				all = append(all, fmt.Sprintf("%s %s %s", report.Name, r.Level, reflect.TypeOf(r.Fact).Name()))
			}
		}
	}
	return all
}

// bare are the notes on a machine without a desktop.
var bare = []string{"bus note NoBus", "notifications note NoNotifier", "manager note NoManager", "remmina note NoRemmina"}

func (f *fake) wants(scope Scope, more ...string) {
	f.t.Helper()
	got := f.see(scope)
	if scope == (Scope{}) {
		got = slices.DeleteFunc(got, func(s string) bool { return slices.Contains(bare, s) })
	}
	slices.Sort(got)
	slices.Sort(more)
	if !slices.Equal(got, more) {
		f.t.Errorf("got %q, want %q", got, more)
	}
}

func TestABareMachineIsWell(t *testing.T) {
	f := newFake(t)
	if got := f.see(Scope{}); !slices.Equal(got, bare) {
		t.Errorf("%q", got)
	}
	if _, err := os.Lstat(f.path("run")); err == nil {
		t.Error("a directory was made")
	}
}

func TestOnADesktopABusIsMissed(t *testing.T) {
	f := newFake(t, "DISPLAY=:7")
	got := f.see(Scope{})
	if !slices.Contains(got, "bus finding NoBus") || slices.Contains(got, "notifications finding NoNotifier") {
		t.Errorf("%q", got)
	}
}

func TestAKernelThatLacksSomething(t *testing.T) {
	for want, kernel := range map[string]System{
		"kernel finding NoHandles":  {Handles: func() error { return syscall.ENOSYS }},
		"kernel finding Blind":      {Sockets: func() (bool, error) { return false, syscall.EPERM }},
		"kernel note SlowSockets":   {Sockets: func() (bool, error) { return false, nil }},
		"kernel finding NoLoopback": {Loopback: func(netip.AddrPort) error { return syscall.EADDRNOTAVAIL }},
	} {
		f := newFake(t)
		f.Kernel = kernel
		if runtime.GOOS == "linux" { // elsewhere some of it is usual
			f.wants(Scope{}, want)
		}
	}
}

// TestTheManagersEnvironment: what the desktop has and the manager does not, and a program that is not on the desktop's PATH.
func TestTheManagersEnvironment(t *testing.T) {
	f := newFake(t, "DISPLAY=:7", "WAYLAND_DISPLAY=wayland-0")
	f.program("systemctl", `case $* in *show-environment*) echo PATH=/nowhere;; *UnitPath*) echo '`+f.path("config", "systemd", "user")+`';; esac`)
	f.profile("desk", "server=desk:3389\n")
	enable := remmina.Tunnel{
		Route: "desk:3389", Listen: "127.8.7.6:3389", By: remmina.ByHook,
		Before: []string{f.Hook.Self, "start", "desk:3389", "127.8.7.6:3389"}, After: []string{f.Hook.Self, "stop", "desk:3389", "127.8.7.6:3389"},
	}
	if _, err := remmina.Enable(f.path("remmina", "desk.remmina"), enable, false); err != nil {
		t.Fatal(err)
	}
	lacking := []string{}
	for _, report := range f.Examine(context.Background(), Scope{}) {
		for _, r := range report.Remarks {
			if lacks, ok := r.Fact.(ManagerLacks); ok {
				lacking = lacks.Names
			}
		}
	}
	if !slices.Equal(lacking, []string{"DISPLAY", "WAYLAND_DISPLAY"}) {
		t.Errorf("the manager lacks %q", lacking)
	}
	if got := f.see(Scope{}); !slices.Contains(got, "programs finding NotOnDesktop") || !slices.Contains(got, "manager note ManagerLacks") {
		t.Errorf("%q", got)
	}
	f.program("systemctl", `case $* in *show-environment*) printf 'PATH=`+f.path("bin")+`\nDISPLAY=:7\n';; *UnitPath*) echo '`+f.path("config", "systemd", "user")+`';; esac`)
	if got := f.see(Scope{}); slices.Contains(got, "programs finding NotOnDesktop") || slices.Contains(got, "manager note ManagerLacks") {
		t.Errorf("%q", got)
	}
}

func TestNotificationServers(t *testing.T) {
	for name, tc := range map[string]struct {
		owned     bool
		startable []string
		want      []string
	}{
		"runs":      {true, nil, nil},
		"startable": {false, []string{"org.freedesktop.Notifications"}, nil},
		"none":      {false, []string{"org.freedesktop.DBus"}, []string{"notifications finding NoNotifier"}},
	} {
		t.Run(name, func(t *testing.T) {
			bus := bustest.Start(t, func(_ *bustest.Bus, c bustest.Call) ([]any, *dbus.Error) {
				switch c.Method {
				case "org.freedesktop.DBus.NameHasOwner":
					return []any{tc.owned}, nil
				case "org.freedesktop.DBus.ListActivatableNames":
					return []any{tc.startable}, nil
				case "org.freedesktop.Notifications.GetServerInformation":
					return []any{"dunst", "knopwob", "1.9", "1.2"}, nil
				}
				t.Errorf("%s was called", c.Method)
				return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", nil)
			})
			f := newFake(t, append(bus.Environ(), "DISPLAY=:7")...)
			f.wants(Scope{}, tc.want...)
		})
	}
}

// TestNothingHangs whatever does not answer: a bus, systemctl, pomerium-cli, Remmina.
func TestNothingHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	f := newFake(t, "DBUS_SESSION_BUS_ADDRESS=unix:path="+socket)
	f.Patience = patient
	for _, name := range []string{"systemctl", "pomerium-cli", "remmina"} {
		f.program(name, "exec sleep 1000")
	}
	f.wants(Scope{}, "bus finding NoBus", "manager finding NoManager", "programs finding Silent")
}

func TestDirectoriesThatAreNoPlace(t *testing.T) {
	f := newFake(t)
	f.write("run", "", 0o600)
	f.wants(Scope{}, "directories finding Fault", "records note Skipped")
	f = newFake(t)
	if err := os.Mkdir(f.path("log"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.wants(Scope{}, "directories finding Fault")
}

func TestProgramsByAge(t *testing.T) {
	for said, want := range map[string]string{
		"pomerium-cli version v0.28.9": "programs finding Old", "v0.9": "programs finding Old", "pomerium-cli version v0.29.0": "", "v0.30.1-1+g": "",
		"v1.0.0": "", "v0.0.0-dev": "", "built from source": "", "": "",
	} {
		f := newFake(t)
		f.program("pomerium-cli", "echo '"+said+"'")
		if want == "" {
			f.wants(Scope{})
		} else {
			f.wants(Scope{}, want)
		}
	}
}

func TestProgramsThatAreMissed(t *testing.T) {
	f := newFake(t)
	f.write("config.toml", "[tunnel.desk]\nroute = \"chisel://gw/desk:3389\"\n", 0o600)
	f.wants(Scope{}, "programs finding NoProgram")
	f.wants(Scope{Route: "desk"}, "programs finding NoProgram")
	f.wants(Scope{Route: "relay://desk:3389"})
	f.wants(Scope{Route: "gopher://desk:3389"}, "routes finding Fault")
	if err := os.Remove(f.path("bin", "pomerium-cli")); err != nil {
		t.Fatal(err)
	}
	f.wants(Scope{}, "programs finding NoProgram", "programs note NoProgram")
}

func TestAddressTakenByAWildcard(t *testing.T) {
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	f := newFake(t)
	f.write("config.toml", "[tunnel.desk]\nroute = \"relay://127.0.0.1:9\"\nlisten = \"127.9.8.7:"+port+"\"\n", 0o600)
	f.wants(Scope{}, "addresses finding Fault")
	f.wants(Scope{Route: "desk"}, "addresses finding Fault")
}

func TestProfilesThatDoNotWork(t *testing.T) {
	f := newFake(t)
	f.program("remmina", "echo 'org.remmina.Remmina - 1.4.43 (git n/a)'")
	f.profile("plain", "server=desk:3389\n")
	f.profile("script", "server=localhost:3389\nprecommand=/bin/hook start desk:3389 3389\npostcommand=/bin/hook stop desk:3389 3389\n")
	f.profile("pipe", "server=desk:3389\nprecommand=/bin/echo a | /bin/cat\n")
	f.profile("quote", "server=desk:3389\npostcommand=/bin/echo \"a\n")
	f.profile("gone", "server=desk:3389\nprecommand=/gone/hook\n")
	f.profile("byhand", "server=desk:3389\nprecommand="+f.Hook.Self+" start desk:3389 3389\n")
	f.write("remmina/junk.remmina", "junk\n", 0o600)
	f.wants(
		Scope{}, "profiles finding Command", "profiles finding Command", "profiles finding Command", "profiles finding Command",
		"profiles finding Fault", "profiles finding Unserved",
	)
	p, err := remmina.Find("pipe", f.dir, f.Profiles)
	if err != nil {
		t.Fatal(err)
	}
	f.wants(Scope{Profile: &remmina.Entry{Profile: p}}, "profiles finding Command")
}

// TestWhatEnablingTakes so that it is not refused, and the command that was told is not run beside it.
func TestWhatEnablingTakes(t *testing.T) {
	for name, tc := range map[string]struct {
		keys string
		want Enabling
	}{
		"a server and a command that is not known": {"server=desk:3389\nprecommand=/gone/x\n", Enabling{Force: true}},
		"no server":              {"server=localhost:3389\nprecommand=/bin/echo \"a\n", Enabling{NoRoute: true, Force: true}},
		"ssh that is taken over": {"server=localhost:3390\nprecommand=ssh -f -N -L 3390:desk:3389 gw\n", Enabling{}},
		"ssh that is not":        {"server=localhost:3390\nprecommand=ssh -M -S /x -f -N -L 3390:desk:3389 gw\n", Enabling{NoRoute: true, Force: true}},
		"a script with a route of a client's": {
			"server=localhost:3390\nprecommand=/x/hook start https://gw:443 3390\npostcommand=/x/hook stop https://gw:443 3390\n", Enabling{NoRoute: true},
		},
		"a detour": {"server=desk:3389\nssh_tunnel_enabled=1\nprecommand=/gone/x\n", Enabling{Refused: &remmina.DetourError{}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.profile("desk", tc.keys)
			var got []Enabling
			for _, report := range f.Examine(context.Background(), Scope{}) {
				for _, r := range report.Remarks {
					if command, ok := r.Fact.(Command); ok {
						got = append(got, command.Enabling)
					}
				}
			}
			if len(got) != 1 || reflect.TypeOf(got[0].Refused) != reflect.TypeOf(tc.want.Refused) {
				t.Fatalf("%+v, want %+v", got, tc.want)
			}
			if got[0].Refused = tc.want.Refused; got[0] != tc.want {
				t.Errorf("%+v, want %+v", got[0], tc.want)
			}
		})
	}
}

func TestAProfileOfTheSameNameIsNamedByItsFile(t *testing.T) {
	f := newFake(t)
	f.profile("desk", "server=desk:3389\nprecommand=/gone/x\n")
	f.write("remmina/other.remmina", "[remmina]\nname=desk\nprotocol=RDP\nserver=other:3389\n", 0o600)
	seen := false
	for _, report := range f.Examine(context.Background(), Scope{}) {
		for _, r := range report.Remarks {
			command, ok := r.Fact.(Command)
			if seen = seen || ok; ok && !command.Enabling.ByFile {
				t.Errorf("%+v", command)
			}
		}
	}
	if !seen {
		t.Error("no command was remarked on")
	}
}

// TestAProgramThatProfilesCallIsNeeded before they are enabled, too.
func TestAProgramThatProfilesCallIsNeeded(t *testing.T) {
	f := newFake(t)
	f.profile("desk", "server=localhost:3390\nprecommand=/x/hook start desk:3389 3390\npostcommand=/x/hook stop desk:3389 3390\n")
	if err := os.Remove(f.path("bin", "pomerium-cli")); err != nil {
		t.Fatal(err)
	}
	f.wants(Scope{}, "programs finding NoProgram", "profiles finding Command")
}

// TestATriedRemminaIsTakenByWhatItDoes and not by its version; one that cannot be tried by that.
func TestATriedRemminaIsTakenByWhatItDoes(t *testing.T) {
	const (
		version = `[ "$1" != --version ] || { echo "org.remmina.Remmina - VERSION (git n/a)"; exit; }` + "\n"
		hook    = `eval "$(sed -n "s/^precommand=//p" "$2")"` + "\n"
		connect = `server=$(sed -n "s/^server=//p" "$2"); exec /bin/bash -c "exec 3<>/dev/tcp/${server%:*}/${server#*:}; sleep 300"` + "\n"
	)
	for name, tc := range map[string]struct {
		version, does string
		display       string
		want          []string
	}{
		"a new one that runs them":       {"1.4.99", hook + connect, ":7", nil},
		"an old one that runs none":      {"1.4.29", connect, ":7", []string{"profiles finding Unserved"}},
		"a new one that does nothing":    {"1.4.99", "exit 0", ":7", []string{"profiles finding Unserved", "remmina note Here"}},
		"an old one that has no display": {"1.4.29", connect, "", []string{"remmina note Here"}},
	} {
		t.Run(name, func(t *testing.T) {
			bus := []string{"bus finding NoBus"} // on a desktop one is missed
			f := newFake(t, "DISPLAY="+tc.display)
			if tc.display == "" {
				bus = nil
			}
			f.program("remmina", strings.Replace(version, "VERSION", tc.version, 1)+tc.does)
			f.profile("byhand", "server=desk:3389\nprecommand="+f.Hook.Self+" start desk:3389 3389\n")
			f.Try = true
			f.wants(Scope{}, append(bus, tc.want...)...)
		})
	}
}

func TestProfilesByConnectionNeedAListener(t *testing.T) {
	f := newFake(t)
	f.profile("desk", "server=desk:3389\n")
	path := f.path("remmina", "desk.remmina")
	if _, err := remmina.Enable(path, remmina.Tunnel{Route: "relay://desk:3389", Listen: "127.8.7.6:3389", By: remmina.ByConnection}, false); err != nil {
		t.Fatal(err)
	}
	f.wants(Scope{}, "profiles finding Unheard")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.write("remmina/desk.remmina", strings.Replace(string(text), "server=127.8.7.6:3389", "server=other:3389", 1), 0o600)
	got := f.see(Scope{})
	if !slices.Contains(got, "profiles finding Strayed") {
		t.Errorf("%q", got)
	}
}

// TestClientsThatWouldAskAProxyAreRemarkedOn where something is enabled that they could connect to.
func TestClientsThatWouldAskAProxyAreRemarkedOn(t *testing.T) {
	const proxy, remark = "https_proxy=http://proxy.example.com:3128", "enabled note ByProxy"
	for name, tc := range map[string]struct {
		environ       []string
		enabled, want bool
	}{
		"a proxy":              {[]string{proxy, "no_proxy=localhost,127.0.0.1"}, true, true},
		"none for the machine": {[]string{proxy, "no_proxy=localhost,127.0.0.0/8"}, true, false},
		"no proxy":             {nil, true, false},
		"nothing enabled":      {[]string{proxy}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, tc.environ...)
			if tc.enabled {
				entry := autostart.Entry{
					By: autostart.ByDesktop, Route: "relay://desk:3389", Address: netip.MustParseAddrPort("127.8.7.6:3389"),
					Program: f.Hook.Self, Args: []string{"listen", "relay://desk:3389", "127.8.7.6:3389"},
				}
				if _, err := f.Hook.Store().Write(entry); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.see(Scope{}); slices.Contains(got, remark) != tc.want {
				t.Errorf("%q, want %q: %v", got, remark, tc.want)
			}
		})
	}
}

func TestTheTableIsDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../packaging/tunhook.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Checks() {
		about := strings.Split(c.About, ",")[0]
		if !strings.Contains(string(manual), ".It Li "+c.Name+"\n"+about) {
			t.Errorf("the manual page does not say of %s: %s", c.Name, c.About)
		}
	}
}
