package tunnel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel"
)

// routes has a route of each provider.
var routes = map[string]string{
	"pomerium": "desk.example.com:3389", "ssh": "ssh://gate.example.com/desk:3389", "cloudflared": "cloudflared://desk.example.com",
	"kubectl": "kubectl://prod/pod/desk:3389", "boundary": "boundary://ttcp_1", "tsh": "tsh://node/desk:3389", "tsh-app": "tsh-app://desk",
	"gcloud-iap": "gcloud-iap://zone-1/desk:3389", "aws-ssm": "aws-ssm://i-1/desk:3389", "relay": "relay://desk:3389",
}

func providerOf(t *testing.T, name string) *tunnel.Provider {
	t.Helper()
	config, err := tunnel.LoadConfig()
	if err != nil {
		t.Fatal(err)
	}
	route, err := config.Route(routes[name])
	if err != nil {
		t.Fatal(err)
	}
	return route.Provider
}

// TestWhatProgramsSayIsUnderstood: the words are those that the programs have for it.
func TestWhatProgramsSayIsUnderstood(t *testing.T) {
	t.Parallel()
	const serving = `{"level":"error","component":"tunnel","error":"ERROR","time":"2026-08-01T12:00:00Z","message":"error serving local connection"}`
	for name, lines := range map[string]map[string]tunnel.Meaning{
		"pomerium": {
			"http/1: failed to establish connection to proxy: dial tcp 192.0.2.7:443: connect: connection refused":                                      tunnel.Unreachable,
			"http/1: failed to establish connection to proxy: dial tcp 192.0.2.7:443: i/o timeout":                                                      tunnel.Unreachable,
			"http/1: failed to establish connection to proxy: dial tcp: lookup x.invalid on 127.0.0.53:53: no such host":                                tunnel.UnknownName,
			"http/1: failed to establish connection to proxy: tls: failed to verify certificate: x509: certificate signed by unknown authority":         tunnel.Untrusted,
			"http/1: failed to establish connection to proxy: tls: failed to verify certificate: x509: certificate has expired or is not yet valid":     tunnel.Untrusted,
			"tunnel: failed to get authentication JWT: failed to get url: Get 'https://x/.pomerium': dial tcp 192.0.2.7:443: connect: no route to host": tunnel.Unreachable,
			"tunnel: failed to get authentication JWT: failed to open browser url: exec: 'xdg-open': executable file not found in $PATH":                tunnel.NoBrowser,
			"tunnel: failed to get authentication JWT: failed to open browser url: exit status 3":                                                       tunnel.NoBrowser,
			"tunnel: failed to store JWT: mkdir /home/x/.cache: read-only file system":                                                                  tunnel.Unsaved,
			"invalid http response code: 404": tunnel.UnknownRoute,
			"invalid http response code: 500": tunnel.GatewayFault,
			"invalid http response code: 502": tunnel.GatewayFault,
			"unavailable":                     tunnel.Down,
			"unauthorized":                    tunnel.Refused,
			"unauthenticated":                 tunnel.SignedOut,
			"what no version has said so far": tunnel.GatewayFault,
		},
		"ssh": {
			"Host key verification failed.":                                                       tunnel.HostKey,
			"@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @":                         tunnel.HostKey,
			"channel 2: open failed: administratively prohibited: open failed":                    tunnel.Refused,
			"channel 2: open failed: connect failed: Connection refused":                          tunnel.Down,
			"channel 2: open failed: connect failed: Name or service not known":                   tunnel.UnknownName,
			"ssh_askpass: exec(/usr/bin/ssh-askpass): No such file or directory":                  tunnel.Unasked,
			"me@gate.example.com: Permission denied (publickey).":                                 tunnel.Refused,
			"ssh: Could not resolve hostname gate.example.com: Name or service not known":         tunnel.UnknownName,
			"ssh: connect to host gate.example.com port 22: Connection refused":                   tunnel.Unreachable,
			"ssh: connect to host gate.example.com port 22: Connection timed out":                 tunnel.Unreachable,
			"/bin/sh: 1: exec: cloudflared: not found":                                            tunnel.NoProgram,
			"/home/x/.ssh/config: line 3: Bad configuration option: frobnicate":                   tunnel.Arguments,
			"Unable to negotiate with 192.0.2.7 port 22: no matching host key type found.":        tunnel.GatewayFault,
			"kex_exchange_identification: Connection closed by remote host":                       tunnel.GatewayFault,
			"Permission denied, please try again.":                                                "",
			"Warning: Permanently added 'gate.example.com' (ED25519) to the list of known hosts.": "",
			"** The server may need to be upgraded. See https://openssh.com/pq.html":              "",
			"debug1: Connecting to gate.example.com [192.0.2.7] port 22.":                         "",
			"Authenticated to gate.example.com ([192.0.2.7]:22) using \"publickey\".":             "",
			"Unauthorized access to this system is forbidden and will be prosecuted by law.":      "",
			"Killed by signal 15.": "",
			"The authenticity of host 'gate.example.com (192.0.2.7)' can't be established.":         tunnel.HostKey,
			"Connection closed by 192.0.2.7 port 22":                                                tunnel.GatewayFault,
			"Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures":        tunnel.Refused,
			"No ED25519 host key is known for gate.example.com and you have requested strict check": tunnel.HostKey,
		},
		"cloudflared": {
			"Incorrect Usage: flag provided but not defined: -frobnicate":                                               tunnel.Arguments,
			"2026-08-01T12:00:00Z ERR failed to connect to origin error=\"websocket: bad handshake\"":                   tunnel.Down,
			"2026-08-01T12:00:00Z ERR failed to connect to origin error=\"dial tcp: lookup x.invalid: no such host\"":   tunnel.UnknownName,
			"2026-08-01T12:00:00Z ERR failed to connect to origin error=\"dial tcp 192.0.2.7:443: connection refused\"": tunnel.Unreachable,
			"failed to find Access application at https://desk.example.com":                                             tunnel.UnknownRoute,
			"x509: certificate signed by unknown authority":                                                             tunnel.Untrusted,
		},
		"kubectl": {
			`error: context "prod" does not exist`:                                                            tunnel.UnknownRoute,
			`Error from server (NotFound): pods "desk" not found`:                                             tunnel.UnknownRoute,
			`Error from server (Forbidden): pods "desk" is forbidden: User "x" cannot get resource "pods"`:    tunnel.Refused,
			"error: You must be logged in to the server (Unauthorized)":                                       tunnel.SignedOut,
			"Unable to connect to the server: getting credentials: exec: executable kubelogin not found":      tunnel.NoProgram,
			"Unable to connect to the server: dial tcp 192.0.2.7:6443: i/o timeout":                           tunnel.Unreachable,
			"Unable to connect to the server: dial tcp: lookup api.invalid on 127.0.0.53:53: no such host":    tunnel.UnknownName,
			"Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by": tunnel.Untrusted,
			"error: lost connection to pod":                                                                   tunnel.Down,
			"error: unknown flag: --frobnicate":                                                               tunnel.Arguments,
			"Forwarding from 127.0.0.1:3389 -> 3389":                                                          "",
		},
		"gcloud-iap": {
			"ERROR: (gcloud.compute.start-iap-tunnel) You do not currently have an active account selected.":                               tunnel.SignedOut,
			"ERROR: (gcloud.compute.start-iap-tunnel) Error while connecting [4033: 'not authorized'].":                                    tunnel.Refused,
			"ERROR: (gcloud.compute.start-iap-tunnel) Error while connecting [4003: 'failed to connect to backend'].":                      tunnel.Down,
			"ERROR: (gcloud.compute.start-iap-tunnel) Could not fetch resource:":                                                           tunnel.UnknownRoute,
			"ERROR: (gcloud.compute.start-iap-tunnel) unrecognized arguments: --frobnicate":                                                tunnel.Arguments,
			"ERROR: (gcloud.compute.start-iap-tunnel) There was a problem refreshing your current auth tokens: invalid_grant: Bad Request": tunnel.SignedOut,
		},
		"aws-ssm": {
			"SessionManagerPlugin is not found. Please refer to SessionManager Documentation here:":                                     tunnel.NoProgram,
			"An error occurred (TargetNotConnected) when calling the StartSession operation: i-1 is not connected.":                     tunnel.Down,
			"An error occurred (AccessDeniedException) when calling the StartSession operation: User x is not authorized to perform":    tunnel.Refused,
			"An error occurred (ExpiredTokenException) when calling the StartSession operation: The security token included is expired": tunnel.SignedOut,
			"Unable to locate credentials. You can configure credentials by running \"aws configure\".":                                 tunnel.SignedOut,
			`Could not connect to the endpoint URL: "https://ssm.eu-west-1.amazonaws.com/"`:                                             tunnel.Unreachable,
			"You must specify a region. You can also configure your region by running \"aws configure\".":                               tunnel.NotSetUp,
		},
		"boundary": {
			"Error from controller when performing authorize-session action against given target": "",
			"Status:  403":                           tunnel.Refused,
			"  Kind:                Unauthenticated": tunnel.SignedOut,
		},
		"tsh": {
			"ERROR: Not logged in.":                           tunnel.SignedOut,
			"ERROR: access denied to root connecting to node": tunnel.Refused,
		},
		"relay": {"dial tcp: lookup desk.invalid: no such host": tunnel.UnknownName, "dial tcp 127.0.0.1:9: connect: connection refused": ""},
	} {
		for line, means := range lines {
			watch, add := watched(t, providerOf(t, name), "", 0)
			if name == "pomerium" {
				line = strings.Replace(serving, "ERROR", line, 1)
			}
			add(line + "\n")
			if got := watch.Next(); got.Why.Means != means || got.SignIn != "" {
				t.Errorf("%s says %q: it means %q, want %q; page %q", name, line, got.Why.Means, means, got.SignIn)
			}
		}
	}
}

// TestTheFirstRowOfAllThatIsSaidCounts: programs say more than one thing, before or after it.
func TestTheFirstRowOfAllThatIsSaidCounts(t *testing.T) {
	t.Parallel()
	for _, said := range [][]string{
		{"E1125 memcache.go:265] couldn't get current server API group list: dial tcp: connection refused", `error: context "prod" does not exist`},
		{`error: context "prod" does not exist`, "E1125 memcache.go:265] couldn't get current server API group list: dial tcp: connection refused"},
	} {
		watch, add := watched(t, providerOf(t, "kubectl"), "", 0)
		var seen tunnel.Seen
		for _, line := range said {
			add(line + "\n")
			seen = seen.Then(watch.Next())
		}
		if seen.Why.Means != tunnel.UnknownRoute {
			t.Errorf("%q means %q", said, seen.Why.Means)
		}
	}
}

func TestASignInThatIsAskedForAfterAnErrorTakesItsPlace(t *testing.T) {
	t.Parallel()
	watch, add := watched(t, pomerium(t), "", 0)
	add(`{"error":"i/o timeout"}` + "\n" + `{"auth-url":"https://sign.in/"}` + "\n")
	seen := watch.Next()
	if seen.Why.Means != "" || seen.SignIn == "" || seen.SignedIn {
		t.Errorf("%+v", seen)
	}
	add(`{"message":"connecting"}` + "\n" + `{"error":"unavailable"}` + "\n")
	if seen = seen.Then(watch.Next()); !seen.SignedIn || seen.Why.Means != tunnel.Down {
		t.Errorf("%+v", seen)
	}
}

// TestAPageToSignInAtIsKnownByWhatIsSaidOfIt, where the provider has no pattern for it.
func TestAPageToSignInAtIsKnownByWhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	for said, page := range map[string]string{
		"A browser window should have opened at the following URL:\n\nhttps://gate.example.com/cdn-cgi/access/cli?aud=0&token=a\n":    "https://gate.example.com/cdn-cgi/access/cli?aud=0&token=a",
		"To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code ABCD to authenticate.\n": "https://microsoft.com/devicelogin",
		"# Tailscale SSH requires an additional check.\n# To authenticate, visit: https://login.tailscale.com/a/1\n":                  "https://login.tailscale.com/a/1",
		"Please visit the following URL in your browser: http://localhost:8000/\n":                                                    "http://localhost:8000/",
		"Your browser has been opened to visit:\n\n    https://accounts.example.com/auth?x=1\n":                                       "https://accounts.example.com/auth?x=1",
		"If browser window does not open automatically, open it by clicking on the link:\n http://127.0.0.1:38123/0a-1b\n":            "http://127.0.0.1:38123/0a-1b",
		"Log in at (https://login.example.com/one).\n":                                                                                "https://login.example.com/one",
		"Opening https://login.example.com/two in your browser\r\n":                                                                   "https://login.example.com/two",
		"Authentication required: https://gate.example.com/a\n":                                                                       "https://gate.example.com/a",
		`{"level":"info","msg":"login required","url":"https://gate.example.com/b"}` + "\n":                                           "https://gate.example.com/b",
		"Get \"https://login.example.com/\": connection reset\n":                                                                      "",
		"** The server may need to be upgraded. See https://openssh.com/pq.html\n":                                                    "",
		"By logging in you accept our policy: https://example.com/policy\n":                                                           "",
		"Welcome to https://gate.example.com/\n":                                                                                      "",
		"error: visit https://cloud.example.com/help for more information\n":                                                          "",
		"Unable to connect: Get \"https://192.0.2.7:6443/api?timeout=32s\": dial tcp: i/o timeout\n":                                  "",
		"for more information visit the following page:\nhttps://docs.example.com/\n":                                                 "",
		"To sign in, run gcloud auth login\none\ntwo\nthree\nconnected to https://gate.example.com/\n":                                "",
	} {
		watch, add := watched(t, providerOf(t, "ssh"), "", 0)
		add(said)
		if got := watch.Next().SignIn; got != page {
			t.Errorf("%q: the page is %q, want %q", said, got, page)
		}
	}
}

func TestAUsersErrorsComeBeforeTheEmbeddedOnes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.toml")
	text := "[provider.pomerium]\nrefused = 'not for you'\n[[provider.pomerium.errors]]\nmatch = 'no luck'\nmeans = \"down\"\nhint = \"wake {host}: port {port}, {nothing}\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := tunnel.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	route, err := config.Route(routes["pomerium"])
	if err != nil {
		t.Fatal(err)
	}
	for line, means := range map[string]tunnel.Meaning{
		"not for you, unauthorized": tunnel.Refused, "no luck: x509: oh": tunnel.Down, "x509: oh": tunnel.Untrusted, "unauthorized": tunnel.Refused,
	} {
		watch, add := watched(t, route.Provider, "", 0)
		add(line + "\n")
		why := watch.Next().Why
		if why.Means != means {
			t.Errorf("%q means %q, want %q", line, why.Means, means)
		}
		if hint := route.Fill(why.Hint); strings.Contains(line, "luck") && hint != "wake desk.example.com: port 3389, {nothing}" {
			t.Errorf("the hint is %q", hint)
		}
	}
	if again, err := tunnel.LoadConfig(); err != nil || again == nil {
		t.Fatal(err)
	}
}
