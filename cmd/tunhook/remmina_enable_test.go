package main

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// Places of the fakes.
const (
	remminaVersion = "remmina-version" // what the program remmina says it is, in the account
	flatpakRelease = ".local/share/flatpak/app/org.remmina.Remmina/current/active/files/share/metainfo/org.remmina.Remmina.appdata.xml"
)

// desk is an account with a profile whose server is reached by a relay, and a Remmina of that version. What is enabled in it is
// disabled in the end.
type desk struct {
	*account
	path, route string
}

func newDesk(t *testing.T, version string) desk {
	t.Helper()
	d := desk{account: newAccount(t), route: relayTo(t, tunneltest.ResponderOptions{})}
	t.Cleanup(func() { d.do("disable", "--all", "--now") })
	d.path = d.profile(nativeProfiles, "desk.remmina", deskProfile)
	d.remminaIs(version)
	fakeRemmina(t, filepath.Join(d.dir, "bin"), "$(cat '"+filepath.Join(d.dir, remminaVersion)+"')")
	return d
}

// fakeRemmina installs a remmina that tells its version, and no more.
func fakeRemmina(t testing.TB, dir, version string) {
	t.Helper()
	fakeProgram(t, filepath.Join(dir, "remmina"), "#!/bin/sh\necho \"org.remmina.Remmina - "+version+" (git n/a)\"\n")
}

func fakeProgram(t testing.TB, path, text string) {
	t.Helper()
	check(t, tunneltest.WriteProgram(path, []byte(text)))
}

func (d desk) remminaIs(version string) {
	d.t.Helper()
	check(d.t, os.WriteFile(filepath.Join(d.dir, remminaVersion), []byte(version), 0o600))
}

// enable enables a profile, which must say these, and nothing of those that begin with "!".
func (d desk) enable(says []string, args ...string) {
	d.t.Helper()
	d.says(says, append([]string{"remmina", "enable", "--route", d.route, "--listen", d.address}, args...)...)
}

func (d desk) says(says []string, args ...string) {
	d.t.Helper()
	e := d.do(args...)
	if e.status != 0 {
		d.t.Fatalf("%q: %+v", args, e)
	}
	for _, text := range says {
		if wanted, unwanted := strings.CutPrefix(text, "!"); strings.Contains(e.stdout+e.stderr, wanted) == unwanted {
			d.t.Errorf("%q says %q%s, want %q", args, e.stdout, e.stderr, text)
		}
	}
}

// goes tells by which way the profile at path connects to the account's address.
func (d desk) goes(path string) string {
	d.t.Helper()
	now := keys(d.t, path)
	switch {
	case now["server"] != d.address:
		return ""
	case strings.Contains(now["precommand"], " start "+d.route):
		return "hook"
	}
	return "connection"
}

func (d desk) is(path, want string) {
	d.t.Helper()
	if data, err := os.ReadFile(path); err != nil || string(data) != want {
		d.t.Errorf("the profile is %q, %v", data, err)
	}
}

// Where nobody says how, it is by connection: with a Remmina that has no other way, and with one that may be updated to that.
func TestRemminaEnableIsByConnection(t *testing.T) {
	t.Parallel()
	for version, says := range map[string][]string{
		"1.4.40":  {"by connection, which goes on working when Remmina 1.4.40 is updated", `enable --by hook "My desk"`},
		"1.4.43":  {"by connection, since Remmina 1.4.43 runs no commands", "!--by hook"},
		"unknown": {"by connection, since Remmina of an unknown version may run no commands"},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, version)
			d.enable(append(says, `"My desk" now connects to `+d.address+", and the connection starts its tunnel for "+d.route, "by an autostart entry"), "My desk")
			want := strings.Replace(deskProfile, "server=desk.example.com", "server="+d.address, 1)
			for key, value := range keys(t, d.path) {
				if !strings.HasPrefix(key, "tunhook_") && !strings.Contains(want, key+"="+value+"\n") {
					t.Errorf("%s=%s is new", key, value)
				}
			}
			d.says([]string{d.route, "waiting"}, "status")
			d.enable([]string{"is enabled already, by connection", "!which goes on", "!since"}, "My desk")
			d.says([]string{"connection", "!warning"}, "remmina", "show", "My desk")
			d.says([]string{"  yes      connection  ", "!warning"}, "remmina", "list")

			d.says([]string{`"My desk" is as it was before tunhook: it connects to desk.example.com`}, "remmina", "disable", "My desk")
			d.is(d.path, deskProfile)
			d.says([]string{"no tunnel is running"}, "status")
			if left, _ := filepath.Glob(filepath.Join(d.dir, "home", ".config", "*", "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if d.served() {
				t.Errorf("%s is still listened on", d.address)
			}
		})
	}
}

func TestRemminaProfilesMoveFromOneWayToTheOther(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	way := func(want string) {
		t.Helper()
		if got := d.goes(d.path); got != want || d.served() != (want == "connection") {
			t.Errorf("it goes by %q, and the address is listened on: %v; want %s", got, d.served(), want)
		}
	}
	d.enable([]string{"starts its tunnel for", "!by connection", "!warning"}, "--by", "hook", "My desk")
	way("hook")
	d.enable([]string{"by connection, which goes on working"}, "My desk")
	way("connection")
	d.enable([]string{"starts its tunnel for"}, "--by", "hook", "My desk")
	way("hook")
	d.enable([]string{"now connects to", "!which goes on working"}, "--by", "connection", "My desk")
	way("connection")
	d.must("remmina", "disable", "My desk")
	d.is(d.path, deskProfile)
	if d.served() {
		t.Error("disabled, the address is listened on")
	}
}

func TestRemminaWarnsOfHooksThatAreNotRun(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.43")
	d.profile(nativeProfiles, "other.remmina", strings.Replace(deskProfile, "My desk", "Other", 1))
	const warning = `warning: Remmina 1.4.43 runs no commands, so that nothing starts`
	d.enable([]string{warning, `enable --by connection "My desk"`}, "--by", "hook", "My desk")
	d.enable([]string{warning}, "--by", "hook", "My desk")
	for _, command := range [][]string{{"remmina", "show", "My desk"}, {"remmina", "list"}} {
		d.says([]string{warning + ` the tunnel of "My desk"`, `enable "My desk"`, "!" + `"Other"`}, command...)
	}
	d.remminaIs("1.4.41")
	d.says([]string{"!warning"}, "remmina", "list")
}

// A profile is opened by the Remmina of its kind.
func TestRemminaTellsTwoRemminasApart(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	release := filepath.Join(d.dir, "home", flatpakRelease)
	check(t, os.MkdirAll(filepath.Dir(release), 0o700))
	check(t, os.WriteFile(release, []byte(`<release version="1.4.43" date="2026-02-01"/>`), 0o600))
	d.enable([]string{"there are Remmina 1.4.40 and Remmina 1.4.43 (Flatpak)", `"My desk" is opened by Remmina 1.4.40` + "\n", "!warning"}, "--by", "hook", "My desk")

	boxed := d.profile(flatpakProfiles, "boxed.remmina", strings.Replace(deskProfile, "My desk", "Boxed", 1))
	d.says([]string{`"Boxed" is opened by Remmina 1.4.43 (Flatpak)`, "warning: Remmina 1.4.43 (Flatpak) runs no commands"}, "remmina", "enable", "--by", "hook", "--route", d.route, "Boxed")
	d.says([]string{"by connection, since Remmina 1.4.43 (Flatpak) runs no commands", "!override", "!permission"}, "remmina", "enable", "--route", d.route, "Boxed")
	if now := keys(t, boxed); now["precommand"] != "" || now["postcommand"] != "" {
		t.Errorf("by connection it runs %q", now["precommand"])
	}
	d.must("remmina", "disable", "Boxed")
}

// Where nothing can listen, hooks are the way, if there are any.
func TestRemminaWithoutListenersIsByHook(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	check(t, os.MkdirAll(filepath.Join(d.dir, "home", ".config"), 0o700))
	check(t, os.WriteFile(filepath.Join(d.dir, "home", ".config", "autostart"), nil, 0o600))
	d.enable([]string{"by hook, since nothing can listen for the connection: ", "/autostart"}, "My desk")
	if way := d.goes(d.path); way != "hook" {
		t.Errorf("it goes by %q", way)
	}
	d.must("remmina", "disable", "My desk")
	d.refused(exitUnexpected, "/autostart", "remmina", "enable", "--by", "connection", "--route", d.route, "My desk")
	d.remminaIs("1.4.43")
	d.refused(exitUnexpected, "/autostart", "remmina", "enable", "--route", d.route, "My desk")
	d.is(d.path, deskProfile)
}

func TestRemminaProfilesShareAListener(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.43")
	boxed := d.profile(flatpakProfiles, "boxed.remmina", strings.Replace(deskProfile, "My desk", "Boxed", 1))
	d.enable(nil, "My desk")
	d.enable(nil, "Boxed")
	d.must("remmina", "disable", "My desk")
	if !d.served() {
		t.Error("the other profile's listener is gone")
	}
	d.must("remmina", "disable", boxed)
	if d.served() {
		t.Error("the listener that no profile needs is there")
	}

	d.must("enable", d.route, d.address)
	d.enable(nil, "My desk")
	d.must("remmina", "disable", "My desk")
	if !d.served() {
		t.Error("the listener that was enabled by hand is gone")
	}
	d.enable(nil, "My desk")
	d.must("disable", d.route, d.address)
	d.says([]string{"warning: nothing listens on " + d.address + ` for "My desk"`}, "remmina", "show", "My desk")
	d.says([]string{`warning: nothing listens on ` + d.address}, "remmina", "list")
	d.enable(nil, "My desk")
	if !d.served() {
		t.Error("enabled again, nothing listens")
	}
}

func TestRemminaKeepsAProfilesOwnCommandsByConnection(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	text := deskProfile + "precommand=/usr/bin/my-vpn up\n"
	path := d.profile(nativeProfiles, "desk.remmina", text)
	d.enable([]string{`"My desk" keeps its own commands`}, "My desk")
	if now := keys(t, path)["precommand"]; now != "/usr/bin/my-vpn up" {
		t.Errorf("it runs %q", now)
	}
	d.enable([]string{"!keeps"}, "--force", "My desk")
	if now := keys(t, path)["precommand"]; now != "" {
		t.Errorf("forced, it runs %q", now)
	}
	d.must("remmina", "disable", "My desk")
	d.is(path, text)
}

func TestRemminaProfilesThatHaveNoServerToTunnelTo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	page := d.profile(nativeProfiles, "page.remmina", "[remmina]\nname=Page\nprotocol=WWW\nserver=https://intranet.example.org/\n")
	d.refused(exitUsage, "a profile with protocol=WWW opens a web page", "remmina", "enable", "--route", d.route, "Page")
	d.is(page, "[remmina]\nname=Page\nprotocol=WWW\nserver=https://intranet.example.org/\n")
	d.profile(nativeProfiles, "program.remmina", "[remmina]\nname=Program\nprotocol=EXEC\nexecpath=xterm\n")
	d.refused(exitUsage, "a profile with protocol=EXEC runs a program", "remmina", "enable", "Program") // no route helps, so none is asked for
	d.profile(nativeProfiles, "rack.remmina", deskProfile+"ssh_tunnel_enabled=1\nssh_tunnel_server=gate.example.com\n")
	d.refused(exitUsage, "--route ssh://gate.example.com/desk.example.com:3389", "remmina", "enable", "rack")
	d.profile(nativeProfiles, "empty.remmina", "[remmina]\nname=Empty\nprotocol=RDP\n")
	d.refused(exitUsage, "is empty: name the route with --route", "remmina", "enable", "Empty")
	d.enable(nil, "Empty")
	d.says([]string{"it has no server"}, "remmina", "disable", "Empty")
}

// newManagedRemmina is a managed world with a Remmina.
func newManagedRemmina(t testing.TB) managed {
	t.Helper()
	m := newManaged(t)
	fakeRemmina(t, m.path("sys"), "1.4.40")
	check(t, os.Mkdir(m.path("tmp"), 0o700))
	return managed{m.with("TMPDIR=" + m.path("tmp"))}
}

// managedProfile writes a profile into a managed world.
func (m managed) managedProfile(name string) (path string) {
	m.t.Helper()
	path = m.path("home", nativeProfiles, name+".remmina")
	check(m.t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(m.t, os.WriteFile(path, []byte(strings.Replace(deskProfile, "My desk", name, 1)), 0o600))
	return path
}

// profilesAre wants the one listener there exactly where one of the profiles needs it, and disabled profiles as they were.
func (m managed) profilesAre(address string, paths ...string) {
	m.t.Helper()
	needed := false
	for _, path := range paths {
		now := keys(m.t, path)
		data, _ := os.ReadFile(path)
		name := strings.TrimSuffix(filepath.Base(path), ".remmina")
		if now["server"] != address && string(data) != strings.Replace(deskProfile, "My desk", name, 1) {
			m.t.Errorf("%s is neither enabled nor as it was: %q", name, data)
		}
		needed = needed || now["server"] == address && now["precommand"] == ""
	}
	if left, _ := filepath.Glob(m.path("home", nativeProfiles, ".*")); len(left) > 0 {
		m.t.Errorf("left behind: %q", left)
	}
	if needed {
		m.isEnabled()
		return
	}
	for _, dir := range [][]string{{"active"}, {"loaded"}, {"home", ".config"}} { // not that of locks, of which a killed one's may be left
		if left := m.names(dir...); len(left) > 0 {
			m.t.Errorf("left behind in %s: %q", filepath.Join(dir...), left)
		}
	}
}

func TestTwentyRemminaCommandsAtOnce(t *testing.T) {
	t.Parallel()
	m, address := newManagedRemmina(t), "127.0.0.1:"+port(t)
	paths := []string{m.managedProfile("one"), m.managedProfile("two"), m.managedProfile("three")}
	for round := range 2 {
		var all []<-chan result
		for i := range 20 {
			args := []string{"remmina", "enable", "--route", enabledRoute, "--listen", address, paths[i%len(paths)]}
			switch i % 5 {
			case round, round + 1:
				args = []string{"remmina", "disable", paths[i%len(paths)]}
			case 4:
				args = append(args, "--by", "hook")
			}
			all = append(all, m.background(m.command(args...)))
		}
		for _, done := range all {
			if r := <-done; r.status != 0 {
				t.Errorf("%v", r)
			}
		}
		m.profilesAre(address, paths...)
	}
	for _, path := range paths {
		m.must("remmina", "disable", path)
	}
	m.profilesAre(address, paths...)
}

// TestKilledRemminaCommandsArePutRightByTheNext kills some at random instants.
func TestKilledRemminaCommandsArePutRightByTheNext(t *testing.T) {
	t.Parallel()
	m, address := newManagedRemmina(t), "127.0.0.1:"+port(t)
	paths := []string{m.managedProfile("one"), m.managedProfile("two")}
	command := func() []string {
		path := paths[rand.IntN(len(paths))]
		args := []string{"remmina", "enable", "--route", enabledRoute, "--listen", address, path}
		return [][]string{{"remmina", "disable", path}, args, args, append(args, "--by", "hook")}[rand.IntN(4)]
	}
	began := time.Now()
	m.must("remmina", "enable", "--route", enabledRoute, "--listen", address, paths[0])
	took := time.Since(began)
	for range 25 {
		killed := m.command(command()...)
		check(t, killed.Start())
		time.Sleep(rand.N(took))
		_ = killed.Process.Kill()
		_ = killed.Wait()
		next := command()
		if r := m.do(next...); r.status != 0 {
			t.Errorf("%q after a killed %q: %v", next, killed.Args, r)
		}
		for _, path := range paths { // the killed one was about another profile perhaps
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"*")); len(left) > 0 {
				m.must("remmina", "show", path)
				m.must("remmina", "disable", path)
			}
		}
		m.must("disable", enabledRoute, "127.0.0.1:1") // what is enabled next or taken back, whatever it is, tidies up behind a killed one
		m.profilesAre(address, paths...)
	}
}

// TestAConnectionStartsTheTunnelOfAProfile: and disable cuts nobody off.
func TestAConnectionStartsTheTunnelOfAProfile(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.43")
	d.enable(nil, "My desk")
	conn, err := net.Dial("tcp", d.address)
	check(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = conn.Write([]byte("\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00")) // X.224 Connection Request
	check(t, err)
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatalf("not answered: %v", err)
	}
	d.says([]string{"is as it was", "somebody is connected to " + d.address, "tunhook disable " + d.route + " " + d.address}, "remmina", "disable", "My desk")
	d.is(d.path, deskProfile)
	check(t, conn.Close())
	for deadline := time.Now().Add(20 * time.Second); d.served() && time.Now().Before(deadline); {
		d.must("remmina", "disable", "My desk")
	}
	if d.served() {
		t.Error("nobody is connected any more, and it is listened on")
	}
	d.nothingRuns()
}

// TestRemminaEnableSaysWhatTheServerSpeaks where that is not what the profile's protocol says, and has a profile connect without
// the proxy that Remmina's environment may name, until it is disabled.
func TestRemminaEnableSaysWhatTheServerSpeaks(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.40")
	check(t, os.WriteFile(d.path, []byte(deskProfile+"useproxyenv=1\n"), 0o600))
	d.enable([]string{"does not ask the proxy", "until tunhook remmina disable"}, "--ready", "ssh", "My desk")
	if unit := d.unit(); !strings.Contains(unit, "--ready ssh") {
		t.Errorf("the listener is %q", unit)
	}
	d.enable([]string{"does not ask the proxy"}, "--by", "hook", "--ready", "listen", "My desk")
	if got := keys(t, d.path); !strings.Contains(got["precommand"], "--ready listen ") || got["useproxyenv"] != "0" {
		t.Errorf("precommand=%s useproxyenv=%s", got["precommand"], got["useproxyenv"])
	}
	d.must("remmina", "disable", "My desk")
	d.is(d.path, deskProfile+"useproxyenv=1\n")
	if e := d.do("remmina", "enable", "--ready", "http", "My desk"); e.status != 2 || !strings.Contains(e.stderr, `--ready is "http": give listen, rdp, vnc or ssh`) {
		t.Errorf("%+v", e)
	}
	check(t, os.WriteFile(d.path, []byte(deskProfile+"useproxyenv=0\n"), 0o600))
	d.enable([]string{"!proxy"}, "My desk")
}

// unit is what listens for the account's address after each login.
func (d desk) unit() string {
	d.t.Helper()
	files, _ := filepath.Glob(filepath.Join(d.dir, "home", ".config", "autostart", "*"))
	text, err := os.ReadFile(strings.Join(files, ""))
	check(d.t, err)
	return string(text)
}

// TestRemminaEnableTakesOverFromAScript: without a flag, one profile or all of them.
func TestRemminaEnableTakesOverFromAScript(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.43")
	own := "localhost:" + port(t)
	script := "[remmina]\nname=Old desk\nprotocol=RDP\nserver=" + own + "\nprecommand=/x/t.sh start " + d.route + " " + own + "\npostcommand=/x/t.sh stop " + d.route + " " + own + "\n"
	cli := strings.NewReplacer("Old desk", "Lab", "/x/t.sh start "+d.route+" "+own, "pomerium-cli tcp lab.example.com:3389 --browser-cmd true --listen "+own,
		"/x/t.sh stop "+d.route+" "+own, "killall pomerium-cli").Replace(script)
	fakeProgram(t, filepath.Join(d.dir, "bin", "pomerium-cli"), "#!/bin/sh\n")
	desk, lab := d.profile(nativeProfiles, "old.remmina", script), d.profile(nativeProfiles, "lab.remmina", cli)
	same := func(when string) {
		t.Helper()
		d.is(desk, script)
		d.is(lab, cli)
		d.is(d.path, deskProfile)
		if t.Failed() {
			t.Fatal(when)
		}
	}

	d.says([]string{"Old desk", d.route, own, "/x/t.sh start"}, "remmina", "enable", "--dry-run", "Old desk")
	same("only shown")
	d.says([]string{
		`"Old desk" now connects to 127.`, "the connection starts its tunnel for " + d.route, "its server was " + own, "before connecting is set aside until then: /x/t.sh start",
		"after connecting is set aside until then: /x/t.sh stop", "!keeps its own commands",
	}, "remmina", "enable", "Old desk")
	if now := keys(t, desk); now["precommand"] != "" || now["postcommand"] != "" || now["server"] == own {
		t.Errorf("%q", now)
	}
	d.must("remmina", "disable", "Old desk")
	same("disabled")

	d.says([]string{"Old desk", "Lab", "lab.example.com:3389", "!My desk"}, "remmina", "enable", "--all", "--dry-run")
	same("all only shown")
	d.says([]string{`"Old desk" now connects to`, `"Lab" now connects to`, "!My desk"}, "remmina", "enable", "--all")
	entries, _ := filepath.Glob(filepath.Join(d.dir, "home", ".config", "autostart", "tunhook-*"))
	var text strings.Builder
	for _, entry := range entries {
		data, err := os.ReadFile(entry)
		check(t, err)
		text.Write(data)
	}
	if !strings.Contains(text.String(), "lab.example.com:3389") || !strings.Contains(text.String(), "--browser-cmd=true") {
		t.Errorf("what listens is %q", text.String())
	}
	d.says([]string{"no profile that is not enabled yet"}, "remmina", "enable", "--all")
	d.must("remmina", "disable", "Old desk")
	d.must("remmina", "disable", "Lab")
	same("all disabled")
	for _, args := range [][]string{{"--all", "Lab"}, {"--all", "--route", "a:1"}} {
		if e := d.do(append([]string{"remmina", "enable"}, args...)...); e.status != exitUsage {
			t.Errorf("%q: %+v", args, e)
		}
	}
}

// TestRemminaProfilesKeepTheirOwnArguments: two that lead to one server by different ways do not share a tunnel.
func TestRemminaProfilesKeepTheirOwnArguments(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.43")
	fakeProgram(t, filepath.Join(d.dir, "bin", "ssh"), "#!/bin/sh\n")
	own := "localhost:" + port(t)
	paths, texts := map[string]string{}, map[string]string{}
	for name, args := range map[string]string{"By bastion": "-J bastion", "By key": "-i /x/id", "Bastion too": "-J bastion"} {
		texts[name] = "[remmina]\nname=" + name + "\nprotocol=RDP\nserver=" + own + "\nprecommand=sh -c \"nohup ssh " + args + " -fNL " +
			strings.TrimPrefix(own, "localhost:") + ":desk.example.com:3389 gate\"\n"
		paths[name] = d.profile(nativeProfiles, strings.ReplaceAll(name, " ", "-")+".remmina", texts[name])
	}
	const route, gets = "ssh://gate/desk.example.com:3389", `whose tunnel has other arguments (-J bastion): "By key" gets 127.`
	server := func(name string) string { return keys(t, paths[name])["server"] }
	apart := func(when string) {
		t.Helper()
		if server("By bastion") == server("By key") || server("By bastion") != server("Bastion too") {
			t.Errorf("%s: %s, %s and %s", when, server("By bastion"), server("By key"), server("Bastion too"))
		}
	}
	giveBack := func(when string) {
		t.Helper()
		for name, path := range paths {
			d.must("remmina", "disable", path)
			d.is(path, texts[name])
		}
		if left, _ := filepath.Glob(filepath.Join(d.dir, "home", ".config", "*", "*")); len(left) > 0 {
			t.Errorf("%s, left behind: %q", when, left)
		}
	}

	d.says([]string{route + " -- -J bastion", route + " -- -i /x/id", gets}, "remmina", "enable", "--all", "--dry-run")
	d.says([]string{gets}, "remmina", "enable", "--all")
	apart("all at once")
	argsOf := func(address string) string {
		entries, _ := filepath.Glob(filepath.Join(d.dir, "home", ".config", "autostart", "*"))
		for _, entry := range entries {
			if text, _ := os.ReadFile(entry); strings.Contains(string(text), "X-Tunhook-Address="+address+"\n") {
				_, args, _ := strings.Cut(string(text), " -- ")
				return strings.SplitN(args, "\n", 2)[0]
			}
		}
		return ""
	}
	for name, want := range map[string]string{"By bastion": "-J bastion", "By key": "-i /x/id"} {
		if got := argsOf(server(name)); got != want {
			t.Errorf("%q listens with %q, want %q", name, got, want)
		}
	}
	d.says([]string{"is enabled already", "!whose"}, "remmina", "enable", "By key")
	giveBack("all")

	d.must("remmina", "enable", "--by", "hook", "By bastion")
	d.says([]string{gets}, "remmina", "enable", "By key")
	d.must("remmina", "enable", "--by", "hook", "Bastion too")
	d.says([]string{"!whose"}, "remmina", "enable", "--by", "hook", "By key")
	apart("one after the other")
	for name, want := range map[string]string{"By bastion": " -- -J bastion", "By key": " -- -i /x/id"} {
		if got := keys(t, paths[name])["precommand"]; !strings.HasSuffix(got, want) {
			t.Errorf("%q runs %q", name, got)
		}
	}
	d.refused(exitUsage, "other arguments (-J bastion): name another one with --listen", "remmina", "enable", "--listen", server("By bastion"), "By key")
	giveBack("by hook")

	d.must("enable", route, "--", "-J", "another")
	d.says([]string{"is enabled with other arguments (-J another)"}, "remmina", "enable", "By bastion")
	d.must("disable", route)
	giveBack("a person's")
}

// TestRemminaDryRunSaysAll that the real run would write or tell, within the columns of a terminal.
func TestRemminaDryRunSaysAll(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "1.4.43")
	fakeProgram(t, filepath.Join(d.dir, "bin", "ssh"), "#!/bin/sh\n")
	text := "[remmina]\nname=Lab\nprotocol=RDP\nserver=localhost:3390\nprecommand=ssh -J bastion.corp.example.com -o ServerAliveInterval=5 " +
		"-f -N -L 3390:lab.corp.example.com:3389 gate.corp.example.com\npostcommand=pkill -f 3390:lab\n"
	d.profile(nativeProfiles, "lab.remmina", text)
	words := func(args ...string) string { // without the breaks between lines
		t.Helper()
		e := d.do(append([]string{"remmina", "enable", "--dry-run"}, args...)...)
		if e.status != 0 {
			t.Fatalf("%q: %+v", args, e)
		}
		for line := range strings.Lines(e.stdout) {
			if line = strings.TrimSuffix(line, "\n"); len(line) > 80 && strings.Contains(strings.TrimSpace(line[11:]), " ") {
				t.Errorf("%q: %d columns: %s", args, len(line), line)
			}
		}
		return strings.Join(strings.Fields(e.stdout), " ")
	}
	const route = "route ssh://gate.corp.example.com/lab.corp.example.com:3389 -- -J bastion.corp.example.com -o ServerAliveInterval=5"
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"Lab"}, []string{`"Lab" by connection`, route, "listen 127.", "server localhost:3390 -> 127.", "gate.corp.example.com -> (none)", "after pkill -f 3390:lab -> (none)"}},
		{[]string{"--all"}, []string{`"Lab" by connection`, route}},
		{[]string{"--by", "hook", "Lab"}, []string{
			`"Lab" by hook`, "gate.corp.example.com -> ", " start ssh://gate.corp.example.com/lab.corp.example.com:3389 127.",
			"--keep-alive -- -J bastion.corp.example.com -o ServerAliveInterval=5 after pkill -f 3390:lab -> ", " stop ssh://gate",
		}},
	} {
		got := words(tc.args...)
		for _, want := range tc.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q says %q, want %q", tc.args, got, want)
			}
		}
	}

	check(t, os.Remove(filepath.Join(d.dir, "bin", "ssh")))
	d.profile(nativeProfiles, "lab.remmina", strings.NewReplacer(
		"ssh -J bastion.corp.example.com -o ServerAliveInterval=5 -f -N -L 3390:lab.corp.example.com:3389 gate.corp.example.com",
		"pomerium-cli tcp lab.corp.example.com:3389 --listen :3390").Replace(text))
	for _, args := range [][]string{{"Lab"}, {"--all"}} {
		for _, dry := range [][]string{nil, {"--dry-run"}} {
			e := d.do(append(append([]string{"remmina", "enable"}, dry...), args...)...)
			if e.status != exitNoProgram || !strings.Contains(e.stderr, "pomerium-cli was not found") || strings.Contains(e.stdout, "Lab") {
				t.Errorf("%q %q: %+v", dry, args, e)
			}
		}
	}
}
