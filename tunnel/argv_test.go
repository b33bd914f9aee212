package tunnel

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// argvRoutes has every form of route of every embedded provider, with and without its optional parts.
var argvRoutes = []string{
	"desk.corp.example.com:3389",
	"[2001:db8::1]:3389",
	"tcp+https://desk.corp.example.com:3389",
	"tcp+https://proxy.example.com/desk.corp.example.com:3389",
	"tcp+https://proxy.example.com:8443/desk.corp.example.com:3389",
	"tcp+http://desk.corp.example.com:3389",
	"tcp+http://proxy.example.com/desk.corp.example.com:3389",
	"tcp+http://proxy.example.com:8443/desk.corp.example.com:3389",
	"ssh://gate/desk:3389",
	"ssh://gate:2222/desk:3389",
	"ssh://me@gate/desk:3389",
	"ssh://me@gate:2222/desk:3389",
	"ssh://me@[2001:db8::1]:2222/[2001:db8::2]:3389",
	"relay://desk:3389",
	"relay://[2001:db8::1]:3389",
	"cloudflared://rdp.example.com",
	"cloudflared://rdp.example.com:3389",
	"kubectl://desks/pod/desk-0:3389",
	"kubectl://prod@desks/svc/desk:3389",
	"tailscale://desk:3389",
	"tailscale://[fd7a:115c:a1e0::1]:3389",
	"boundary://ttcp_1234567890",
	"boundary://ttcp_1234567890:3389",
	"tsh://node/desk:3389",
	"tsh://me@node/desk:3389",
	"tsh-app://desk",
	"tsh-app://desk:3389",
	"gcloud-iap://europe-west1-b/desk:3389",
	"gcloud-iap://my-project/europe-west1-b/desk:3389",
	"aws-ssm://i-0123456789abcdef0/desk.internal:3389",
	"aws-ssm://ecs:prod_0123456789abcdef_0123456789-10/desk.internal:3389",
	"kubectl://kubernetes-admin@kubernetes@desks/pod/desk-0:3389",
	"kubectl://arn%3Aaws%3Aeks%3Aeu-west-1%3A123456789012%3Acluster%2Fprod@desks/pod/desk-0:3389",
	"gcloud-iap://example.com:my-project/europe-west1-b/desk:3389",
	"azure-bastion://lab-rg/gw-bastion/10.1.2.3:3389",
	"azure-bastion://lab-rg/gw-bastion/[2001:db8::1]:3389",
	"azure-bastion://lab-rg/gw-bastion/%2Fsubscriptions%2F0a1b%2FresourceGroups%2Flab-rg%2Fproviders%2FMicrosoft.Compute%2FvirtualMachines%2Fdesk:3389",
	"oci-bastion://ocid1.bastionsession.oc1.eu-frankfurt-1.abc@eu-frankfurt-1/10.1.2.3:3389",
	"chisel://gate/desk:3389",
	"chisel://gate:8443/desk:3389",
	"chisel://[2001:db8::1]/[2001:db8::2]:3389",
	"wstunnel://gate/desk:3389",
	"wstunnel://gate:8443/desk:3389",
	"frp://frps.example.com/desk",
	"frp://me@frps.example.com:7001/desk:3389",
}

func TestArgvOfEveryProvider(t *testing.T) {
	c := mustLoad(t)
	left := c.providerNames()
	var got strings.Builder
	for _, text := range argvRoutes {
		r, err := c.Route(text)
		if err != nil {
			t.Fatal(err)
		}
		left = slices.DeleteFunc(left, func(name string) bool { return name == r.Provider.Name() })
		fmt.Fprintf(&got, "%s (%s)\n", text, r.Provider.Name())
		for _, v := range []struct {
			listen string
			args   []string
		}{{"127.0.0.1:13389", nil}, {"[::1]:13389", []string{"--extra", "a b"}}} {
			argv := r.Argv(netip.MustParseAddrPort(v.listen), "/usr/bin/tunhook", r.Args(v.args))
			fmt.Fprintf(&got, "\t%q\n", argv)
		}
	}
	if len(left) > 0 {
		t.Errorf("no route of these providers is covered: %v", left)
	}
	checkGolden(t, "testdata/argv.golden", got.String())
}

func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	lines, wanted := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range lines {
		if i >= len(wanted) || lines[i] != wanted[i] {
			t.Fatalf("%s:%d differs: got\n%s\n(-update writes it anew)", path, i+1, lines[i])
		}
	}
	t.Fatalf("%s has more lines than the %d it should have", path, len(lines))
}

// TestEveryFormIsCovered: a form that is added to a provider needs a route in argvRoutes.
func TestEveryFormIsCovered(t *testing.T) {
	c := mustLoad(t)
	for _, name := range c.providerNames() {
		for _, f := range mustProvider(t, c, name).forms() {
			if !slices.ContainsFunc(argvRoutes, func(route string) bool { _, ok := f.parts(route); return ok }) {
				t.Errorf("%s: no route of the form %s", name, f)
			}
		}
	}
}

func TestNoPlaceholderIsLeftInAnArgv(t *testing.T) {
	c := mustLoad(t)
	for _, text := range argvRoutes {
		r, err := c.Route(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range r.Argv(netip.MustParseAddrPort("127.0.0.1:1"), "/t", nil) {
			if word == "" || placeholder.MatchString(word) {
				t.Errorf("%s: word %q", text, word)
			}
		}
	}
}

// TestArgumentsAreNotFilledIn: what a user hands on with -- is not a template.
func TestArgumentsAreNotFilledIn(t *testing.T) {
	r, err := mustLoad(t).Route("desk:3389")
	if err != nil {
		t.Fatal(err)
	}
	argv := r.Argv(netip.MustParseAddrPort("127.0.0.1:1"), "/t", []string{"{route}", "", "{args}", "$HOME"})
	if got := argv[len(argv)-4:]; !slices.Equal(got, []string{"{route}", "", "{args}", "$HOME"}) {
		t.Errorf("argv ends with %q", got)
	}
}

func TestArgumentsComeFromProviderThenNameThenCommandLine(t *testing.T) {
	c := mustLoad(t, `
[provider.x]
routes = ["x://{host}:{port}"]
command = ["x", "{args}", "{host}"]
args = ["--one", "--two"]
[tunnel.desk]
route = "x://desk:1"
args = ["--three"]
`)
	r, err := c.Route("desk")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"x", "--one", "--two", "--three", "--four", "desk"}
	if got := r.Argv(netip.MustParseAddrPort("127.0.0.1:1"), "/t", r.Args([]string{"--four"})); !slices.Equal(got, want) {
		t.Errorf("argv %q, want %q", got, want)
	}
	if got := r.Args(nil); len(got) != 3 {
		t.Errorf("the command line's arguments stick: %q", got)
	}
}
