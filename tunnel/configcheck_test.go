package tunnel

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// faultsOf gives the faults of a file with that text, without its path.
func faultsOf(t testing.TB, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, fault := range CheckConfig(path) {
		all = append(all, strings.TrimPrefix(fault.Error(), path+":"))
	}
	return all
}

func TestEveryFaultOfAConfigurationHasItsLine(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string // what each begins with, and behind "…" what it goes on with
	}{
		"none":  {"# empty\n", nil},
		"whole": {"[tunnel.desk]\nroute = \"desk.example.com:3389\"\nlisten = \"stable\"\n[provider.pomerium]\nargs = []\nenv = { A = \"b\" }\n", nil},
		"several in one table": {
			"[tunnel.desk]\nroute = 3389\nlisten = \"nowhere\"\nrout = \"a:1\"\n\ntimeout = \"soon\"\n",
			[]string{`2: [tunnel.desk]: route: incompatible types`, `4: unknown key "tunnel.desk.rout"`},
		},
		"several values": {
			"[tunnel.desk]\nroute = \"a:1\"\nlisten = \"nowhere\"\ntimeout = \"soon\"\nready = \"tea\"\nenv = { \"A B\" = \"x\" }\n",
			[]string{
				`3: [tunnel.desk]: listen address "nowhere"`, `4: [tunnel.desk]: timeout: "soon" is no time`, `5: [tunnel.desk]: ready`,
				`6: [tunnel.desk]: env: "A B" is no name`,
			},
		},
		"in several tables": {
			"[tunnel.a]\nroute = \"gopher://a:1\"\n[tunnel.b]\nlisten = \"1\"\n[tunnels.c]\nroute = \"a:1\"\n[tunnel.\"d e\"]\nroute = \"a:1\"\n",
			[]string{
				`2: [tunnel.a]: route "gopher://a:1" has the unknown scheme "gopher"`, `3: [tunnel.b]: it has no route`,
				`5: unknown key "tunnels"`, `7: [tunnel.d e]: the name holds`,
			},
		},
		"a provider": {
			"[provider.mine]\ncommand = [\"mine\", \"{lisen}\"]\nsignal = \"USR9\"\nsign_in = \"(\"\nlisten_host = \"here\"\ncomand = []\n" +
				"errors = [\n  { match = \"x\", means = \"refused\" },\n  { mach = \"y\", means = \"odd\" },\n]\n",
			[]string{
				`2: [provider.mine]: command: unknown placeholder {lisen}`, `3: [provider.mine]: signal "USR9"`, `4: [provider.mine]: sign_in: `,
				`5: [provider.mine]: listen_host "here"`, `6: unknown key "provider.mine.comand"`, `7: [provider.mine]: errors: a row without match`,
				`9: unknown key "provider.mine.errors.mach"`,
			},
		},
		"a form": {
			"[provider.mine]\nroutes = [\"mine://{HOST}\"]\ncommand = [\"x\"]\n",
			[]string{`2: [provider.mine]: route form "mine://{HOST}"`},
		},
		"a provider's route after its tunnel": {
			"[tunnel.desk]\nroute = \"mine://a:1\"\n[provider.mine]\ncommand = [\"x\", \"{listen}\"]\n", nil,
		},
		"no values": {
			"[tunnel.desk]\nroute = relay\nlisten = stable\n[tunnel.lab]\nroute = \"x:1\"\nlisen = \"1\"\n",
			[]string{`2: expected value but found "relay"`, `3: expected value but found "stable"`, `6: unknown key "tunnel.lab.lisen"`},
		},
		"an open list": {
			"[tunnel.a]\nroute = \"a:1\"\nargs = [\"x\"\n[tunnel.b]\nroute = \"b:1\"\nready = \"tea\"\n",
			[]string{"3: ", `6: [tunnel.b]: ready`},
		},
		"an open string": {
			"[tunnel.a]\nroute = \"a:1\nlisten = \"x\"\n", []string{"2: ", `3: [tunnel.a]`}[:1],
		},
		"a table twice": {
			"[tunnel.a]\nroute = \"a:1\"\n[tunnel.a]\nroute = \"b:1\"\n[tunnel.b]\nroute = \"b\"\n", []string{"3: ", `6: [tunnel.b]: route "b"`},
		},
		"a key twice":      {"[tunnel.a]\nroute = \"a:1\"\nroute = \"b:1\"\n", []string{"3: "}},
		"no tables":        {"tunnel = 3\nprovider = []\n", []string{"1: tunnel is not a table", "2: provider is not a table"}},
		"a key for a name": {"[tunnel]\ndesk = \"a:1\"\n", []string{"2: tunnel.desk is not a table"}},
		"dotted":           {"[tunnel]\ndesk.route = \"a:1\"\ndesk.lissen = \"1\"\n", []string{`3: unknown key "tunnel.desk.lissen"`}},
		"a table for env":  {"[tunnel.a]\nroute = \"a:1\"\nenv = \"A=b\"\n", []string{"3: [tunnel.a]: env: it is a table"}},
		"of another's":     {"[tunnel.a]\nroute = \"relay://127.0.0.1:9\"\nlisten = \"9\"\nenv = { A = \"{gateway}\" }\n", []string{`3: [tunnel.a]: listen address "9"`, "4: [tunnel.a]: env: A holds"}},
		"windows":          {"[tunnel.a]\r\nroute = \"a:1\"\r\nlisen = \"1\"\r\n", []string{`3: unknown key "tunnel.a.lisen"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := faultsOf(t, tc.text)
			short := make([]string, len(got))
			for i, g := range got {
				short[i] = g
				if i < len(tc.want) {
					short[i] = g[:min(len(g), len(tc.want[i]))]
				}
			}
			if diff := cmp.Diff(tc.want, short[:len(got):len(got)]); diff != "" && (len(tc.want) > 0 || len(got) > 0) {
				t.Errorf("%s\nall: %q", diff, got)
			}
		})
	}
}

func TestUnknownKeysTellTheKnownOnes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("[tunnel.a]\nroute = \"a:1\"\nlisen = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var unknown *UnknownKeyError
	faults := CheckConfig(path)
	if len(faults) != 1 || !errors.As(faults[0], &unknown) {
		t.Fatalf("%v", faults)
	}
	want := []string{"after", "args", "before", "env", "listen", "probe", "ready", "route", "timeout"}
	if diff := cmp.Diff(want, unknown.Known); diff != "" || unknown.Last() != "lisen" {
		t.Errorf("%q: %s", unknown.Last(), diff)
	}
}

// TestCheckFindsSomethingWhereLoadingFails, and nothing in what can be loaded and used.
func TestCheckFindsSomethingWhereLoadingFails(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"[tunnel.a]\n", "[tunnel.b]\n", "[provider.p]\n", "[tunnels.x]\n", "[[tunnel.c]]\n", "route = \"a:1\"\n", "route = \"relay://b:2\"\n", "route = 3\n",
		"listen = \"stable\"\n", "listen = [\n", "\"x\",\n", "]\n", "command = [\"p\", \"{listen}\"]\n", "command = [\n", "\"{lisen}\"]\n", "signal = \"INT\"\n",
		"args = ['''\n", "'''\n", "env = { A = \"b\" }\n", "env.B = 1\n", "probe = true\n", "x = y\n", "= 1\n", "# a [b]\n", "\x00", "errors = [{ mach = 1 }]\n",
	})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
		dir, err := os.MkdirTemp("", "tunhook-config-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "config.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(path)
		if err == nil {
			for _, name := range c.Names() {
				if _, failed := c.Route(name); failed != nil {
					err = failed
				}
			}
		}
		if faults := CheckConfig(path); err == nil && len(faults) > 0 || err != nil && len(faults) == 0 {
			t.Errorf("%q\nloading: %v\nchecking: %v", text, err, faults)
		}
	})
}
