package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process"
)

// refuse runs tunhook on input that it must refuse: with that status, one line that holds the words, and nothing changed.
func (w *world) refuse(status int, words []string, args ...string) {
	w.t.Helper()
	before := files(w.dir)
	r := w.do(args...)
	if r.status != status || r.stdout != "" || !isOneMessage(r.stderr) {
		w.t.Errorf("tunhook %.100q: %v; want status %d and one line on stderr", args, r, status)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			w.t.Errorf("tunhook %.100q says %q, which lacks %q", args, r.stderr, word)
		}
	}
	if after := files(w.dir); !maps.Equal(before, after) {
		w.t.Errorf("tunhook %.100q changed files: before\n%q\nafter\n%q", args, before, after)
	}
	if left := w.left(); len(left) > 0 {
		w.t.Errorf("tunhook %.100q left behind: %s", args, describe(left))
	}
}

func TestBadRoutesAreNamedWithTheWayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const letters = "a route has only letters, digits and"
	for _, tc := range []struct {
		route string
		words []string
	}{
		{"", []string{`route ""`, "is empty: give HOST:PORT"}},
		{"desk.example.com:3389\nrm", []string{`\n`, letters}},
		{"../../etc/passwd", []string{`"../../etc/passwd"`, "a route is not a path"}},
		{"relay://../x:1", []string{"a route is not a path"}},
		{"desk top:3389", []string{`"desk top:3389"`, letters}},
		{"desk;reboot:3389", []string{"holds ';'", letters}},
		{"$(reboot):3389", []string{"holds '$'", letters}},
		{"`reboot`:3389", []string{"holds '`'", letters}},
		{"a|b:3389", []string{"holds '|'", letters}},
		{"a&b:3389", []string{"holds '&'", letters}},
		{"a>b:3389", []string{"holds '>'", letters}},
		{"a*b:3389", []string{"holds '*'", letters}},
		{`a\b:3389`, []string{letters}},
		{`a"b:3389`, []string{letters}},
		{"a'b:3389", []string{letters}},
		{"a\x1b[31mb:3389", []string{`\x1b`, letters}},
		{"a\u202eb:3389", []string{`\u202e`, letters}},
		{"a\xffb:3389", []string{"is not valid UTF-8"}},
		{strings.Repeat("a", 10_000), []string{"(10000 characters)", "is longer than 1024 characters"}},
		{strings.Repeat("a", 10_000) + ":3389", []string{"(10005 characters)", "is longer than 1024 characters"}},
		{"gopher://desk:70", []string{`"gopher://desk:70"`, `unknown scheme "gopher"`, "known are", "relay", "[provider.gopher]", "config.toml"}},
		{"desk", []string{`"desk"`, "neither HOST:PORT nor SCHEME://", "[tunnel.NAME]", "config.toml"}},
		{"desk:0", []string{`"desk:0"`, "has port 0: ports go from 1 to 65535"}},
		{"desk:65536", []string{"has port 65536: ports go from 1 to 65535"}},
		{"desk:99999999999999999999", []string{"ports go from 1 to 65535"}},
		{"desk:rdp", []string{`"desk:rdp"`, "does not have the form HOST:PORT"}},
		{"desk:", []string{"does not have the form HOST:PORT"}},
		{":3389", []string{"does not have the form HOST:PORT"}},
		{"relay://desk", []string{"does not have the form relay://HOST:PORT", "with a port: relay://desk:3389 for a desktop by RDP"}},
		{"desk.example.com", []string{`"desk.example.com" has no port: write desk.example.com:3389 for a desktop by RDP`}},
		{"SSH://gateway/desk:3389", []string{`unknown scheme "SSH"`, "did you mean ssh://?"}},
		{"realy://desk:3389", []string{`unknown scheme "realy"`, "did you mean relay://?"}},
		{"rdp://desk:3389", []string{"is an address for a client (rdp://)", "HOST:PORT (Pomerium)", "ssh://GATEWAY/HOST:PORT"}},
		{"https://desk.example.com", []string{"is an address for a client (https://)", "tcp+https://GATEWAY/HOST:PORT"}},
		{"ssh://gateway", []string{"does not have the form ssh://"}},
		{"ssh://user:secret@gateway/desk:3389", []string{"does not have the form ssh://"}},
		{"ssh://-oProxyCommand=x/desk:3389", []string{"does not have the form ssh://"}},
		{"kubectl://n/pod/-x:1", []string{"does not have the form kubectl://"}},
		{"relay://-x:1", []string{"does not have the form relay://"}},
	} {
		w.refuse(exitUsage, tc.words, "start", tc.route, "3389")
		w.refuse(exitRunFailed, tc.words, "run", tc.route, "--", "true")
		if tc.route != "" { // which is no route at all to them
			w.refuse(exitUsage, tc.words, "wait", tc.route)
			w.refuse(exitUsage, tc.words, "stop", tc.route, "3389")
		}
	}
}

func TestRouteThatBeginsWithADashIsNeverAnArgument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, route := range []string{"-oProxyCommand=reboot:1", "--listen=0.0.0.0:1", "-x:1"} {
		w.refuse(exitUsage, []string{strings.TrimLeft(route, "-")[:1]}, "start", route, "3389")
	}
}

func TestBadListenAddressesAreNamedWithTheWayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const wayOut = `give PORT or IP:PORT, "stable", or leave it out`
	for _, tc := range []struct {
		listen string
		words  []string
	}{
		{"0", []string{`"0"`, "between 1 and 65535", wayOut}},
		{"65536", []string{`"65536"`, "between 1 and 65535", wayOut}},
		{"abc", []string{`"abc"`, wayOut}},
		{":", []string{`":"`, wayOut}},
		{"127.0.0.1:0", []string{`"127.0.0.1:0"`, wayOut}},
		{"127.0.0.1", []string{`"127.0.0.1"`, wayOut}},
		{"::1:3389", []string{`"::1:3389"`, "[::1]:3389"}},
		{"[::1%lo]:3389", []string{`"[::1%lo]:3389"`, "has a zone", "give [::1]:PORT", "\"stable\", or leave it out"}},
		{"[fe80::1%eth0]:3389", []string{"has a zone", "give [::1]:PORT"}},
		{"127.1:3389", []string{`"127.1:3389"`, "is not an IP address", wayOut}},
		{"0:3389", []string{`"0:3389"`, "is not an IP address", wayOut}},
		{"224.0.0.1:3389", []string{`"224.0.0.1:3389"`, "no client can connect to it", wayOut}},
		{"desk.example.com:3389", []string{"is not an IP address", wayOut}},
		{"127.0.0.1:3389\n", []string{`\n`, wayOut}},
		{"3389;reboot", []string{"3389;reboot", wayOut}},
		{"+3389", []string{`"+3389"`, wayOut}},
		{"192.0.2.1:3389", []string{"192.0.2.1:3389", "is not an address of this machine: use 127.0.0.1:PORT"}},
		{"[2001:db8::1]:3389", []string{"[2001:db8::1]:3389", "this machine"}},
		{strings.Repeat("9", 10_000), []string{"(10000 characters)", wayOut}},
	} {
		w.refuse(exitUsage, tc.words, "start", "relay://127.0.0.1:9", tc.listen)
		w.refuse(exitRunFailed, tc.words, "run", "relay://127.0.0.1:9", tc.listen, "--", "true")
	}
	for _, args := range [][]string{
		{"stop", "relay://127.0.0.1:9"},
		{"status", "relay://127.0.0.1:9"},
		{"logs", "relay://127.0.0.1:9"},
		{"wait", "relay://127.0.0.1:9"},
		{"listen", "relay://127.0.0.1:9"},
		{"enable", "relay://127.0.0.1:9"},
		{"disable", "relay://127.0.0.1:9"},
		{"wait", "--listen"},
	} {
		w.refuse(exitUsage, []string{"has a zone", "give [::1]:PORT"}, append(args, "[::1%lo]:3389")...)
	}
	w.nothingLeft()
}

func TestAddressThatOthersReachIsWarnedAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := wildcardAddress(t)
	_, port, _ := strings.Cut(address, ":")
	r := w.do("start", "relay://127.0.0.1:9", address)
	if want := "tunhook: warning: other machines can reach " + address + ": use 127.0.0.1:" + port + " to keep them out\n"; r.status != 0 || r.stderr != want {
		t.Errorf("%v, want stderr %q", r, want)
	}
	w.must("stop", "relay://127.0.0.1:9", address)
	w.nothingLeft()
}

// TestBadRecordsAreSetAside: whatever stands in the place of a record is moved away, named, and kept.
func TestBadRecordsAreSetAside(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		damage func(t *testing.T, path string)
		words  string
	}{
		"empty":     {overwrite(""), "is empty"},
		"truncated": {overwrite(`{"version":1,"route":"rel`), "is damaged"},
		"random":    {overwrite("\x8a\x00\xff\x13\x37 \n\x00{{{"), "is damaged"},
		"null":      {overwrite("null"), "is damaged"},
		"list":      {overwrite("[]"), "is damaged"},
		"no pid":    {overwrite(`{"version":1,"route":"r","listen":"l","token":"t"}`), "is damaged"},
		"pid 1": {
			overwrite(`{"version":1,"route":"r","listen":"l","token":"t","address":"127.0.0.1:1","tunnel":{"pid":1,"start_ticks":5}}`),
			"is damaged (pid 1)",
		},
		"pid -1": {
			overwrite(`{"version":1,"route":"r","listen":"l","token":"t","address":"127.0.0.1:1","tunnel":{"pid":-1,"start_ticks":5}}`),
			"is damaged (pid -1)",
		},
		"newer": {overwrite(`{"version":99,"tunnel":"in another form"}`), "is from a newer tunhook (record version 99"},
		"huge":  {overwrite(strings.Repeat("x", 1<<20)), "is too large"},
		"directory": {func(t *testing.T, path string) {
			check(t, os.MkdirAll(filepath.Join(path, "with", "things"), 0o700))
		}, "is not a regular file"},
		"symlink": {func(t *testing.T, path string) {
			check(t, os.WriteFile(path+".target", []byte("precious"), 0o600))
			check(t, os.Symlink(path+".target", path))
		}, "is a symbolic link"},
		"pipe": {func(t *testing.T, path string) { check(t, syscall.Mkfifo(path, 0o600)) }, "is not a regular file"},
		"unreadable": {func(t *testing.T, path string) {
			if os.Geteuid() == 0 {
				t.Skip("root reads everything")
			}
			check(t, os.WriteFile(path, []byte("x"), 0))
		}, "cannot be read"},
		"somebody else's": {func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			check(t, os.WriteFile(path, []byte("{}"), 0o600))
			check(t, os.Chown(path, 65534, 65534))
		}, "belongs to uid 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, route, port := newWorld(t), "relay://127.0.0.1:9", port(t)
			w.must("start", route, port)
			record := w.recordFile()
			w.must("stop", route, port)
			tc.damage(t, record)

			status := w.do("status")
			if status.status != 0 || !strings.Contains(status.stderr, tc.words) || !strings.Contains(status.stderr, record) {
				t.Errorf("status: %v", status)
			}
			w.expectSetAside(record, tc.words, w.do("start", route, port))
			if err := os.RemoveAll(onlyMatch(t, record+".bad-*")); err != nil {
				t.Fatal(err)
			}
			if free("127.0.0.1:" + port) {
				t.Error("start started nothing")
			}
			w.must("stop", route, port)

			os.RemoveAll(record + ".target")
			tc.damage(t, record)
			w.expectSetAside(record, tc.words, w.do("stop", route, port))
		})
	}
}

// TestRecordOfAnotherTunnelIsSetAside: a copy under another tunnel's name must not lead a stop to the wrong one.
func TestRecordOfAnotherTunnelIsSetAside(t *testing.T) {
	t.Parallel()
	w, p, q := newWorld(t), port(t), port(t)
	w.must("start", "relay://127.0.0.1:9", p)
	record := w.recordFile()
	w.must("stop", "relay://127.0.0.1:9", p)
	w.must("start", "relay://127.0.0.1:9", q)
	data, err := os.ReadFile(w.recordFile())
	check(t, err)
	check(t, os.WriteFile(record, data, 0o600))

	w.expectSetAside(record, "is of another tunnel", w.do("stop", "relay://127.0.0.1:9", p))
	if free("127.0.0.1:" + q) {
		t.Error("the other tunnel was ended")
	}
	w.must("stop", "relay://127.0.0.1:9", q)
}

// TestSettingAsideNamesTheTunnelThatIsLeft where the record of a running one is damaged: nothing else leads to it.
func TestSettingAsideNamesTheTunnelThatIsLeft(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	w.must("start", "relay://127.0.0.1:9", port)
	record, tunnel := w.recordFile(), w.record().Tunnel
	overwrite("{")(t, record)
	r := w.do("stop", "relay://127.0.0.1:9", port)
	want := fmt.Sprintf(": set aside as %s; if its tunnel is tunhook (pid %d), which serves its address, that must be ended by hand\n",
		filepath.Base(onlyMatch(t, record+".bad-*")), tunnel.PID)
	if r.status != 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("%v, want %q", r, want)
	}
	if !tunnel.Alive() {
		t.Error("a process that no record names was ended")
	}
	killAll([]process.Identity{tunnel})
	awaitEnd(t, tunnel)
}

func overwrite(text string) func(*testing.T, string) {
	return func(t *testing.T, path string) { check(t, os.WriteFile(path, []byte(text), 0o600)) }
}

// expectSetAside wants success, and a line that names the record and what it is called now, beside which it lies.
func (w *world) expectSetAside(record, words string, r result) {
	w.t.Helper()
	aside := onlyMatch(w.t, record+".bad-*")
	line, _, _ := strings.Cut(r.stderr, "\n")
	if r.status != 0 || !strings.HasPrefix(line, "tunhook: record "+record+" ") || !strings.Contains(line, words) || !strings.HasSuffix(line, ": set aside as "+filepath.Base(aside)) {
		w.t.Errorf("%v, want a line that says %q and that it was set aside as %s", r, words, aside)
	}
	if target, err := os.ReadFile(record + ".target"); err == nil && string(target) != "precious" {
		w.t.Errorf("what the link leads to was changed to %q", target)
	}
}

func onlyMatch(t testing.TB, pattern string) string {
	t.Helper()
	found, _ := filepath.Glob(pattern)
	if len(found) != 1 {
		t.Fatalf("%s matches %q, want one file", pattern, found)
	}
	return found[0]
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
