package tunnel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mustLoad loads configuration files of those texts, each over the one before.
func mustLoad(t *testing.T, texts ...string) *Config {
	t.Helper()
	c, _, err := load(t, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func load(t *testing.T, texts ...string) (*Config, []string, error) {
	t.Helper()
	paths := []string{filepath.Join(t.TempDir(), "missing", "config.toml")}
	for _, text := range texts {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	c := LoadConfig(paths...)
	for _, fault := range c.faults {
		return c, paths, fault
	}
	return c, paths, nil
}

func mustProvider(t *testing.T, c *Config, name string) *Provider {
	t.Helper()
	p, err := c.provider(name)
	if err != nil || p == nil {
		t.Fatalf("%s: %v, %v", name, p, err)
	}
	return p
}

func TestEmbeddedProvidersAreSound(t *testing.T) {
	c := mustLoad(t)
	rows := 0
	for _, name := range c.providerNames() {
		p := mustProvider(t, c, name)
		if decoded, err := p.rows(); err != nil || len(p.Errors) > 0 {
			t.Errorf("%s: %v, and %d rows before they are needed", name, err, len(p.Errors))
		} else {
			rows += len(decoded)
		}
		if err := p.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Install == "" {
			t.Errorf("%s: nothing says how to get it", name)
		}
	}
	if all := strings.Count(builtin, "\n    { match = "); rows != all {
		t.Errorf("%d rows of errors of %d were decoded", rows, all)
	}
}

func TestLaterFileChangesOnlyTheKeysThatItGives(t *testing.T) {
	embedded := *mustProvider(t, mustLoad(t), "ssh")
	c := mustLoad(t,
		"[provider.ssh]\nsignal = \"INT\"\nargs = [\"-v\"]\n[tunnel.desk]\nroute = \"a:1\"\nlisten = \"1\"\n",
		"[provider.ssh]\nargs = [\"-4\", \"-C\"]\n[tunnel.desk]\nroute = \"b:2\"\n[tunnel.other]\nroute = \"c:3\"\n")
	want := embedded
	want.Signal, want.Args = "INT", []string{"-4", "-C"}
	if diff := cmp.Diff(want, *mustProvider(t, c, "ssh"), cmp.AllowUnexported(Provider{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"desk", "other"}, c.Names()); diff != "" {
		t.Error(diff)
	}
	r, err := c.Route("desk")
	if err != nil || r.Text != "b:2" || r.Named.Listen != "" {
		t.Errorf("desk is %+v, %v; want the later file's", r, err)
	}
	if again := *mustProvider(t, mustLoad(t), "ssh"); again.Signal != "TERM" || again.Args != nil {
		t.Errorf("the embedded provider was changed: %+v", again)
	}
}

func TestProviderOfOnesOwn(t *testing.T) {
	c := mustLoad(t, "[provider.chisel]\ncommand = [\"chisel\", \"client\", \"{host}\", \"{listen}:{port}\"]\n")
	r, err := c.Route("chisel://gate:3389")
	if err != nil || r.Provider.Name() != "chisel" || r.Provider.Signal != "TERM" || r.Host() != "gate" || r.Port() != 3389 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestProviderWithACommandIsWhole: whatever an embedded provider of its name says, which may be there only since an update.
func TestProviderWithACommandIsWhole(t *testing.T) {
	for _, name := range mustLoad(t).providerNames() {
		c := mustLoad(t, "[provider."+name+"]\ncommand = [\"own\", \"{listen}\", \"{host}:{port}\"]\n")
		want := Provider{Command: []any{"own", "{listen}", "{host}:{port}"}, Signal: "TERM", Routes: []string{name + "://{host}:{port}"}, name: name, own: true}
		if diff := cmp.Diff(want, *mustProvider(t, c, name), cmp.AllowUnexported(Provider{})); diff != "" {
			t.Error(diff)
		}
		if r := mustRoute(t, c, name+"://desk:3389"); r.Provider.Command[0] != "own" {
			t.Errorf("%s: its route goes through %v", name, r.Provider.Command)
		}
	}
}

func TestWithoutACommandAWholeProviderIsChangedToo(t *testing.T) {
	c := mustLoad(t,
		"[provider.x]\ncommand = [\"x\"]\nrefused = \"no\"\nenv = { A = \"1\", B = \"2\" }\n",
		"[provider.x]\nsignal = \"INT\"\nenv = { B = \"3\" }\n")
	want := Provider{Command: []any{"x"}, Signal: "INT", Refused: "no", Routes: []string{"x://{host}:{port}"}, Env: map[string]any{"B": "3"}, name: "x", own: true}
	if diff := cmp.Diff(want, *mustProvider(t, c, "x"), cmp.AllowUnexported(Provider{})); diff != "" {
		t.Error(diff)
	}
}

// TestOnesOwnProviderKeepsItsScheme: an embedded one that comes with an update does not take it, whatever the two are called.
func TestOnesOwnProviderKeepsItsScheme(t *testing.T) {
	c := mustLoad(t, "[provider.zz]\nroutes = [\"ssh://{gateway}/{host}:{port}\", \"{host}:{port}\"]\ncommand = [\"zz\"]\n")
	for route, want := range map[string]string{"ssh://gate/desk:1": "zz", "desk:1": "zz", "ssh://me@gate/desk:1": "ssh", "tcp+https://gate/desk:1": "pomerium"} {
		if r := mustRoute(t, c, route); r.Provider.Name() != want {
			t.Errorf("%s goes through %s, want %s", route, r.Provider.Name(), want)
		}
	}
}

func TestConfigErrorsNameFileAndLine(t *testing.T) {
	const fine = "[provider.fine]\ncommand = [\"x\"]\n" // 2 lines
	for name, tc := range map[string]struct {
		text string
		line int
		want string
	}{
		"syntax":                        {fine + "[tunnel.x]\nroute = \n", 4, ""},
		"no closing quote":              {fine + "\n\n[tunnel.x]\nroute = \"a:1\nlisten = \"2\"\n", 6, ""},
		"table given twice":             {"[tunnel.x]\nroute = \"a:1\"\n[tunnel.x]\n", 3, "tunnel.x"},
		"bytes":                         {"\x00\x01", 1, ""},
		"unknown top-level key":         {"tunnels = 1\n" + fine, 1, "tunnels"},
		"unknown top-level table":       {fine + "[tunnels.x]\nroute = \"a:1\"\n", 3, "tunnels"},
		"unknown key of a provider":     {fine + "[provider.y]\ncommand = [\"y\"]\ncomand = [\"x\"]\n", 5, "comand"},
		"unknown key of a tunnel":       {fine + "[tunnel.x]\nroute = \"a:1\"\nlisten_port = 1\n", 5, "listen_port"},
		"a longer name before":          {"[tunnel.xy]\nroute = \"a:1\"\n[tunnel.x]\nroute = \"a:1\"\nbad = 1\n", 5, "bad"},
		"spaces in the table's header":  {fine + "[ tunnel . x ]\nroute = \"a:1\"\nbad = 1\n", 5, "bad"},
		"quoted name":                   {fine + "[tunnel.\"x\"]\nroute = \"a:1\"\nbad = 1\n", 5, "bad"},
		"unknown placeholder":           {fine + "[provider.x]\ncommand = [\"x\", \"{hots}\"]\n", 3, "{hots}"},
		"unknown placeholder in a list": {"[provider.x]\ncommand = [\"x\", [\"-p\", \"{user}\"]]\n", 1, "{user}"},
		"bad pattern":                   {fine + "[provider.x]\ncommand = [\"x\"]\nrefused = \"(\"\n", 3, "refused"},
		"sign-in without a group":       {"[provider.x]\ncommand = [\"x\"]\nsign_in = \"https://\"\n", 1, "sign_in"},
		"opener that is no option":      {"[provider.x]\ncommand = [\"x\"]\nopener = [\"browser\"]\n", 3, "opener"},
		"bad pattern of a known one":    {"\n[provider.ssh]\nsign_in = \"[\"\n", 2, "sign_in"},
		"unknown signal":                {"[provider.x]\ncommand = [\"x\"]\nsignal = \"SIGTERM\"\n", 1, "SIGTERM"},
		"no command":                    {"[provider.x]\nroutes = [\"x://{host}\"]\n", 1, "command"},
		"empty command":                 {"[provider.x]\ncommand = []\n", 1, "command"},
		"empty program":                 {"[provider.x]\ncommand = [\"\", \"x\"]\n", 1, "program"},
		"program in a list":             {"[provider.x]\ncommand = [[\"x\"]]\n", 1, "program"},
		"number in a command":           {"[provider.x]\ncommand = [\"x\", 1]\n", 1, "1"},
		"number in a list":              {"[provider.x]\ncommand = [\"x\", [\"-p\", 1]]\n", 1, "1"},
		"command is a shell line":       {"[provider.x]\ncommand = \"x -y\"\n", 2, "incompatible types"},
		"open bracket in a form":        {"[provider.x]\ncommand = [\"x\"]\nroutes = [\"x://[{user}@{host}\"]\n", 1, "x://[{user}@{host}"},
		"closed bracket in a form":      {"[provider.x]\ncommand = [\"x\"]\nroutes = [\"x://]{host}[\"]\n", 1, "x://]{host}["},
		"open brace in a form":          {fine + "[provider.x]\ncommand = [\"x\"]\nroutes = [\"x://{host\"]\n", 3, "{name}"},
		"capitals in a form":            {fine + "[provider.x]\ncommand = [\"x\"]\nroutes = [\"x://{HOST}\"]\n", 3, "{name}"},
		"tunnel is a number":            {"\ntunnel = 3\n" + fine, 2, "[tunnel.NAME]"},
		"providers are a list":          {"provider = [\"x\"]\n", 1, "[provider.NAME]"},
		"name twice in a form":          {"[provider.x]\ncommand = [\"x\"]\nroutes = [\"x://{host}:{host}\"]\n", 1, "host"},
		"listen_host is a name":         {"[provider.x]\ncommand = [\"x\"]\nlisten_host = \"localhost\"\n", 1, "listen_host"},
		"route is a number":             {fine + "[tunnel.x]\nroute = 3389\n", 4, "incompatible types"},
		"listen is a number":            {fine + "[tunnel.x]\nroute = \"a:1\"\nlisten = 3389\n", 5, "incompatible types"},
		"args is a string":              {fine + "[tunnel.x]\nroute = \"a:1\"\nargs = \"-v\"\n", 5, "incompatible types"},
		"tunnel is no table":            {fine + "[tunnel]\nx = \"a:1\"\n", 0, "x"},
		"tunnels are a list":            {"[[tunnel]]\nroute = \"a:1\"\n", 0, "tunnel"},
		"bad listen address":            {fine + "[tunnel.x]\nroute = \"a:1\"\nlisten = \"0\"\n", 3, "listen address"},
		"no route":                      {fine + "[tunnel.x]\nlisten = \"1\"\n", 3, "route"},
		"unknown readiness":             {fine + "[tunnel.x]\nroute = \"a:1\"\nready = \"soon\"\n", 3, "soon"},
		"timeout without a unit":        {fine + "[provider.x]\ncommand = [\"x\"]\ntimeout = \"60\"\n", 5, "\"60s\""},
		"timeout of nothing":            {fine + "[tunnel.x]\nroute = \"a:1\"\ntimeout = \"0s\"\n", 5, "timeout"},
		"timeout is a number":           {fine + "[tunnel.x]\nroute = \"a:1\"\ntimeout = 60\n", 5, "incompatible types"},
		"default of no part":            {fine + "[provider.x]\ncommand = [\"x\"]\ndefaults = { prot = \"1\" }\n", 5, "{prot}"},
		"default that is no port":       {"[provider.x]\ncommand = [\"x\"]\ndefaults = { port = \"rdp\" }\n", 3, "rdp"},
		"default port out of range":     {"[provider.x]\ncommand = [\"x\"]\ndefaults = { port = 65536 }\n", 3, "65536"},
		"default that is an option":     {"[provider.x]\ncommand = [\"x\"]\ndefaults = { host = \"-x\" }\n", 3, "option"},
		"default that is a list":        {"[provider.x]\ncommand = [\"x\"]\ndefaults = { host = [\"x\"] }\n", 3, "host"},
		"optional part in a word":       {"[provider.x]\nroutes = [\"x://{host}[:{port}]\"]\ncommand = [\"x\", \"--to={host}:{port}\"]\n", 3, "{port}"},
		"optional part that is a word":  {"[provider.x]\nroutes = [\"x://[{user}@]{host}\"]\ncommand = [\"x\", \"-l\", \"{user}\"]\n", 3, "list of its own"},
		"part of one form only":         {"[provider.x]\nroutes = [\"x://{zone}/{host}\", \"x://{host}\"]\ncommand = [\"x\", \"--zone={zone}\"]\n", 3, "{zone}"},
		"variable of tunhook's":         {"[provider.x]\ncommand = [\"x\"]\nenv = { TUNHOOK_TOKEN = \"s3cret\" }\n", 3, "tunhook's own"},
		"variable without a name":       {"[provider.x]\ncommand = [\"x\"]\nenv = { \"\" = \"s3cret\" }\n", 3, "no name"},
		"variable with an =":            {fine + "[tunnel.x]\nroute = \"a:1\"\nenv = { \"A=B\" = \"s3cret\" }\n", 5, "no name"},
		"variable with a NUL":           {"[provider.x]\ncommand = [\"x\"]\nenv = { A = \"s3cret\\u0000\" }\n", 3, "NUL"},
		"variable that is a list":       {"[provider.x]\ncommand = [\"x\"]\nenv = { A = [\"s3cret\"] }\n", 3, "file"},
		"variables as a list":           {"[provider.x]\ncommand = [\"x\"]\nenv = [\"A=s3cret\"]\n", 3, "table"},
		"variable from no file":         {"[provider.x]\ncommand = [\"x\"]\nenv = { A = { path = \"/s3cret\" } }\n", 3, "file"},
		"variable from a relative file": {fine + "[tunnel.x]\nroute = \"a:1\"\nenv = { A = { file = \"x\" } }\n", 5, "~/"},
		"variable with a placeholder":   {"[provider.x]\ncommand = [\"x\"]\nenv = { A = \"s3cret{hots}\" }\n", 3, "file"},
		"variable with {args}":          {"[provider.x]\ncommand = [\"x\"]\nenv = { A = \"{args}\" }\n", 3, "A holds"},
		"name with a colon":             {fine + "[tunnel.\"x:1\"]\nroute = \"a:1\"\n", 3, "name"},
		"name that is a flag":           {fine + "[tunnel.-x]\nroute = \"a:1\"\n", 3, "name"},
		"name that is a path":           {fine + "[tunnel.\"../x\"]\nroute = \"a:1\"\n", 3, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, paths, err := load(t, tc.text)
			var bad *ConfigError
			if !errors.As(err, &bad) {
				t.Fatalf("error %v, want a ConfigError", err)
			}
			if bad.Path != paths[1] || !strings.HasPrefix(err.Error(), bad.Path+":") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q: want the file and %q", err, tc.want)
			}
			if tc.line != 0 && bad.Line != tc.line {
				t.Errorf("%q: want line %d", err, tc.line)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than a line", err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}

func TestUnreadableConfigIsAnErrorAndAMissingOneIsNot(t *testing.T) {
	dir := t.TempDir()
	if faults := LoadConfig(dir).Faults(); len(faults) != 1 || faults[0].Path != dir {
		t.Errorf("a directory: %v", faults)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if faults := LoadConfig(filepath.Join(file, "config.toml"), filepath.Join(dir, "none"), file).Faults(); len(faults) > 0 {
		t.Error(faults)
	}
}
