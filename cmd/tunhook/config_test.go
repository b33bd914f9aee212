package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// configFiles writes the user's configuration: files of those names and texts.
func (w *world) configFiles(files map[string]string) (dir string) {
	w.t.Helper()
	dir = w.path("home", ".config", "tunhook")
	check(w.t, os.MkdirAll(filepath.Join(dir, "config.d"), 0o700))
	for name, text := range files {
		check(w.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestConfigShowsValuesWithTheirOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.configFiles(map[string]string{
		"config.toml":     "[tunnel.desk]\nroute = \"relay://desk:3389\"\nargs = [\"-a\",\n\"-b\"]\nenv = { A = \"s3cret\", B = { file = \"~/b\" } }\n[provider.relay]\nrefused = 'n\"o'\n",
		"config.d/x.toml": "[tunnel.desk]\nargs_add = [\"-c\"]\nlisten = \"3390\"\nenv_add = { C = \"s3cret\" }\n[provider.relay]\nerrors = [{ match = 'x', means = \"down\" }]\n",
	})
	want := "# DIR/config.toml\n# DIR/config.d/x.toml\n\n[tunnel.desk]\n" +
		"route = \"relay://desk:3389\"  # DIR/config.toml:2\nlisten = \"3390\"  # DIR/config.d/x.toml:3\n" +
		"args = [\"-a\", \"-b\", \"-c\"]  # DIR/config.toml:3, DIR/config.d/x.toml:2\n" +
		"env = { A = \"…\", B = { file = \"~/b\" }, C = \"…\" }  # DIR/config.toml:5, DIR/config.d/x.toml:4\n\n[provider.relay]\n" +
		"errors = [{ match = \"x\", means = \"down\" }]  # DIR/config.d/x.toml:6\nrefused = \"n\\\"o\"  # DIR/config.toml:7"
	if got := w.must("config"); got != strings.ReplaceAll(want, "DIR", dir) {
		t.Errorf("config:\n%s\nwant:\n%s", got, want)
	}
	got := w.must("config", "relay")
	for _, line := range []string{"anew = true  # built in", "signal = \"TERM\"  # default", "refused = \"n\\\"o\"  # " + dir + "/config.toml:7"} {
		if !strings.Contains(got, "\n"+line) || strings.Contains(got, "tunnel.desk") {
			t.Errorf("config relay:\n%s\nwant %s", got, line)
		}
	}
	if near := w.do("config", "pomeriun"); near.status != exitUsage || !strings.Contains(near.stderr, "did you mean pomerium?") {
		t.Errorf("%+v", near)
	}
	if none := w.do("config", "nope"); none.status != exitUsage || !strings.Contains(none.stderr, "[tunnel.nope]") {
		t.Errorf("config nope: %+v", none)
	}
}

// TestAFaultIsToldWhereItIsUsed, and the rest works.
func TestAFaultIsToldWhereItIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	echo := "route = \"relay://" + echoServer(t) + "\"\n"
	dir := w.configFiles(map[string]string{
		"config.toml":     "[tunnel.good]\n" + echo + "[tunnel.bad]\n" + echo + "listn = 1\n",
		"config.d/1.toml": "[tunnel.lost]\n" + echo + "= no TOML\n",
	})
	first, second := dir+"/config.toml:5: ", dir+"/config.d/1.toml:3: "
	for route, says := range map[string]string{"bad": first + "unknown key", "lost": second, "unknown": second} {
		if e := w.do("start", route); e.status != exitUsage || !strings.Contains(e.stderr, says) {
			t.Errorf("start %s: %+v, want %s", route, e, says)
		}
	}
	e := w.do("start", "good")
	if e.status != exitDone || !strings.Contains(e.stderr, "warning: "+second) || strings.Count(e.stderr, "\n") != 1 {
		t.Errorf("start good: %+v, want a warning of %s", e, second)
	}
	for command, says := range map[string][]string{"config": {"tunhook: " + first, "tunhook: " + second}, "status --all": {"tunhook: " + first, "tunhook: " + second}} {
		e := w.do(strings.Fields(command)...)
		for _, say := range says {
			if strings.Count(e.stderr, say) != 1 || !strings.Contains(e.stdout, "good") {
				t.Errorf("%s: %+v, want %s", command, e, say)
			}
		}
	}
	w.must("stop", "good")
	w.nothingLeft()
}

func TestStatusAllListsWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	echo := "relay://" + echoServer(t)
	address := "127.0.0.1:" + port(t)
	w.configFiles(map[string]string{
		"config.toml":     "[tunnel.runs]\nroute = \"" + echo + "\"\n[tunnel.free]\nroute = \"" + echo + "\"\n[tunnel.elsewhere]\nroute = \"" + echo + "\"\nlisten = \"" + address + "\"\n",
		"config.d/1.toml": "[tunnel.still]\nroute = \"ssh://g/desk:3389\"\nlisten = \"3390\"\n",
	})
	w.must("start", "runs")
	w.must("start", echo, address) // which is that of "elsewhere", by another name
	var idle []string
	for _, line := range strings.Split(w.must("status", "--all"), "\n")[1:] {
		if fields := strings.Fields(line); fields[2] == "not" {
			idle = append(idle, strings.Join(fields, " "))
		}
	}
	if want := []string{"free - not running - - -", "still 127.0.0.1:3390 not running - - -"}; !slices.Equal(idle, want) {
		t.Errorf("%q do not run, want %q", idle, want)
	}
	got := w.must("status", "--all", "--json")
	for _, part := range []string{"\"route\": \"still\",\n      \"listen\": \"127.0.0.1:3390\",\n      \"address\": \"127.0.0.1:3390\",\n      \"state\": \"not running\"", "\"listen\": \"auto\",\n      \"address\": \"\""} {
		if !strings.Contains(got, part) {
			t.Errorf("%s\nwant %s", got, part)
		}
	}
	if strings.Contains(w.must("status"), "still") {
		t.Error("status shows what does not run")
	}
	if e := w.do("status", "--all", "runs"); e.status != exitUsage {
		t.Errorf("%+v", e)
	}
	if got := w.tab("tunhook start st"); !slices.Equal(got, []string{"still"}) {
		t.Errorf("completion offers %q", got)
	}
	w.must("stop", "--all")
	w.nothingLeft()
}
