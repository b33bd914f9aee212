package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// managed is a world with a stand-in for the systemd user manager: a systemctl that keeps in files what it has read and what is
// active. Nothing listens.
type managed struct{ *world }

func newManaged(t testing.TB) managed {
	t.Helper()
	w := newWorld(t)
	m := managed{w.with("PATH="+w.path("sys")+":"+w.path("bin")+":/usr/bin:/bin", "DBUS_SESSION_BUS_ADDRESS=")}
	for _, dir := range []string{"sys", "loaded", "active"} {
		check(t, os.Mkdir(w.path(dir), 0o700))
	}
	check(t, os.WriteFile(w.path("environment"), []byte("PATH=/usr/bin\n"), 0o600))
	check(t, tunneltest.WriteProgram(w.path("sys", "systemctl"), []byte("#!/bin/sh\nW="+w.dir+"\nU="+m.unitDir()+systemctlScript)))
	return m
}

// systemctlScript does as systemctl(1) says, called as tunhook calls it.
const systemctlScript = `
shift 3 # the flags of every call
echo "$*" >>$W/calls
command=$1
shift
case $command in
show-environment)
	while read -r line; do echo "$line"; done <$W/environment ;;
show)
	if [ $1 = --property=UnitPath ]; then
		[ ! -e $W/looks ] || read -r U <$W/looks
		echo "$W/run/systemd/user.control $U /etc/systemd/user"
		exit
	fi
	shift
	for unit; do
		load=not-found need=no active=inactive
		if [ -e $W/loaded/$unit ]; then
			load=loaded
			cmp -s $U/$unit $W/loaded/$unit || need=yes
		fi
		[ ! -e $W/active/$unit ] || read -r active <$W/active/$unit
		printf 'Id=%s\nLoadState=%s\nActiveState=%s\nNeedDaemonReload=%s\n\n' $unit $load $active $need
	done ;;
daemon-reload)
	rm -f $W/loaded/*
	cp $U/tunhook-* $W/loaded 2>/dev/null || : ;;
start)
	while [ -e $W/hold ]; do : >$W/held; sleep 0.01; done
	[ ! -e $W/failing ] || { echo "Job for $1 failed." >&2; exit 1; }
	[ -e $W/loaded/$1 ] || { echo "Failed to start $1: Unit $1 not found." >&2; exit 5; }
	echo active >$W/active/$1 ;;
stop | reset-failed)
	for unit; do
		[ -e $W/loaded/$unit ] || [ -e $W/active/$unit ] || { echo "Failed to $command $unit: Unit $unit not loaded." >&2; exit 5; }
		[ ! -e $W/active/$unit ] || rm $W/active/$unit
	done ;;
*)
	echo "Unknown command verb $command." >&2
	exit 1 ;;
esac
`

func (m managed) unitDir() string { return m.path("home", ".config", "systemd", "user") }

// calls gives what systemctl was asked to change since the last time.
func (m managed) calls() []string {
	text, _ := os.ReadFile(m.path("calls"))
	os.Remove(m.path("calls"))
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(call string) bool {
		return call == "" || strings.HasPrefix(call, "show")
	})
}

// names gives the files in a directory.
func (m managed) names(elements ...string) []string {
	var names []string
	entries, _ := os.ReadDir(filepath.Join(append([]string{m.dir}, elements...)...))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// isEnabled wants everything to be there for one address, and gives the name of its units.
func (m managed) isEnabled() string {
	m.t.Helper()
	active := m.names("active")
	if len(active) != 1 || !strings.HasSuffix(active[0], ".socket") {
		m.t.Fatalf("active are %q, want one socket", active)
	}
	name := strings.TrimSuffix(active[0], ".socket")
	units := []string{name + ".service", name + ".socket"}
	if got := m.names("loaded"); !slices.Equal(got, units) {
		m.t.Errorf("the manager knows %q, want %q", got, units)
	}
	if got := m.names("home", ".config", "systemd", "user"); !slices.Equal(got, append([]string{"sockets.target.wants"}, units...)) {
		m.t.Errorf("there are %q", got)
	}
	for _, unit := range units {
		read, _ := os.ReadFile(m.path("loaded", unit))
		written, _ := os.ReadFile(filepath.Join(m.unitDir(), unit))
		if len(read) == 0 || string(read) != string(written) {
			m.t.Errorf("%s is %q, and the manager has read %q", unit, written, read)
		}
	}
	link := filepath.Join(m.unitDir(), "sockets.target.wants", name+".socket")
	if to, err := os.Readlink(link); err != nil || to != filepath.Join(m.unitDir(), name+".socket") {
		m.t.Errorf("%s leads to %q, %v", link, to, err)
	}
	return name
}

// isDisabled wants nothing to be left.
func (m managed) isDisabled() {
	m.t.Helper()
	for _, dir := range [][]string{{"active"}, {"loaded"}, {"run", "tunhook"}, {"home", ".config"}} {
		if left := m.names(dir...); len(left) > 0 {
			m.t.Errorf("left behind in %s: %q", filepath.Join(dir...), left)
		}
	}
}

const enabledRoute = "relay://127.0.0.1:9"

func TestEnableMakesUnitsOnceAndDisableLeavesNothing(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	enable := []string{"enable", "--ready", "rdp", "--linger", "30s", "--timeout", "1m", enabledRoute, address, "--", "--a b", "$x%h"}
	if out := m.must(enable...); out != address {
		t.Errorf("enable prints %q, want %s", out, address)
	}
	name := m.isEnabled()
	if calls, want := m.calls(), []string{"daemon-reload", "start " + name + ".socket"}; !slices.Equal(calls, want) {
		t.Errorf("systemctl was told %q, want %q", calls, want)
	}
	service, err := os.ReadFile(filepath.Join(m.unitDir(), name+".service"))
	check(t, err)
	flags := `"listen" "--ready" "rdp" "--linger" "30s" "--timeout" "1m0s" "--notify" "always"`
	want := fmt.Sprintf(" %q %s %q %q %s\n", m.program, flags, enabledRoute, address, `"--" "--a b" "$x%%h"`)
	if !strings.Contains(string(service), want) {
		t.Errorf("the service is %s, want %s", service, want)
	}

	if r := m.do(enable...); r.status != 0 || !strings.Contains(r.stderr, "enabled for "+enabledRoute+" already") {
		t.Errorf("again: %v", r)
	}
	if calls := m.calls(); len(calls) > 0 {
		t.Errorf("enabled again, systemctl was told %q", calls)
	}
	m.must("enable", enabledRoute, address) // with other flags
	if calls := m.calls(); !slices.Equal(calls, []string{"daemon-reload"}) {
		t.Errorf("enabled with other flags, systemctl was told %q: who is connected would be cut off", calls)
	}
	m.isEnabled()

	r := m.do("disable", enabledRoute)
	if r.status != 0 || r.stdout != "" || !strings.Contains(r.stderr, address+" no longer listens") {
		t.Errorf("disable: %v", r)
	}
	stops := []string{
		"stop " + name + ".socket", "stop " + name + ".service",
		"daemon-reload", "reset-failed " + name + ".socket " + name + ".service",
	}
	if calls := m.calls(); !slices.Equal(calls, stops) {
		t.Errorf("systemctl was told %q, want %q", calls, stops)
	}
	m.isDisabled()
	r = m.do("enable", enabledRoute, address, "--", "\xff")
	if r.status != exitUsage || !isOneMessage(r.stderr) || !strings.Contains(r.stderr, `"\xff" is not UTF-8`) {
		t.Errorf("an argument that is no text: %v", r)
	}
	r = m.do("disable", enabledRoute, address)
	if r.status != 0 || !strings.Contains(r.stderr, "is not enabled") || len(m.calls()) > 0 {
		t.Errorf("disable again: %v", r)
	}
}

// enabledRemarks gives the lines of doctor about what is enabled, on one line each.
func (m managed) enabledRemarks(args ...string) string {
	m.t.Helper()
	var all []string
	in := false
	for line := range strings.Lines(m.do(append([]string{"doctor"}, args...)...).stdout) {
		if !strings.HasPrefix(line, " ") {
			in = strings.Contains(line, " enabled ")
		}
		if in {
			all = append(all, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(all, " ")
}

// TestDoctorWritesUnitsAnew where tunhook has moved, or where one of them was removed by hand, and leaves what it cannot read.
func TestDoctorWritesUnitsAnew(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	old := m.path("old", "tunhook")
	check(t, os.Mkdir(m.path("old"), 0o700))
	check(t, os.Symlink(m.program, old)) // stands for a copy, which cannot be told from it by the units
	service := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(m.unitDir(), name+".service"))
		return string(text)
	}
	m.must("enable", "--ready", "rdp", "--linger", "30s", enabledRoute, address, "--", "$x%h", "")
	name := m.isEnabled()
	whole := service(name)

	for _, unit := range []string{".service", ".socket"} {
		path := filepath.Join(m.unitDir(), name+unit)
		text, err := os.ReadFile(path)
		check(t, err)
		check(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), m.program, old)), 0o600))
	}
	check(t, os.Remove(old))
	m.calls()
	for _, args := range [][]string{nil, {enabledRoute}} {
		if got := m.enabledRemarks(args...); !strings.HasPrefix(got, "finding enabled "+address) || !strings.Contains(got, "-> write it anew: tunhook doctor --fix") {
			t.Errorf("moved, doctor %q says: %s", args, got)
		}
	}
	if got := m.enabledRemarks("--fix"); !strings.HasPrefix(got, "fixed enabled "+address) || !strings.Contains(got, "it names "+m.program+" now") {
		t.Errorf("moved, doctor --fix says: %s", got)
	}
	if m.isEnabled(); service(name) != whole {
		t.Errorf("written anew it is %s, and was %s", service(name), whole)
	}
	stop := "stop " + name
	if calls, want := m.calls(), []string{"daemon-reload", stop + ".socket", stop + ".service", "start " + name + ".socket"}; !slices.Equal(calls, want) {
		t.Errorf("systemctl was told %q, want %q", calls, want)
	}

	for _, lost := range []string{name + ".socket", filepath.Join("sockets.target.wants", name+".socket")} {
		check(t, os.Remove(filepath.Join(m.unitDir(), lost)))
		if got := m.enabledRemarks("--fix"); !strings.HasPrefix(got, "fixed enabled "+address) {
			t.Errorf("without %s, doctor --fix says: %s", lost, got)
		}
		m.isEnabled()
	}

	check(t, os.Remove(filepath.Join(m.unitDir(), name+".service")))
	if got := m.enabledRemarks("--fix"); !strings.HasPrefix(got, "finding enabled ") || !strings.Contains(got, "-> enable it again: tunhook enable "+enabledRoute+" "+address) {
		t.Errorf("without its arguments, doctor --fix says: %s", got)
	}
	m.must("enable", enabledRoute, address)
	m.isEnabled()
	m.must("disable", enabledRoute, address)
	m.isDisabled()
}

// TestEnableTakesItsAddressAsStartDoes: from the configuration, else the route's own, and another name of the route is the same.
func TestEnableTakesNamesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	const route = "relay://127.0.0.1:9999" // an ordinary user can listen on its own address, too
	m, port := newManaged(t), port(t)
	check(t, os.MkdirAll(m.path("etc", "tunhook"), 0o700))
	config := "[tunnel.desk]\nroute = \"" + route + "\"\nlisten = \"" + port + "\"\n"
	check(t, os.WriteFile(m.path("etc", "tunhook", "config.toml"), []byte(config), 0o600))
	if out := m.must("enable", "desk"); out != "127.0.0.1:"+port {
		t.Errorf("enable prints %q", out)
	}
	if out := m.must("enable", route, port); out != "127.0.0.1:"+port {
		t.Errorf("enable by the other name prints %q", out)
	}
	m.isEnabled()
	r := m.do("enable", "relay://127.0.0.1:9998", port)
	if r.status != exitTaken || !isOneMessage(r.stderr) || !strings.Contains(r.stderr, "is enabled for desk already") {
		t.Errorf("another route on the same address: %v", r)
	}
	if out := m.must("enable", route, "stable"); !strings.HasSuffix(out, ":9999") {
		t.Errorf("stable is %q", out)
	}
	r = m.do("disable", route, "127.0.0.1:1")
	if r.status != 0 || !strings.Contains(r.stderr, "is not enabled for "+route+"; it is on ") {
		t.Errorf("disable of another address: %v", r)
	}
	if r := m.do("disable", route); r.status != exitUsage && r.status != 0 || !isOneMessage(r.stderr) {
		t.Errorf("disable of a route with two addresses: %v", r)
	}
	m.must("disable", "--all")
	m.isDisabled()
}

func TestStatusOfWhatIsEnabled(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	m.must("enable", enabledRoute, address)
	again := "tunhook enable " + enabledRoute + " " + address
	for _, args := range [][]string{{"status"}, {"status", enabledRoute}, {"status", enabledRoute, address}} {
		r := m.do(args...)
		if r.status != 0 || !strings.Contains(r.stdout, enabledRoute+"  "+address+"  waiting  -") ||
			!isOneMessage(r.stderr) || !strings.Contains(r.stderr, "nothing listens there: enable it again: "+again) {
			t.Errorf("%q: %v", args, r)
		}
	}
	if r := m.do("status", "--json"); !strings.Contains(r.stdout, `"state": "waiting"`) || !strings.Contains(r.stdout, `"enabled": true`) {
		t.Errorf("status --json: %v", r)
	}
	m.must("start", enabledRoute, address) // nothing listens there, so there is no reason why not
	if r := m.do("status", enabledRoute); !strings.Contains(r.stdout, "  ready  ") || strings.Contains(r.stdout, "waiting") {
		t.Errorf("beside a tunnel: %v", r)
	}
	m.must("stop", enabledRoute, address)
	m.must("disable", enabledRoute)
}

// TestEnableThatFailsLeavesNothing, and what is wrong is said on one line.
func TestEnableThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	name := func(m managed, address string) string {
		m.must("enable", enabledRoute, address)
		name := m.isEnabled()
		m.must("disable", enabledRoute, address)
		m.calls()
		return name
	}
	tests := map[string]struct {
		put  func(m managed, name string) error
		says string
	}{
		"the manager refuses": {func(m managed, _ string) error { return os.WriteFile(m.path("failing"), nil, 0o600) }, "Job for tunhook-"},
		"the manager looks elsewhere": {
			func(m managed, _ string) error {
				return os.WriteFile(m.path("looks"), []byte("/else/systemd/user\n"), 0o600)
			},
			"is not where the systemd user manager looks for units: unset XDG_CONFIG_HOME",
		},
		"a unit of somebody else's": {func(m managed, name string) error {
			check(m.t, os.MkdirAll(m.unitDir(), 0o700))
			return os.WriteFile(filepath.Join(m.unitDir(), name+".service"), []byte("[Service]\n"), 0o600)
		}, ".service was not made by tunhook: move it away, or choose another listen address"},
		"a linked unit directory": {func(m managed, _ string) error {
			check(m.t, os.MkdirAll(filepath.Dir(m.unitDir()), 0o700))
			return os.Symlink(m.dir, m.unitDir())
		}, "systemd/user is a symbolic link: make it a directory of its own"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m, address := newManaged(t), "127.0.0.1:"+port(t)
			check(t, test.put(m, name(m, address)))
			before := files(m.path("home"), m.path("run"))
			r := m.do("enable", enabledRoute, address)
			if r.status != exitUnexpected || r.stdout != "" || !isOneMessage(r.stderr) || !strings.Contains(r.stderr, test.says) {
				t.Errorf("%v, want one line that says %q", r, test.says)
			}
			after := files(m.path("home"), m.path("run"))
			if manager := append(m.names("active"), m.names("loaded")...); !maps.Equal(before, after) || len(manager) > 0 {
				t.Errorf("%q became %q; the manager has %q", before, after, manager)
			}
		})
	}
}

// TestManagerWithoutDisplayIsToldOf: without it no page opens and no notification appears.
func TestManagerWithoutDisplayIsToldOf(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	desktop := m.with("DISPLAY=:7", "XAUTHORITY=/x")
	r := desktop.do("enable", enabledRoute, address)
	if !strings.Contains(r.stderr, `run "systemctl --user import-environment DISPLAY XAUTHORITY" now`) {
		t.Errorf("%v", r)
	}
	check(t, os.WriteFile(m.path("environment"), []byte("PATH=/usr/bin\nWAYLAND_DISPLAY=wayland-0\n"), 0o600))
	if r := desktop.do("enable", enabledRoute, address); r.status != 0 || strings.Contains(r.stderr, "import-environment") {
		t.Errorf("%v", r)
	}
	m.must("disable", "--all")
}

func TestTwentyAtOnceEnableOnce(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	atOnce := func(commands ...[]string) {
		t.Helper()
		var all []<-chan result
		for i := range 20 {
			all = append(all, m.background(m.command(commands[i%len(commands)]...)))
		}
		for _, done := range all {
			if r := <-done; r.status != 0 {
				t.Errorf("%v", r)
			}
		}
	}
	enable, disable := []string{"enable", enabledRoute, address}, []string{"disable", enabledRoute, address}
	atOnce(enable)
	name := m.isEnabled()
	if calls := m.calls(); len(calls) != 2 {
		t.Errorf("20 enables told systemctl %q", calls)
	}
	atOnce(enable, disable)
	m.must(enable...)
	if got := m.isEnabled(); got != name {
		t.Errorf("enabled is %s, want %s", got, name)
	}
	atOnce(disable)
	m.isDisabled()
}

// TestKilledEnableAndDisableArePutRightByTheNext kills 100 of them at random instants. At each the next login would find all or
// nothing.
func TestKilledEnableAndDisableArePutRightByTheNext(t *testing.T) {
	t.Parallel()
	const workers, kills = 2, 50
	var halfway atomic.Int32
	var all sync.WaitGroup
	for range workers {
		m, address := newManaged(t), "127.0.0.1:"+port(t)
		commands := [][]string{{"enable", enabledRoute, address}, {"disable", enabledRoute, address}}
		took := map[string]time.Duration{}
		for _, command := range commands {
			began := time.Now()
			m.must(command...)
			took[command[0]] = time.Since(began)
		}
		all.Go(func() {
			is := 1 // the command that was carried out last
			for i := range kills {
				killed := commands[1-is]
				cmd := m.command(killed...)
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 && killed[0] == "enable" { // when it has begun to write
					m.awaitUnits()
					time.Sleep(rand.N(time.Millisecond))
				} else {
					time.Sleep(rand.N(took[killed[0]]))
				}
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if m.isHalfway() {
					halfway.Add(1)
				}
				is = rand.IntN(2)
				if r := m.do(commands[is]...); r.status != 0 {
					t.Errorf("%q after a killed %q: %v", commands[is], killed, r)
				} else if is == 0 {
					m.isEnabled()
				} else {
					m.isDisabled()
				}
			}
			m.must(commands[1]...)
			m.isDisabled()
		})
	}
	all.Wait()
	t.Logf("%d were killed while their files were half there", halfway.Load())
}

// isHalfway tells whether there is some of the files and not all of them. Where the next login finds the link it must find all.
func (m managed) isHalfway() bool {
	m.t.Helper()
	units := m.names("home", ".config", "systemd", "user")
	if len(m.names("home", ".config", "systemd", "user", "sockets.target.wants")) == 0 {
		return len(units) > 0
	}
	whole := slices.DeleteFunc(units, func(name string) bool { return name[0] == '.' })
	if len(whole) != 3 {
		m.t.Errorf("the next login finds a link, and no more than %q", whole)
	}
	return false
}

// awaitUnits waits until there is something in the unit directory, for as long as an enable may take to get there.
func (m managed) awaitUnits() {
	deadline := time.Now().Add(10 * time.Second)
	for len(m.names("home", ".config", "systemd", "user")) == 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Microsecond)
	}
}

// TestSystemctlOfAKilledEnableHasTheLock: what it is about to start would otherwise be left behind by a disable.
func TestSystemctlOfAKilledEnableHasTheLock(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	check(t, os.WriteFile(m.path("hold"), nil, 0o600))
	enable := m.command("enable", enabledRoute, address)
	check(t, enable.Start())
	tunneltest.Eventually(t, "systemctl start is called", func() bool {
		_, err := os.Stat(m.path("held"))
		return err == nil
	})
	check(t, enable.Process.Kill())
	_ = enable.Wait()
	disabled := m.background(m.command("disable", enabledRoute, address))
	select {
	case r := <-disabled:
		t.Errorf("disable did not wait: %v", r)
	case <-time.After(200 * time.Millisecond):
	}
	check(t, os.Remove(m.path("hold")))
	if r := <-disabled; r.status != 0 {
		t.Errorf("%v", r)
	}
	m.isDisabled()
}

// TestASlashBehindTheConfigurationHomeIsNoPlaceOfItsOwn: what is above the directories of the units stays, empty or not.
func TestASlashBehindTheConfigurationHomeIsNoPlaceOfItsOwn(t *testing.T) {
	t.Parallel()
	m, address := newManaged(t), "127.0.0.1:"+port(t)
	home := filepath.Dir(filepath.Dir(m.unitDir()))
	check(t, os.MkdirAll(home, 0o700))
	m.world = m.with("XDG_CONFIG_HOME=" + home + "/")
	m.must("enable", enabledRoute, address)
	m.must("disable", enabledRoute, address)
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
