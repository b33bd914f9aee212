package tunnel

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files of those names and texts below a directory, and loads the configuration of system and user in it. A text of
// "DIR" is a directory.
func tree(t *testing.T, files map[string]string) (c *Config, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch {
		case err == nil && text == "DIR":
			err = os.Mkdir(path, 0o700)
		case err == nil:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return LoadConfig(filepath.Join(dir, "etc", "config.toml"), filepath.Join(dir, "home", "config.toml")), dir
}

func TestDropInsComeInTheOrderOfTheirNames(t *testing.T) {
	files := map[string]string{"home/config.d/z.conf": "x", "home/config.d/.hidden.toml": "x", "home/config.d/z.toml~": "x", "etc/config.d/sub/z.toml": "x"}
	order := []string{
		"etc/config.toml", "etc/config.d/10-a.toml", "etc/config.d/9-b.toml", "etc/config.d/B.toml", "etc/config.d/a.toml",
		"home/config.toml", "home/config.d/00.toml", "home/config.d/01.toml",
	}
	for _, name := range order {
		files[name] = "[provider.ssh]\nsign_in = \"(" + name + ")\"\nargs_add = [\"" + name + "\"]\n"
	}
	c, _ := tree(t, files)
	p := mustProvider(t, c, "ssh")
	if p.SignIn != "(home/config.d/01.toml)" || !slices.Equal(p.Args, order) || len(c.Faults()) > 0 {
		t.Errorf("sign_in %q, args %q, want %q; %v", p.SignIn, p.Args, order, c.Faults())
	}
}

func TestDropInsAlone(t *testing.T) {
	c, _ := tree(t, map[string]string{"home/config.d/desks.toml": "[tunnel.desk]\nroute = \"desk:3389\"\n"})
	if r := mustRoute(t, c, "desk"); r.Text != "desk:3389" || len(c.Faults()) > 0 {
		t.Errorf("%+v, %v", r, c.Faults())
	}
}

func TestTunnelTablesMergeKeyByKey(t *testing.T) {
	c, _ := tree(t, map[string]string{
		"etc/config.toml": `
[tunnel.desk]
route = "desk:3389"
listen = "stable"
args = ["-a"]
timeout = "30s"
probe = true
env = { A = "1", B = "1" }
before = [["up"]]
[tunnel.other]
route = "other:3389"
args = ["-o"]
`,
		"etc/config.d/50.toml":  "[tunnel.desk]\nargs_add = [\"-b\"]\nready = \"rdp\"\nenv_add = { B = \"2\", C = \"2\" }\nbefore_add = [[\"wake\"]]\nafter_add = [[\"down\"]]\n",
		"home/config.toml":      "[tunnel.desk]\nargs_add = [\"-c\"]\nlisten = \"3390\"\nprobe = false\n[tunnel.other]\nroute = \"mine:3389\"\nargs_add = [\"-m\"]\n",
		"home/config.d/90.toml": "[tunnel.desk]\ntimeout = \"\"\n",
	})
	no := false
	want := Named{
		Route: "desk:3389", Listen: "3390", Args: []string{"-a", "-b", "-c"}, Ready: "rdp", Env: map[string]any{"A": "1", "B": "2", "C": "2"},
		Before: Steps{{"up"}, {"wake"}}, After: Steps{{"down"}}, Probe: &no,
	}
	if diff := cmp.Diff(want, mustRoute(t, c, "desk").Named); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Named{Route: "mine:3389", Args: []string{"-m"}}, mustRoute(t, c, "other").Named); diff != "" {
		t.Errorf("a table with a route is whole: %s", diff)
	}
}

func TestProviderListsAreAddedToOrReplaced(t *testing.T) {
	embedded := *mustProvider(t, mustLoad(t), "chisel")
	c := mustLoad(t,
		"[provider.chisel]\nargs = [\"-1\"]\nenv = { A = \"1\" }\nrefused = \"no\"\n",
		"[provider.chisel]\nargs_add = [\"-2\"]\nenv_add = { B = \"2\" }\nroutes_add = [\"ch://{gateway}/{host}:{port}\"]\ndefaults_add = { gateway_port = 8443 }\nbefore_add = [[\"up\"]]\n",
		"[provider.chisel]\nargs = [\"-3\"]\nargs_add = [\"-4\"]\nafter_add = [[\"down\"]]\n")
	want := embedded
	want.Args, want.Env, want.Refused = []string{"-3", "-4"}, map[string]any{"A": "1", "B": "2"}, "no"
	want.Routes = append(slices.Clone(embedded.Routes), "ch://{gateway}/{host}:{port}")
	want.Defaults, want.Before, want.After = map[string]any{"gateway_port": int64(8443)}, Steps{{"up"}}, Steps{{"down"}}
	if diff := cmp.Diff(want, *mustProvider(t, c, "chisel"), cmp.AllowUnexported(Provider{})); diff != "" {
		t.Error(diff)
	}
	if again := mustProvider(t, mustLoad(t), "chisel"); again.Defaults["gateway_port"] != int64(443) || len(again.Routes) != 1 {
		t.Errorf("the embedded provider was changed: %+v", again)
	}
}

// TestOneTypoBreaksWhatItConcerns, and nothing else: what is wrong is said where that is used, with file and line.
func TestOneTypoBreaksWhatItConcerns(t *testing.T) {
	const good = "[tunnel.good]\nroute = \"relay://good:3389\"\n[tunnel.desk]\nroute = \"relay://desk:3389\"\n" // 4 lines
	for name, tc := range map[string]struct {
		text string
		at   string // file:line, file in etc
		bad  []string
		fine []string
	}{
		"unknown key of a tunnel":        {good + "listn = \"1\"\n", "config.d/x.toml:5", []string{"desk"}, []string{"good", "ssh://g/h:1", "desk:3389"}},
		"two unknown keys":               {good + "listn = \"1\"\nread = 1\n", "config.d/x.toml:5", []string{"desk"}, []string{"good"}},
		"value of another type":          {good + "listen = 3389\n", "config.d/x.toml:5", []string{"desk"}, []string{"good"}},
		"bad value":                      {good + "timeout = \"x\"\n", "config.d/x.toml:5", []string{"desk"}, []string{"good"}},
		"route that cannot be":           {good + "[tunnel.x]\nlisten = \"1\"\nroute = \"gopher://x\"\n", "config.d/x.toml:7", []string{"x"}, []string{"good", "desk"}},
		"table below a header":           {good + "[tunnel.desk.env]\nA = 1.5\n", "config.d/x.toml:5", []string{"desk"}, []string{"good"}},
		"inline tables":                  {"tunnel = { good = { route = \"relay://a:1\" },\n desk = { route = \"relay://a:1\", x = 1 } }\n", "config.d/x.toml:2", []string{"desk"}, []string{"good"}},
		"dotted keys":                    {"tunnel.good.route = \"relay://a:1\"\ntunnel.desk.route = \"relay://a:1\"\ntunnel.desk.x = 1\n", "config.d/x.toml:3", []string{"desk"}, []string{"good"}},
		"a header in a string":           {"[tunnel.good]\nroute = \"relay://a:1\"\nbefore = [[\"\"\"\n[tunnel.desk]\nx = 1\n\"\"\"]]\n[tunnel.desk]\nroute = \"relay://a:1\"\nx = 1\n", "config.d/x.toml:9", []string{"desk"}, []string{"good"}},
		"provider of one's own":          {good + "[provider.oc]\nroutes = [\"oc://{host}\", \"occ://{host}\"]\ncommand = [\"oc\", \"{hots}\"]\n", "config.d/x.toml:5", []string{"oc://x", "occ://x"}, []string{"good", "ssh://g/h:1", "desk:1"}},
		"embedded provider":              {good + "[provider.ssh]\nsignal = \"SIGTERM\"\n", "config.d/x.toml:5", []string{"ssh://g/h:1"}, []string{"good", "desk:1", "oci-bastion://s@r/h:1"}},
		"Pomerium, which has no scheme":  {good + "[provider.pomerium]\narg = [\"x\"]\n", "config.d/x.toml:6", []string{"desk:1", "tcp+https://g/h:1"}, []string{"good", "ssh://g/h:1"}},
		"added to what is there":         {good + "[provider.pomerium]\nargs_add = \"x\"\n", "config.d/x.toml:6", []string{"desk:1"}, []string{"good"}},
		"tunnel through a broken one":    {good + "[tunnel.lab]\nroute = \"ssh://g/h:1\"\n[provider.ssh]\nx = 1\n", "config.d/x.toml:8", []string{"lab"}, []string{"good"}},
		"no TOML":                        {good + "listen = \n", "config.d/x.toml:5", []string{"good", "desk"}, []string{"sys", "ssh://g/h:1"}},
		"no TOML, with a provider":       {"[provider.ssh]\nargs = [\"x\n", "config.d/x.toml:2", []string{"ssh://g/h:1"}, []string{"sys", "desk:1"}},
		"no TOML, quoted names":          {"[ tunnel . \"good\" ]\n[provider.'ssh']\nx\n", "config.d/x.toml:3", []string{"ssh://g/h:1", "good"}, []string{"sys"}},
		"no TOML over a table below":     {"[tunnel.sys]\nlisten = 1 2\n", "config.d/x.toml:2", []string{"sys"}, []string{"ssh://g/h:1"}},
		"not a table":                    {"tunnel = 1\n", "config.d/x.toml:1", []string{"desk"}, []string{"sys"}},
		"unknown table":                  {"[tunels.desk]\nroute = \"a:1\"\n", "config.d/x.toml:1", []string{"desk"}, []string{"sys", "a:1"}},
		"unknown table, unknown scheme":  {"[providers.oc]\ncommand = [\"a\"]\n", "config.d/x.toml:1", []string{"oc://a:1"}, []string{"sys", "a:1"}},
		"over a table below":             {"[tunnel.sys]\nlisten = \"x\"\n", "config.d/x.toml:1", []string{"sys"}, []string{"a:1"}},
		"incomplete without one below":   {"[tunnel.new]\nlisten = \"1\"\n", "config.d/x.toml:1", []string{"new"}, []string{"sys"}},
		"directory in place of a file":   {"DIR", "config.d/x.toml", []string{"desk", "sys", "a:1"}, nil}, // whatever it was to say
		"route form that a table misses": {"[provider.foo]\nrouts = [\"foo://{host}\"]\ncommand = [\"x\"]\n", "config.d/x.toml:2", []string{"foo://x"}, []string{"sys", "a:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, dir := tree(t, map[string]string{"etc/config.toml": "[tunnel.sys]\nroute = \"relay://sys:1\"\n", "etc/config.d/x.toml": tc.text})
			at := filepath.Join(dir, "etc", tc.at) + ":"
			for _, route := range tc.bad {
				if _, err := c.Route(route); err == nil || !strings.Contains(err.Error(), at) {
					t.Errorf("%s: error %v, want one with %s", route, err, at)
				}
			}
			for _, route := range tc.fine {
				if _, err := c.Route(route); err != nil {
					t.Errorf("%s: %v", route, err)
				}
			}
			if faults := c.Faults(); !slices.ContainsFunc(faults, func(e *ConfigError) bool { return strings.HasPrefix(e.Error(), at) }) {
				t.Errorf("faults %v, want one with %s", faults, at)
			}
			for _, name := range c.Names() {
				if slices.Contains(tc.bad, name) && !strings.Contains(name, "x") && name != "lab" {
					t.Errorf("%s is among the names", name)
				}
			}
		})
	}
}

func TestAllFaultsAreListed(t *testing.T) {
	c, dir := tree(t, map[string]string{
		"etc/config.toml":      "x = 1\n[tunnel.a]\nroute = \"a:1\"\ny = 1\nz = 1\n[tunnel.b]\nlisten = 1\n",
		"etc/config.d/1.toml":  "= \n",
		"home/config.toml":     "[provider.q]\ncommand = []\n[tunnel.a]\nlisten = \"q\"\nq = 1\n",
		"home/config.d/a.toml": "[tunnel.ok]\nroute = \"ok:1\"\n",
	})
	var got []string
	for _, fault := range c.Faults() {
		got = append(got, strings.TrimPrefix(fault.Path, dir)+":"+strings.Repeat("I", fault.Line)+" "+fault.Table)
	}
	want := []string{
		"/etc/config.toml:I ", "/etc/config.toml:IIII tunnel.a", "/etc/config.toml:IIIII tunnel.a", "/etc/config.toml:IIIIIII tunnel.b", "/etc/config.d/1.toml:I ",
		"/home/config.toml:I provider.q", "/home/config.toml:IIIII tunnel.a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if unread := c.Unread(); len(unread) != 2 {
		t.Errorf("unread: %v", unread)
	}
}

func TestAWholeTableMendsWhatIsBrokenBelow(t *testing.T) {
	c, _ := tree(t, map[string]string{
		"etc/config.toml":  "[tunnel.desk]\nroute = \"a:1\"\nx = 1\n[provider.ssh]\nx = 1\n",
		"home/config.toml": "[tunnel.desk]\nroute = \"relay://b:2\"\n[provider.ssh]\ncommand = [\"own\"]\n",
	})
	if r := mustRoute(t, c, "desk"); r.Text != "relay://b:2" {
		t.Errorf("%+v", r)
	}
	if r := mustRoute(t, c, "ssh://desk:1"); r.Provider.Command[0] != "own" {
		t.Errorf("%+v", r.Provider)
	}
	if len(c.Faults()) != 2 {
		t.Errorf("%v", c.Faults())
	}
}

func TestLaterTablesShareNothingWithEarlierOnes(t *testing.T) {
	c := mustLoad(t, "[provider.ssh]\nprobe = true\nargs = [\"-a\", \"-b\"]\n[tunnel.x]\nroute = \"ssh://g/h:1\"\n")
	before := *mustProvider(t, c, "ssh")
	c.add("later.toml", "[provider.ssh]\nprobe = false\nargs = [\"-c\"]\nenv_add = { A = \"1\" }\n")
	if *before.Probe != true || !slices.Equal(before.Args, []string{"-a", "-b"}) || len(before.Env) > 0 {
		t.Errorf("%+v", before)
	}
	if after := mustProvider(t, c, "ssh"); *after.Probe || !slices.Equal(after.Args, []string{"-c"}) || len(c.Faults()) > 0 {
		t.Errorf("%+v, %v", after, c.Faults())
	}
}

func TestAFaultTellsNoSecret(t *testing.T) {
	for _, text := range []string{
		"[tunnel.x]\nroute = \"a:1\"\nenv = { A = s3cret }\n", "[tunnel.x]\nenv = { A = 0s3cret }\n", "[tunnel.x]\nenv = { A = \"s3cret }\n", "[tunnel.x]\nenv_add = \"s3cret\"\n",
		"[tunnel.x]\nenv_add = { A = [\"s3cret\"] }\n", "[tunnel.x]\nenv = { A = 1__s3cret }\n", "[tunnel.x]\nenv = { A = 01234567 }\n", "[tunnel.x]\nenv = { A = 1_2__34567 }\n",
		"[tunnel.x.env]\nA = \"x\" s3cret\n", "[tunnel.x]\nenv = { A = trs3cret }\n", "[tunnel.x]\nenv = { A = 2024-99-99 }\n",
	} {
		_, _, err := load(t, text)
		var bad *ConfigError
		if !errors.As(err, &bad) || strings.Contains(bad.Err.Error(), "cret") || strings.Contains(bad.Err.Error(), "34567") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
