package tunnel

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestListsOfTheEmbeddedProviders: what the programs print is that of the documents in providers.toml.
func TestListsOfTheEmbeddedProviders(t *testing.T) {
	c := mustLoad(t)
	for provider, tc := range map[string]struct {
		output string
		want   []Listed
	}{
		"pomerium": {
			"Route Intranet\nid: 1\ntype: http\nfrom: https://intra.example.com\ndescription: \n\nRoute Desk of Ada\nid: 2\ntype: tcp\nfrom: tcp+https://desk.example.com:3389\n" +
				"description: a desktop\nconnect_command: pomerium-cli tcp desk.example.com:3389\n\nRoute \nid: 3\ntype: tcp\nfrom: tcp+https://gate.example.com:8443/lab:22\ndescription: x\n\n" +
				"Route Voice\nid: 4\ntype: udp\nfrom: udp+https://voice.example.com:53\ndescription: \n\n",
			[]Listed{{"tcp+https://desk.example.com:3389", "Desk of Ada"}, {"tcp+https://gate.example.com:8443/lab:22", ""}},
		},
		"kubectl": {
			"default       desk          3389,443\nns-2          kubernetes    443\nx             headless      <none>\n",
			[]Listed{{Route: "kubectl://default/svc/desk:3389"}, {Route: "kubectl://default/svc/desk:443"}, {Route: "kubectl://ns-2/svc/kubernetes:443"}},
		},
		"boundary": {
			"\nTarget information:\n  ID:                    ttcp_5OLRfvrH8w\n    Scope ID:            p_SqZeBQkOxT\n    Version:             3\n    Type:                tcp\n" +
				"    Name:                Desk of Ada\n    Description:         A desktop\n    Authorized Actions:\n      no-op\n      authorize-session\n\n" +
				"  ID:                    tssh_1234567890\n    Scope ID:            p_SqZeBQkOxT\n    Version:             1\n    Type:                ssh\n    Authorized Actions:\n      no-op\n",
			[]Listed{{"boundary://ttcp_5OLRfvrH8w", "Desk of Ada"}, {Route: "boundary://tssh_1234567890"}},
		},
		"tsh-app": {
			"[\n  {\n    \"kind\": \"app\",\n    \"version\": \"v3\",\n    \"metadata\": {\n      \"name\": \"desk\",\n      \"description\": \"Desk of Ada\",\n      \"labels\": {\n        \"name\": \"x\"\n      }\n    },\n" +
				"    \"spec\": {\n      \"uri\": \"tcp://10.0.0.7:3389\"\n    }\n  },\n  {\n    \"kind\": \"app\",\n    \"metadata\": {\n      \"name\": \"lab\"\n    }\n  }\n]\n",
			[]Listed{{"tsh-app://desk", "Desk of Ada"}, {Route: "tsh-app://lab"}},
		},
	} {
		for _, output := range []string{tc.output, strings.ReplaceAll(tc.output, "\n", "\r\n")} {
			if diff := cmp.Diff(tc.want, c.Listed(provider, output)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", provider, diff)
			}
		}
	}
	if got, want := c.Lists(), []string{"boundary", "kubectl", "pomerium", "tsh-app"}; !slices.Equal(got, want) {
		t.Errorf("%q have a list, want %q", got, want)
	}
}

// TestAListIsNotTrusted: what would be no route is none.
func TestAListIsNotTrusted(t *testing.T) {
	c := mustLoad(t, "[provider.own]\ncommand = [\"own\", \"{host}\", \"{listen}\"]\nroutes = [\"own://{host}\"]\nlist = { command = [\"own\", \"ls\"], match = '(?m)^(?P<host>.*)$', route = \"own://{host}\" }\n")
	got := c.Listed("own", "desk\n-oProxyCommand=x\n$(reboot)\na/b c\n../x\n\x1b[31m\ndesk\n"+strings.Repeat("x", 2000)+"\n\xff\n")
	if want := []Listed{{Route: "own://desk"}, {Route: "own://a%2Fb%20c"}}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestListsAreChecked(t *testing.T) {
	for list, want := range map[string]string{
		`{ match = "(?P<host>x)", route = "x://{host}" }`:                             "no command",
		`{ command = ["x"], match = "(", route = "x://{host}" }`:                      "match",
		`{ command = ["x"], match = "(?P<h>x)", route = "x://{host}" }`:               "(?P<host>",
		`{ command = ["x"], match = "(?P<host>x)" }`:                                  "route",
		`{ command = ["x", "{host}"], match = "(?P<host>x)", route = "x://{host}" }`:  "{args}",
		`{ command = ["x"], match = "(?P<host>x)", route = "x://{host}", lines = 1 }`: "unknown key",
		`{ command = "x", match = "(?P<host>x)", route = "x://{host}" }`:              "incompatible types",
		`["x"]`: "type mismatch",
	} {
		_, _, err := load(t, "[provider.x]\ncommand = [\"x\", \"{listen}\"]\nlist = "+list+"\n")
		var bad *ConfigError
		if !errors.As(err, &bad) || bad.Line != 3 && bad.Line != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
}
