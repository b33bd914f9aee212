//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// closed is an address where nobody listens.
const closed = "127.0.0.1:1"

// realPrograms are the programs that are run for real where they are on PATH, with the arguments that make them tell their version. A
// test holds the manual to it: there each has a row that says so.
var realPrograms = []struct {
	name, provider string
	version        []string
	test           func(p *realProgram)
}{
	{"ssh", "ssh", []string{"-V"}, realSSH},
	{"kubectl", "kubectl", []string{"version", "--client"}, realKubectl},
	{"aws", "aws-ssm", []string{"--version"}, realAWS},
	{"gcloud", "gcloud-iap", []string{"--version"}, realGcloud},
	{"cloudflared", "cloudflared", []string{"--version"}, realCloudflared},
	{"tailscale", "tailscale", []string{"version"}, realTailscale},
	{"chisel", "chisel", []string{"--version"}, realChisel},
	{"wstunnel", "wstunnel", []string{"--version"}, realWstunnel},
	{"frpc", "frp", []string{"--version"}, realFrpc},
}

// TestRealPrograms runs those tunnel programs that are installed with the command lines that tunhook makes, and says at its end which
// ones, and which not. No packet leaves this machine: the gateways are played here, or there are none. Those that TUNHOOK_E2E_NEED names
// must be there.
func TestRealPrograms(t *testing.T) {
	if os.Getenv("TUNHOOK_E2E_PROVIDERS") == "" {
		t.Skip("make e2e-providers runs it: some of them take their time")
	}
	needed := strings.Fields(os.Getenv("TUNHOOK_E2E_NEED"))
	var mu sync.Mutex
	var ran, skipped []string
	t.Run("program", func(t *testing.T) {
		for _, program := range realPrograms {
			need := slices.Contains(needed, program.name)
			needed = slices.DeleteFunc(needed, func(name string) bool { return name == program.name })
			t.Run(program.name, func(t *testing.T) {
				t.Parallel()
				p := &realProgram{t: t, name: program.name, need: need}
				version := p.find(program.version)
				if version == "" {
					mu.Lock()
					skipped = append(skipped, program.name)
					mu.Unlock()
					p.lacks(t, program.name)
				}
				line := fmt.Sprintf("    %-12s %-20s (the manual: %s)", program.name, version, inManual(t, program.provider))
				t.Cleanup(func() { // when all that it is tried with has ended
					if t.Failed() {
						line += " (FAILED)"
					}
					mu.Lock()
					defer mu.Unlock()
					ran = append(ran, line)
				})
				program.test(p)
			})
		}
	})
	for _, name := range needed {
		t.Errorf("no test runs %s", name)
	}
	fmt.Printf("run for real on %s, with its version:\n", time.Now().UTC().Format(time.DateOnly))
	for _, line := range slices.Sorted(slices.Values(ran)) {
		fmt.Println(line)
	}
	slices.Sort(skipped)
	fmt.Printf("skipped, for they are not on PATH: %s\n", cmp.Or(strings.Join(skipped, ", "), "none"))
}

// inManual is what the manual says of when a provider was run for real.
func inManual(t *testing.T, provider string) string {
	t.Helper()
	manual, err := os.ReadFile("../../packaging/tunhook.1")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\.It ` + regexp.QuoteMeta(provider) + ` Ta (.*) Ta$`).FindSubmatch(manual)
	if row == nil {
		t.Fatalf("the manual has no row for %s", provider)
	}
	return string(row[1])
}

// A realProgram is a tunnel program that is installed here.
type realProgram struct {
	t    *testing.T
	name string
	path string
	need bool // it must be here
}

// find looks for it on PATH, and gives the version that it tells. One that cannot be run, such as pyenv's stand-in for what is not there,
// is not found: "".
func (p *realProgram) find(version []string) string {
	p.t.Helper()
	var err error
	if p.path, err = exec.LookPath(p.name); err != nil {
		return ""
	}
	got := p.user(p.t).run(append([]string{p.name}, version...)...)
	if got.status != 0 {
		p.t.Logf("%s: %v", p.path, got)
		return ""
	}
	return cmp.Or(versionNumber.FindString(got.stdout+got.stderr), "no version")
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+[^\s",]*`)

// lacks ends a test for want of a program.
func (p *realProgram) lacks(t *testing.T, program string) {
	t.Helper()
	if p.need {
		t.Fatalf("%s is not on PATH, and must be: scripts/providers-setup installs it", program)
	}
	t.Skipf("%s is not on PATH", program)
}

// user is somebody who has it on their PATH.
func (p *realProgram) user(t *testing.T, env ...string) *user {
	t.Helper()
	u := newUser(t)
	// It may be a script that its own installation makes sense of; and what it runs itself may be the user's.
	u.write(filepath.Join(u.binDir, p.name), "#!/bin/sh\nPATH='"+u.binDir+":"+os.Getenv("PATH")+"' exec '"+p.path+"' \"$@\"\n")
	u.extraEnv = append(u.extraEnv, env...)
	return u
}

// A failure is a start that has to fail, and what tunhook has to say then.
type failure struct {
	route  string
	args   []string // of start
	more   []string // of the program, with -- in front
	env    []string
	status int
	says   []string
}

// fails starts a tunnel that does not come to be, and sees what is said, and that nothing is left. prepare may be nil.
func (p *realProgram) fails(name string, f failure, prepare func(u *user)) {
	p.t.Run(name, func(t *testing.T) {
		t.Parallel()
		u := p.user(t, f.env...)
		if prepare != nil {
			prepare(u)
		}
		tunhook, listen := u.installTunhook(), freeAddress(t)
		args := append([]string{tunhook, "start", "--timeout", "60s"}, f.args...)
		got := u.run(append(append(args, f.route, listen), f.more...)...)
		for _, wrong := range []string{"does not understand", "usage:", "unknown flag"} {
			if strings.Contains(got.stderr, wrong) {
				t.Errorf("%v", got)
			}
		}
		said := strings.Join(strings.Fields(got.stderr), " ") // lines are wrapped
		for _, want := range f.says {
			if !strings.Contains(said, want) {
				t.Errorf("%v, want %q", got, want)
			}
		}
		if got.status != f.status {
			t.Errorf("%v, want status %d", got, f.status)
		}
		u.must(tunhook, "stop", "--now", f.route, listen)
		u.nothingIsLeft(t, listen)
	})
}

// nothingIsLeft of a tunnel, once it was stopped or has failed.
func (u *user) nothingIsLeft(t *testing.T, listen string) {
	t.Helper()
	if listens(t, listen) {
		t.Errorf("something listens on %s still", listen)
	}
	if left := u.running(""); len(left) > 0 {
		t.Errorf("left running: %q", left)
	}
}

// serves starts a tunnel, uses it, finds it again, and stops it, after which nothing is left.
func (p *realProgram) serves(u *user, t *testing.T, route string, more []string, use func(listen string)) {
	t.Helper()
	tunhook, listen := u.installTunhook(), freeAddress(t)
	start := append([]string{tunhook, "start", "--timeout", "60s", route, listen}, more...)
	if got := strings.TrimSpace(u.must(start...)); got != listen {
		t.Errorf("start prints %q, want %q", got, listen)
	}
	before := u.pids()
	u.must(start...)
	if after := u.pids(); !slices.Equal(before, after) {
		t.Errorf("another start makes %d processes of %d: %q", len(after), len(before), u.running(""))
	}
	use(listen)
	u.must(tunhook, "stop", route, listen)
	u.nothingIsLeft(t, listen)
}

func realSSH(p *realProgram) {
	p.t.Run("carries bytes", func(t *testing.T) {
		t.Parallel()
		if !exists("/usr/sbin/sshd") {
			p.lacks(t, "sshd")
		}
		server, target := startSSHServer(t), startEcho(t)
		more := append([]string{"--", "-F", "none"}, server.sshOptions()...)
		p.serves(p.user(t), t, "ssh://127.0.0.1/"+target, more, func(listen string) { checkEcho(t, listen) })
	})
	p.fails("a gateway that is not there", failure{
		route: "ssh://127.0.0.1:1/desk:3389", more: []string{"--", "-F", "none"}, status: 4, says: []string{"cannot reach its gateway"},
	}, nil)
}

// realKubectl tries what comes before the bytes: cluster speaks no further.
func realKubectl(p *realProgram) {
	const route = "kubectl://admin@lab@default/pod/desk:3389"
	const token = "token: none"
	configured := func(c *cluster, login string) func(u *user) {
		return func(u *user) { u.write(u.path(".kube", "config"), c.config(login)) }
	}
	p.t.Run("takes a connection", func(t *testing.T) {
		t.Parallel()
		c, u := startCluster(t, nil), p.user(t)
		configured(c, token)(u)
		p.serves(u, t, route, nil, func(listen string) {
			conn, err := net.Dial("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, patience, "the API server gets a stream", func() bool { return c.clients() > 0 })
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	p.t.Run("a sign-in by its plugin", func(t *testing.T) {
		t.Parallel()
		c, u := startCluster(t, nil), p.user(t)
		configured(c, signsInWith("login"))(u)
		u.write(filepath.Join(u.binDir, "login"), `#!/bin/sh
echo "To sign in, use a web browser to open the page https://login.example/device and enter the code ABCD-1234." >&2
until [ -e "$HOME/signed-in" ]; do sleep 0.1; done
echo '`+credential+`'
`)
		tunhook, listen := u.installTunhook(), freeAddress(t)
		start := u.start(tunhook, "start", "--timeout", "60s", route, listen)
		eventually(t, patience, "start tells where to sign in", func() bool {
			return strings.Contains(u.read(start.log), "https://login.example/device")
		})
		if !start.alive() || listens(t, listen) {
			t.Errorf("start does not wait for it: %s", u.read(start.log))
		}
		u.write(u.path("signed-in"), "")
		if status := start.wait(patience); status != 0 || !listens(t, listen) {
			t.Errorf("after the sign-in: status %d: %s", status, u.read(start.log))
		}
		if got := c.lastToken(); got != "from-the-page" {
			t.Errorf("kubectl shows %q", got)
		}
		u.must(tunhook, "stop", route, listen)
		u.nothingIsLeft(t, listen)
	})

	signedOut := []string{"needs you to sign in first", "kubectl get pods -n default"}
	for name, tc := range map[string]struct {
		change func(c *cluster)
		login  string
		f      failure
	}{
		"no such pod": {nil, token, failure{
			route: "kubectl://admin@lab@default/pod/other:3389", status: 4,
			says: []string{"there is nothing of that name", "kubectl get pod -n default"},
		}},
		"no such context": {nil, token, failure{
			route: "kubectl://other@default/pod/desk:3389", status: 4,
			says: []string{"there is nothing of that name", "kubectl config get-contexts"},
		}},
		"a pod that does not run yet": {func(c *cluster) { c.phase = "Pending" }, token, failure{
			route: route, status: 8, says: []string{"the route is down"},
		}},
		"a pod that is gone": {func(c *cluster) { c.hangsUp = true }, token, failure{
			route: route, args: whenReady(), status: 8, says: []string{"the route is down"},
		}},
		"no right to it": {func(c *cluster) { c.pods = http.StatusForbidden }, token, failure{
			route: route, status: 4, says: []string{"was refused", "pods/portforward in default"},
		}},
		"a token that ended":  {func(c *cluster) { c.pods = http.StatusUnauthorized }, token, failure{route: route, status: 4, says: signedOut}},
		"a plugin that fails": {nil, signsInWith("/bin/false"), failure{route: route, status: 4, says: signedOut}},
		"a plugin that is not there": {nil, signsInWith("kubelogin"), failure{
			route: route, status: 7, says: []string{"lacks another program that it needs"},
		}},
	} {
		p.fails(name, tc.f, func(u *user) { configured(startCluster(u.t, tc.change), tc.login)(u) })
	}
	p.fails("an API server that nobody trusts", failure{route: route, status: 4, says: []string{"does not trust the gateway's certificate"}},
		func(u *user) {
			u.write(u.path(".kube", "config"), kubeConfig("server: "+startCluster(u.t, nil).URL, token))
		})
	p.fails("an API server that is not there", failure{route: route, status: 4, says: []string{"cannot reach its gateway"}},
		func(u *user) { u.write(u.path(".kube", "config"), kubeConfig("server: https://"+closed, token)) })
}

// realAWS has AWS played, and the plugin.
func realAWS(p *realProgram) {
	env := []string{
		"AWS_DEFAULT_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_MAX_ATTEMPTS=1",
		"AWS_EC2_METADATA_DISABLED=true",
	}
	endpoint := func(url string) []string { return []string{"--", "--endpoint-url", url} } // the variable for it is younger than Debian 12
	route := func(target string) string { return "aws-ssm://i-0123456789abcdef0/" + target }
	withPlugin := func(u *user) {
		u.must("/usr/bin/cp", sessionManagerPlugin(u.t), filepath.Join(u.binDir, "session-manager-plugin"))
	}
	p.t.Run("carries bytes", func(t *testing.T) {
		t.Parallel()
		service, target, u := startSSM(t, ""), startEcho(t), p.user(t, env...)
		withPlugin(u)
		p.serves(u, t, route(target), endpoint(service.URL), func(listen string) {
			for range 3 {
				checkEcho(t, listen)
			}
			if len(u.running("start-session")) == 0 || len(u.running("session-manager-plugin")) == 0 {
				t.Errorf("aws and its plugin are not both there: %q", u.running(""))
			}
		})
	})
	for name, tc := range map[string]struct {
		refusal string
		says    []string
		status  int
	}{
		"a token that ended": {
			"ExpiredTokenException: The security token included in the request is expired",
			[]string{"needs you to sign in first", "aws sso login"},
			4,
		},
		"a target that is not connected": {
			"TargetNotConnected: i-0123456789abcdef0 is not connected.",
			[]string{"the route is down", "see whether i-0123456789abcdef0 is on, and its SSM agent runs"},
			8,
		},
		"no right to it": {
			"AccessDeniedException: User: arn:aws:iam::1:user/me is not authorized to perform: ssm:StartSession",
			[]string{"was refused", "ask for ssm:StartSession on i-0123456789abcdef0"},
			4,
		},
	} {
		service := startSSM(p.t, tc.refusal)
		p.fails(name, failure{
			route: route("desk:3389"), more: endpoint(service.URL), env: env, status: tc.status, says: tc.says,
		}, withPlugin)
	}
	service := startSSM(p.t, "")
	p.fails("a server that is not there", failure{
		route: route(closed), args: whenReady(), more: endpoint(service.URL), env: env, status: 8,
		says: []string{"the route is down", "reachable from i-0123456789abcdef0"},
	}, withPlugin)
	p.fails("no plugin", failure{
		route: route("desk:3389"), more: endpoint(service.URL), env: env, status: 7, says: []string{"install the Session Manager plugin"},
	}, nil)
	p.fails("no way to AWS", failure{
		route: route("desk:3389"), more: endpoint("http://" + closed), env: env, status: 4, says: []string{"cannot reach its gateway"},
	}, withPlugin)
}

func realGcloud(p *realProgram) {
	p.fails("no account", failure{
		route:  "gcloud-iap://a-project/europe-west1-b/desk:3389",
		env:    []string{"CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_CHECK_GCE_METADATA=false"},
		status: 4, says: []string{"run gcloud auth login"},
	}, nil)
}

// Those that listen before they have reached anything say so when somebody connects.
func whenReady() []string { return []string{"--ready", "rdp", "--timeout", "20s"} }

func realCloudflared(p *realProgram) {
	p.t.Run("listens", func(t *testing.T) {
		t.Parallel()
		p.serves(p.user(t), t, "cloudflared://desk.invalid", nil, func(string) {})
	})
	p.fails("a host without address", failure{
		route: "cloudflared://desk.invalid", args: whenReady(), status: 4, says: []string{"no address is known"},
	}, nil)
	p.fails("a gateway that is not there", failure{
		route: "cloudflared://desk.invalid", args: whenReady(), more: []string{"--", "--connect-to", closed}, status: 4,
		says: []string{"cannot reach its gateway"},
	}, nil)
}

func realTailscale(p *realProgram) {
	p.t.Run("listens", func(t *testing.T) {
		t.Parallel()
		p.serves(p.user(t), t, "tailscale://desk:3389", nil, func(string) {})
	})
}

func unreachable(p *realProgram, route string, args ...string) {
	p.fails("a gateway that is not there", failure{route: route, args: args, status: 4, says: []string{"cannot reach its gateway"}}, nil)
}

func realChisel(p *realProgram) { unreachable(p, "chisel://"+closed+"/desk:3389", whenReady()...) }

func realWstunnel(p *realProgram) { unreachable(p, "wstunnel://"+closed+"/desk:3389", whenReady()...) }
func realFrpc(p *realProgram)     { unreachable(p, "frp://"+closed+"/desk") }
