//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A real program of each provider, where it is on PATH, takes the command line that tunhook
// makes, and what it says for want of an account or of a gateway is called by its name. No
// packet leaves this machine.
func TestRealProgramsTakeOurCommandLine(t *testing.T) {
	if os.Getenv("TUNHOOK_E2E_PROVIDERS") == "" {
		t.Skip("make e2e-providers runs it: some of them take their time")
	}
	t.Parallel()
	const closed = "127.0.0.1:1" // nobody listens there
	// Those that listen before they have reached anything say so when somebody connects.
	rdp := []string{"--ready", "rdp", "--timeout", "20s"}
	for name, program := range map[string]struct {
		route string
		flags []string
		env   []string
		files map[string]string // below HOME
		says  string
	}{
		"kubectl": {
			route: "kubectl://admin@lab@default/pod/desk:3389",
			files: map[string]string{".kube/config": `apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://` + closed + `"}}]
users: [{name: me, user: {token: none}}]
contexts: [{name: admin@lab, context: {cluster: lab, user: me}}]
`},
			says: "cannot reach its gateway",
		},
		"gcloud": {
			route: "gcloud-iap://a-project/europe-west1-b/desk:3389",
			env:   []string{"CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_CHECK_GCE_METADATA=false"},
			says:  "run gcloud auth login",
		},
		"aws": {
			route: "aws-ssm://i-0123456789abcdef0/desk:3389",
			env: []string{
				"AWS_DEFAULT_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_MAX_ATTEMPTS=1",
				"AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL=http://" + closed,
			},
			says: "cannot reach its gateway",
		},
		"cloudflared": {route: "cloudflared://desk.invalid", flags: rdp, says: "no address is known"},
		"tailscale":   {route: "tailscale://desk:3389"},
		"chisel":      {route: "chisel://" + closed + "/desk:3389", flags: rdp, says: "cannot reach its gateway"},
		"wstunnel":    {route: "wstunnel://" + closed + "/desk:3389", flags: rdp, says: "cannot reach its gateway"},
		"frpc":        {route: "frp://" + closed + "/desk", says: "cannot reach its gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skip("it is not installed")
			}
			if out, err := exec.Command(path, "--version").CombinedOutput(); err != nil && name != "kubectl" {
				t.Skipf("it does not run: %v: %s", err, out)
			}
			u := newUser(t)
			// It may be a script that its own installation makes sense of.
			u.write(filepath.Join(u.binDir, name), "#!/bin/sh\nPATH='"+os.Getenv("PATH")+"' exec '"+path+"' \"$@\"\n")
			for file, text := range program.files {
				u.write(u.path(file), text)
			}
			u.extraEnv = append(u.extraEnv, program.env...)
			tunhook := u.installTunhook()
			listen := freeAddress(t)
			start := append([]string{tunhook, "start", "--timeout", "60s"}, program.flags...)
			got := u.run(append(start, program.route, listen)...)
			for _, wrong := range []string{"does not understand", "usage:", "unknown flag"} {
				if strings.Contains(got.stderr, wrong) {
					t.Errorf("%v", got)
				}
			}
			if program.says == "" && got.status != 0 || !strings.Contains(got.stderr, program.says) {
				t.Errorf("%v, want %q", got, program.says)
			}
			u.must(tunhook, "stop", "--now", program.route, listen)
		})
	}
}
