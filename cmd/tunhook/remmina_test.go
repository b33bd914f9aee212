package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/scripts"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// profile writes a Remmina profile into a directory below the account's home.
func (a *account) profile(dir, file, text string) (path string) {
	a.t.Helper()
	dir = filepath.Join(a.dir, "home", dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	path = filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// The directories of Remmina's profiles.
const (
	nativeProfiles  = ".local/share/remmina"
	flatpakProfiles = ".var/app/org.remmina.Remmina/data/remmina"
)

const deskProfile = "[remmina]\nname=My desk\nprotocol=RDP\nserver=desk.example.com\nusername=me\n"

// keys reads the keys of a profile.
func keys(t testing.TB, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			found[key] = value
		}
	}
	return found
}

func TestRemminaUsageErrors(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	path := a.profile(nativeProfiles, "desk.remmina", deskProfile)
	for _, test := range [][]string{
		{"which command?", "remmina"},
		{`unknown command "frobnicate"`, "remmina", "frobnicate"},
		{"one profile is needed", "remmina", "enable"},
		{"one profile is needed", "remmina", "enable", ""},
		{"one profile is needed", "remmina", "enable", "My desk", "My other desk"},
		{"one profile is needed", "remmina", "disable"},
		{"one profile is needed", "remmina", "show"},
		{"too many arguments", "remmina", "list", "My desk"},
		{"takes none after", "remmina", "enable", "My desk", "--", "xfreerdp"},
		{"takes none after", "remmina", "list", "--", "My desk"},
		{"-frob", "remmina", "enable", "My desk", "--frob"},
		{"no port", "remmina", "enable", "My desk", "--listen", "0"},
		{"is another one each time", "remmina", "enable", "My desk", "--listen", "auto"},
		{`--by is "wire"`, "remmina", "enable", "My desk", "--by", "wire"},
		{`--by is ""`, "remmina", "enable", "My desk", "--by", ""},
		{`unknown scheme "gopher"`, "remmina", "enable", "My desk", "--route", "gopher://desk"},
	} {
		a.refused(exitUsage, test[0], test[1:]...)
	}
	a.refused(exitUsage, `no profile "Your desk"`, "remmina", "enable", "Your desk")
	if data, err := os.ReadFile(path); err != nil || string(data) != deskProfile {
		t.Errorf("the profile is %q, %v", data, err)
	}
}

func TestOnlyAProfileThatCannotBeWrittenIsNotAUsageError(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	junk := a.profile(nativeProfiles, "junk.remmina", "hello\n")
	damaged := a.profile(nativeProfiles, "damaged.remmina", deskProfile+"tunhook_route=desk.example.com:3389\n")
	unwritable := a.profile(nativeProfiles, "desk.remmina", deskProfile)
	check(t, os.Chmod(unwritable, 0o400))
	for _, command := range []string{"show", "enable", "disable"} {
		a.refused(exitUsage, "cannot be read", "remmina", command, "./no.remmina")
		a.refused(exitUsage, "not a Remmina profile", "remmina", command, junk)
		a.refused(exitUsage, "what was there before tunhook is not known", "remmina", command, damaged)
	}
	a.refused(exitUnexpected, "cannot be written", "remmina", "enable", "--by", "hook", unwritable)
}

// TestRemminaEnableTellsOfASpaceInTheServer, which was pasted with it.
func TestRemminaEnableTellsOfASpaceInTheServer(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	path := a.profile(nativeProfiles, "desk.remmina", strings.Replace(deskProfile, "desk.example.com", "desk.example.com:3389 ", 1))
	enable := []string{"remmina", "enable", "--by", "hook", "--listen", a.address, path}
	const word = "the server of My desk has a space before or behind it, which is left out"
	if r := a.do("remmina", "enable", path); r.status != exitNoProgram || !strings.Contains(r.stderr, word) {
		t.Errorf("by connection, for which a program is missing: %v, want %q", r, word)
	}
	if r := a.do(enable...); r.status != exitDone || !strings.Contains(r.stderr, word) || keys(t, path)["server"] != a.address {
		t.Errorf("%v, want %q", r, word)
	}
	if r := a.do(enable...); r.status != exitDone || strings.Contains(r.stderr, word) {
		t.Errorf("enabled again: %v", r)
	}
}

// Enabling again without flags changes nothing, wherever the profile connects to; but a route's own address goes with its route.
func TestRemminaEnableAgainKeepsTheListenAddress(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	path := a.profile(nativeProfiles, "desk.remmina", deskProfile)
	enable := func(want string, flags ...string) {
		t.Helper()
		a.must(append([]string{"remmina", "enable", "--by", "hook", path}, flags...)...)
		now := keys(t, path)
		if now["server"] != want || !strings.HasSuffix(now["postcommand"], " "+want) {
			t.Errorf("with %q it connects to %q and runs %q, want %s", flags, now["server"], now["postcommand"], want)
		}
	}
	const other = "lab.example.com:3389"
	stable := func(route string) string {
		path := a.profile(nativeProfiles, "stable.remmina", deskProfile)
		a.must("remmina", "enable", "--by", "hook", path, "--route", route, "--listen", "stable")
		return keys(t, path)["server"]
	}
	ofDesk, ofOther := stable("desk.example.com:3389"), stable(other)

	enable(ofDesk)
	enable(ofOther, "--route", other)
	enable(a.address, "--listen", a.address)
	enable(a.address)
	enable(a.address, "--route", "desk.example.com:3389")
	enable(ofDesk, "--listen", "stable")
	enable(ofDesk)
}

func TestRemminaEnableByHookAndDisable(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	path := a.profile(nativeProfiles, "desk.remmina", deskProfile)
	if e := a.do("remmina", "enable", "--by", "hook", "My desk"); e.status != 0 || e.stdout != "" || !strings.Contains(e.stderr, `"My desk" now starts its tunnel for desk.example.com:3389`) {
		t.Errorf("enable: %+v", e)
	}
	now := keys(t, path)
	address := now["server"]
	if !strings.HasPrefix(address, "127.") || !strings.HasSuffix(address, ":3389") {
		t.Errorf("the server is %q, want the route's own loopback address", address)
	}
	start := a.program + " start desk.example.com:3389 " + address + " --ready rdp --end-with parent --keep-alive"
	if now["precommand"] != start || now["postcommand"] != a.program+" stop desk.example.com:3389 "+address {
		t.Errorf("the profile runs %q and %q", now["precommand"], now["postcommand"])
	}
	enabled, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if e := a.do("remmina", "enable", path, "--by=hook"); e.status != 0 || !strings.Contains(e.stderr, "is enabled already") {
		t.Errorf("enable again: %+v", e)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(enabled) {
		t.Errorf("enabling twice changed %q to %q, %v", enabled, again, err)
	}
	if shown := a.must("remmina", "show", "desk.remmina"); !strings.Contains(shown, start) || !strings.Contains(shown, "desk.example.com") {
		t.Errorf("show: %q", shown)
	}
	if listed := a.must("remmina", "list"); !slices.Contains(strings.Fields(listed), "yes") || !strings.Contains(listed, "My desk") {
		t.Errorf("list: %q", listed)
	}
	if e := a.do("remmina", "disable", "My desk"); e.status != 0 || !strings.Contains(e.stderr, `"My desk" is as it was`) {
		t.Errorf("disable: %+v", e)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != deskProfile {
		t.Errorf("the profile is %q, %v", data, err)
	}
	if e := a.do("remmina", "disable", "My desk"); e.status != 0 || !strings.Contains(e.stderr, "is not enabled") {
		t.Errorf("disable again: %+v", e)
	}
}

func TestRemminaKeepsCommandsThatAreNotItsOwn(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	text := deskProfile + "precommand=/usr/bin/my-vpn up\n"
	path := a.profile(nativeProfiles, "desk.remmina", text)
	a.refused(exitUsage, `"/usr/bin/my-vpn up"`, "remmina", "enable", "--by", "hook", "My desk")
	a.must("remmina", "enable", "--by", "hook", "--force", "My desk")
	if now := keys(t, path)["precommand"]; !strings.Contains(now, " start ") {
		t.Errorf("the profile runs %q", now)
	}
	a.must("remmina", "disable", "My desk")
	if data, err := os.ReadFile(path); err != nil || string(data) != text {
		t.Errorf("the profile is %q, %v", data, err)
	}
}

// What enable writes must be what start and stop understand.
func TestTheCommandsOfAProfileStartAndStopItsTunnel(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{nativeProfiles, flatpakProfiles} {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			path := a.profile(dir, "desk.remmina", deskProfile)
			a.must("remmina", "enable", "--by", "hook", "desk", "--route", relayTo(t, tunneltest.ResponderOptions{}), "--listen", a.address)
			now := keys(t, path)
			for _, key := range []string{"precommand", "postcommand"} {
				if inSandbox := strings.HasPrefix(now[key], filepath.Join(a.dir, "home", ".var/app/org.remmina.Remmina/data/tunhook/tunhook ")); inSandbox != (dir == flatpakProfiles) {
					t.Errorf("%s is %q", key, now[key])
				}
			}
			run := func(command string) ended {
				return a.finish(&exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", command}, Env: a.environ, Dir: "/"})
			}
			if e := run(now["precommand"]); e.status != 0 || e.stdout != a.address+"\n" {
				t.Errorf("%s: %+v", now["precommand"], e)
			}
			if e := run(now["postcommand"]); e.status != 0 {
				t.Errorf("%s: %+v", now["postcommand"], e)
			}
			a.nothingRuns()
		})
	}
}

func TestTheFlatpakHookRunsTunhookWhereverItIs(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/.flatpak-info"); err == nil {
		t.Skip("in a sandbox the script goes to the host")
	}
	args := []string{"start", "", "with space", `quote'"`, "$HOME `true` \\", "new\nline"}
	for _, name := range []string{"plain", "with space", "single'quote", `double"quote`, "$HOME", "`true`", `back\slash`, "new\nline", "'", "-n", "tunhook=tunhook"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		program, script := filepath.Join(dir, name), filepath.Join(dir, "hook")
		if err := tunneltest.WriteProgram(program, []byte("#!/bin/sh\nprintf '%s|' \"$0\" \"$@\"\nexit 7\n")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(script, []byte(scripts.FlatpakHook(program)), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", append([]string{script}, args...)...)
		out, _ := cmd.Output() // the status tells
		if want := program + "|" + strings.Join(args, "|") + "|"; string(out) != want || cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("the script for %q ran %q with status %d", program, out, cmd.ProcessState.ExitCode())
		}
	}
}
