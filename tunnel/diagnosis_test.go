package tunnel_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel"
)

// routes has a route of each provider.
var routes = map[string]string{
	"pomerium": "desk.example.com:3389", "ssh": "ssh://gate.example.com/desk:3389", "cloudflared": "cloudflared://desk.example.com",
	"kubectl": "kubectl://prod/pod/desk:3389", "boundary": "boundary://ttcp_1", "tsh": "tsh://node/desk:3389", "tsh-app": "tsh-app://desk",
	"gcloud-iap": "gcloud-iap://zone-1/desk:3389", "aws-ssm": "aws-ssm://i-1/desk:3389", "relay": "relay://desk:3389",
	"tailscale": "tailscale://desk:3389", "azure-bastion": "azure-bastion://group/gate/10.1.2.3:3389", "chisel": "chisel://gate/desk:3389",
	"oci-bastion": "oci-bastion://ocid1.bastionsession.a@eu-frankfurt-1/10.1.2.3:3389", "wstunnel": "wstunnel://gate/desk:3389",
	"frp": "frp://gate/desk",
}

func providerOf(t *testing.T, name string) *tunnel.Provider {
	t.Helper()
	config := tunnel.LoadConfig()
	route, err := config.Route(routes[name])
	if err != nil {
		t.Fatal(err)
	}
	return route.Provider
}

// providerNames gives the names of the embedded providers.
func providerNames(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("providers.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\[provider\.([^].]+)\]`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

// TestWhatProgramsSayIsUnderstood: the words are those that the programs have for it.
func TestWhatProgramsSayIsUnderstood(t *testing.T) {
	t.Parallel()
	const serving = `{"level":"error","component":"tunnel","error":"ERROR","time":"2026-08-01T12:00:00Z","message":"error serving local connection"}`
	teleport := map[string]tunnel.Meaning{ // one program, two providers
		"ERROR: Not logged in.":                                                                tunnel.SignedOut,
		`ERROR: No proxy address specified, missed --proxy flag?`:                              tunnel.SignedOut,
		`ERROR: not logged in`:                                                                 tunnel.SignedOut,
		`ERROR: ssh: cert has expired`:                                                         tunnel.SignedOut,
		`ERROR: timed out waiting for callback`:                                                tunnel.SignedOut,
		`ERROR: underlying reader is not a terminal`:                                           tunnel.Unasked,
		`ERROR: access denied to root connecting to node`:                                      tunnel.Refused,
		`ERROR: identity provider callback failed with error: access_denied`:                   tunnel.Refused,
		`ERROR: failed connecting to host node: target host node is offline or does not exist`: tunnel.Down,
		`ERROR: failed connecting to node node. Teleport proxy failed to connect to "node" agent "node:3022" over direct dial:`:                                    tunnel.Down,
		`direct dialing to nodes not found in inventory is not supported`:                                                                                          tunnel.UnknownRoute,
		`ERROR: app "desk" not found, use 'tsh apps ls' to see registered apps`:                                                                                    tunnel.UnknownRoute,
		`Failed to open a browser window for login: exec: "xdg-open": permission denied`:                                                                           tunnel.NoBrowser,
		`ERROR: connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate is valid for a, not b"`: tunnel.Untrusted,
		`ERROR: connection error: desc = "transport: authentication handshake failed: EOF"`:                                                                        tunnel.GatewayFault,
		`ERROR: Get "https://gate.invalid/webapi/ping": dial tcp: lookup gate.invalid: no such host`:                                                               tunnel.UnknownName,
		`ERROR: Get "https://gate.example.com/webapi/ping": dial tcp 192.0.2.7:443: connect: connection refused`:                                                   tunnel.Unreachable,
		`ERROR: unknown long flag '--frobnicate'`:                                                                                                                  tunnel.Arguments,
		`Proxying connections to desk on 127.0.0.1:3389`:                                                                                                           "",
	}
	said := map[string]map[string]tunnel.Meaning{
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
			"http/1: failed to establish connection to proxy: remote error: tls: certificate required":                                                  tunnel.Refused,
			"http/1: failed to establish connection to proxy: tls: first record does not look like a TLS handshake":                                     tunnel.GatewayFault,
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
			"mux_client_request_stdio_fwd: Session open refused by peer":                          tunnel.Down,
			"channel 2: open failed: connect failed: Name or service not known":                   tunnel.UnknownName,
			"ssh_askpass: exec(/usr/bin/ssh-askpass): No such file or directory":                  tunnel.Unasked,
			"me@gate.example.com: Permission denied (publickey).":                                 tunnel.Refused,
			"ssh: Could not resolve hostname gate.example.com: Name or service not known":         tunnel.UnknownName,
			"ssh: connect to host gate.example.com port 22: Connection refused":                   tunnel.Unreachable,
			"relay: the ssh connection of process 7 does not answer, and no other can be made":    tunnel.Unreachable,
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
			"Incorrect Usage: flag provided but not defined: -frobnicate":                                                                                                                                                  tunnel.Arguments,
			"2026-08-01T12:00:00Z ERR failed to connect to origin error=\"websocket: bad handshake\"":                                                                                                                      tunnel.Down,
			"2026-08-01T12:00:00Z ERR failed to connect to origin error=\"dial tcp: lookup x.invalid: no such host\"":                                                                                                      tunnel.UnknownName,
			"2026-08-01T12:00:00Z ERR failed to connect to origin error=\"dial tcp 192.0.2.7:443: connection refused\"":                                                                                                    tunnel.Unreachable,
			"failed to find Access application at https://desk.example.com":                                                                                                                                                tunnel.UnknownRoute,
			"x509: certificate signed by unknown authority":                                                                                                                                                                tunnel.Untrusted,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="Proxy Authentication Required" originURL=https://desk.example.com`:                                                                                tunnel.Unreachable,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="EOF" originURL=https://desk.example.com`:                                                                                                          tunnel.GatewayFault,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="tls: failed to verify certificate: x509: certificate signed by unknown authority" originURL=https://desk.example.com`:                             tunnel.Untrusted,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="dial tcp 192.0.2.7:443: i/o timeout" originURL=https://desk.example.com`:                                                                          tunnel.Unreachable,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="failed to get app info: Head \"https://desk.example.com\": dial tcp 192.0.2.7:443: connect: no route to host" originURL=https://desk.example.com`: tunnel.Unreachable,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="failed to find Access application at https://desk.example.com" originURL=https://desk.example.com`:                                                tunnel.UnknownRoute,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="metadata JWT is older than 24h0m0s" originURL=https://desk.example.com`:                                                                           tunnel.Untrusted,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="failed to run transfer service: Failed to fetch resource" originURL=https://desk.example.com`:                                                     tunnel.SignedOut,
			`2026-11-26T08:00:00Z ERR failed to connect to origin error="failed to write app token to disk: open /home/x/.cloudflared/desk-token: permission denied" originURL=https://desk.example.com`:                   tunnel.Unsaved,
			`2026-11-26T08:00:00Z INF Start Websocket listener host=127.0.0.1:3389`:                                                                                                                                        "",
			`2026-11-26T08:00:00Z INF Waiting for login...`:                                                                                                                                                                "",
		},
		"kubectl": {
			`error: context "prod" does not exist`:                                                                                            tunnel.UnknownRoute,
			`Error from server (NotFound): pods "desk" not found`:                                                                             tunnel.UnknownRoute,
			`Error from server (Forbidden): pods "desk" is forbidden: User "x" cannot get resource "pods"`:                                    tunnel.Refused,
			"error: You must be logged in to the server (Unauthorized)":                                                                       tunnel.SignedOut,
			"Unable to connect to the server: getting credentials: exec: executable kubelogin not found":                                      tunnel.NoProgram,
			"Unable to connect to the server: dial tcp 192.0.2.7:6443: i/o timeout":                                                           tunnel.Unreachable,
			"Unable to connect to the server: dial tcp: lookup api.invalid on 127.0.0.53:53: no such host":                                    tunnel.UnknownName,
			"Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by":                                 tunnel.Untrusted,
			"error: lost connection to pod":                                                                                                   tunnel.Down,
			"error: unknown flag: --frobnicate":                                                                                               tunnel.Arguments,
			"Forwarding from 127.0.0.1:3389 -> 3389":                                                                                          "",
			`error: context was not found for specified context: prod`:                                                                        tunnel.UnknownRoute,
			`The connection to the server localhost:8080 was refused - did you specify the right host or port?`:                               tunnel.NotSetUp,
			`The connection to the server api.example.com:6443 was refused - did you specify the right host or port?`:                         tunnel.Unreachable,
			`Error in configuration: unable to read client-cert /home/x/me.crt for me due to open /home/x/me.crt: no such file or directory`:  tunnel.NotSetUp,
			`Unable to connect to the server: getting credentials: exec: executable aws failed with exit code 255`:                            tunnel.SignedOut,
			`error: pods "desk" not found`:                                                                                                    tunnel.UnknownRoute,
			`error: the server doesn't have a resource type "pd"`:                                                                             tunnel.UnknownRoute,
			`error: Service desk does not have a service port 3389`:                                                                           tunnel.UnknownRoute,
			`error: unable to forward port because pod is not running. Current status=Pending`:                                                tunnel.Down,
			`error: timed out waiting for the condition`:                                                                                      tunnel.Down,
			`error: error upgrading connection: error dialing backend: dial tcp 10.0.0.7:10250: connect: connection refused`:                  tunnel.Down,
			`error: error upgrading connection: pods "desk" is forbidden: User "x" cannot create resource "pods/portforward" in API group ""`: tunnel.Refused,
			`E1126 08:00:00.000000   123 portforward.go:424] "Unhandled Error" err="an error occurred forwarding 3389 -> 3389: error forwarding port 3389 to pod 0a1b, uid : failed to execute portforward in network namespace"`: tunnel.Down,
			`E1126 08:00:00.000000   123 portforward.go:549] "An error occurred forwarding" err="connect: connection refused" localPort=3389 remotePort=3389`:                                                                     tunnel.Down,
			`Error from server (ServiceUnavailable): the server is currently unable to handle the request`:                                                                                                                        tunnel.GatewayFault,
			`Unable to connect to the server: net/http: TLS handshake timeout`:                                                                                                                                                    tunnel.Unreachable,
			`Handling connection for 3389`: "",
		},
		"gcloud-iap": {
			"ERROR: (gcloud.compute.start-iap-tunnel) You do not currently have an active account selected.":                                                                                       tunnel.SignedOut,
			"ERROR: (gcloud.compute.start-iap-tunnel) Error while connecting [4033: 'not authorized'].":                                                                                            tunnel.Refused,
			"ERROR: (gcloud.compute.start-iap-tunnel) Error while connecting [4003: 'failed to connect to backend'].":                                                                              tunnel.Down,
			"ERROR: (gcloud.compute.start-iap-tunnel) Could not fetch resource:":                                                                                                                   tunnel.UnknownRoute,
			"ERROR: (gcloud.compute.start-iap-tunnel) unrecognized arguments: --frobnicate":                                                                                                        tunnel.Arguments,
			"ERROR: (gcloud.compute.start-iap-tunnel) There was a problem refreshing your current auth tokens: invalid_grant: Bad Request":                                                         tunnel.SignedOut,
			`ERROR: (gcloud.compute.start-iap-tunnel) The required property [project] is not currently set.`:                                                                                       tunnel.NotSetUp,
			`ERROR: (gcloud.compute.start-iap-tunnel) While checking if a connection can be made: Error while connecting [4047: 'Failed to lookup instance'].`:                                     tunnel.UnknownRoute,
			`ERROR: (gcloud.compute.start-iap-tunnel) While checking if a connection can be made: Error while connecting [4003: 'failed to connect to backend']. (Failed to connect to port 3389)`: tunnel.Down,
			`ERROR: (gcloud.compute.start-iap-tunnel) While checking if a connection can be made: Error while connecting [Handshake status 401 Unauthorized]. (May be due to missing permissions)`: tunnel.Refused,
			`ERROR: (gcloud.compute.start-iap-tunnel) Error while connecting [Connection to remote host was lost.].`:                                                                               tunnel.GatewayFault,
			`ERROR: (gcloud.compute.start-iap-tunnel) Unexpected error while connecting. Check logs for more details.`:                                                                             tunnel.Unreachable,
			` - The resource 'projects/p/zones/zone-1/instances/desk' was not found`:                                                                                                               tunnel.UnknownRoute,
			` - Required 'compute.instances.get' permission for 'projects/p/zones/zone-1/instances/desk'`:                                                                                          tunnel.Refused,
			`ERROR: (gcloud.compute.start-iap-tunnel) There was a problem refreshing your current auth tokens: HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded with url: /token (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object>: Failed to establish a new connection: [Errno 101] Network is unreachable'))`: tunnel.Unreachable,
			`ERROR: (gcloud.compute.start-iap-tunnel) There was a problem refreshing your current auth tokens: HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded with url: /token (Caused by NameResolutionError("Failed to resolve 'oauth2.googleapis.com'"))`:                                                                            tunnel.UnknownName,
			`ERROR: (gcloud.compute.start-iap-tunnel) There was a problem refreshing your current auth tokens: HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded with url: /token (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))`:                                         tunnel.Untrusted,
			`  $ gcloud auth login`:               tunnel.SignedOut,
			`Testing if tunnel connection works.`: "",
			`Listening on port [40033].`:          "",
		},
		"aws-ssm": {
			"SessionManagerPlugin is not found. Please refer to SessionManager Documentation here:":                                                            tunnel.NoProgram,
			"An error occurred (TargetNotConnected) when calling the StartSession operation: i-1 is not connected.":                                            tunnel.Down,
			"An error occurred (AccessDeniedException) when calling the StartSession operation: User x is not authorized to perform":                           tunnel.Refused,
			"An error occurred (ExpiredTokenException) when calling the StartSession operation: The security token included is expired":                        tunnel.SignedOut,
			"Unable to locate credentials. You can configure credentials by running \"aws configure\".":                                                        tunnel.SignedOut,
			`Could not connect to the endpoint URL: "https://ssm.eu-west-1.amazonaws.com/"`:                                                                    tunnel.Unreachable,
			"You must specify a region. You can also configure your region by running \"aws configure\".":                                                      tunnel.NotSetUp,
			`Connection to destination port failed, check SSM Agent logs.`:                                                                                     tunnel.Down,
			`SessionId: x-1 : Plugin with name Port is not supported by this version of ssm agent, please update to latest version. Step name: Port`:           tunnel.GatewayFault,
			`Encountered error while initiating handshake. Handshake timed out. Please ensure that you have the latest version of the session manager plugin.`: tunnel.GatewayFault,
			`Cannot perform start session: dial tcp 192.0.2.7:443: i/o timeout`:                                                                                tunnel.Unreachable,
			`Cannot perform start session: EOF`: tunnel.GatewayFault,
			`An error occurred (InvalidSignatureException) when calling the StartSession operation: Signature expired: 20261126T080000Z is now earlier than 20261126T090000Z`: tunnel.NotSetUp,
			`An error occurred (InvalidDocument) when calling the StartSession operation: Document with name x does not exist.`:                                               tunnel.UnknownRoute,
			`An error occurred (ThrottlingException) when calling the StartSession operation: Rate exceeded`:                                                                  tunnel.GatewayFault,
			`Error when retrieving token from sso: Token has expired and refresh failed`:                                                                                      tunnel.SignedOut,
			`The SSO session associated with this profile has expired or is otherwise invalid. To refresh this SSO session run aws sso login with the corresponding profile.`: tunnel.SignedOut,
			`Your session has expired or credentials have changed. Please reauthenticate using 'aws login'.`:                                                                  tunnel.SignedOut,
			`The config profile (prod) could not be found`:                                                                                                                    tunnel.NotSetUp,
			`Connect timeout on endpoint URL: "https://ssm.eu-west-1.amazonaws.com/"`:                                                                                         tunnel.Unreachable,
			`Failed to connect to proxy URL: "http://proxy:3128"`:                                                                                                             tunnel.Unreachable,
			`SSL validation failed for https://ssm.eu-west-1.amazonaws.com/ [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self signed certificate`:              tunnel.Untrusted,
			`Parameter validation failed:`:         tunnel.Arguments,
			`Starting session with SessionId: x-1`: "",
			`Waiting for connections...`:           "",
		},
		"boundary": {
			"Error from controller when performing authorize-session action against given target": "",
			"Status:  403":                           tunnel.Refused,
			"  Kind:                Unauthenticated": tunnel.SignedOut,
			`no token found`:                         "",
			`  Status:              401`:             tunnel.SignedOut,
			`  Message:             Unauthenticated, or invalid token.`:                                                                        tunnel.SignedOut,
			`{"context":"Error from controller when performing authorize-session action against given target","status_code":403,"status":403}`: tunnel.Refused,
			`  Kind:                PermissionDenied`:                                                                                          tunnel.Refused,
			`  Message:             Forbidden.`:                                                                                                tunnel.Refused,
			`  Message:             Resource not found.`:                                                                                       tunnel.UnknownRoute,
			`  Message:             No workers are available to handle this session.`:                                                          tunnel.Down,
			`  Message:             No host sources or address found for given target.`:                                                        tunnel.Down,
			`Error trying to authorize a session against target: error performing client request during AuthorizeSession call: Post "http://127.0.0.1:9200/v1/targets/ttcp_1:authorize-session": dial tcp 127.0.0.1:9200: connect: connection refused`:                             tunnel.Unreachable,
			`Error trying to authorize a session against target: error performing client request during AuthorizeSession call: Post "https://b.invalid/v1/targets/ttcp_1:authorize-session": dial tcp: lookup b.invalid: no such host`:                                             tunnel.UnknownName,
			`Error trying to authorize a session against target: error performing client request during AuthorizeSession call: Post "https://b.example.com/v1/targets/ttcp_1:authorize-session": tls: failed to verify certificate: x509: certificate signed by unknown authority`: tunnel.Untrusted,
			`  Reason:    error from getWsConn: unable to connect to worker at 192.0.2.7:9202`:                 tunnel.Unreachable,
			`  Reason:    error from runTcpProxyV1: unable to authorize connection`:                            tunnel.Refused,
			`  Reason:    No connections left in session`:                                                      tunnel.Refused,
			`  Reason:    error from runTcpProxyV1: error reading handshake result: failed to get reader: EOF`: tunnel.GatewayFault,
			`flag provided but not defined: -frobnicate`:                                                       tunnel.Arguments,
			`  Connection Limit:    1`:                                                                         "",
			`  Port:                403`:                                                                       "",
		},
		"tsh": teleport,
		"tailscale": {
			`failed to connect to local tailscaled; it doesn't appear to be running (sudo systemctl start tailscaled ?)`:                                                                    tunnel.NotSetUp,
			`failed to connect to local tailscaled (which appears to be running as tailscaled, pid 7). Got error: dial unix /var/run/tailscale/tailscaled.sock: connect: permission denied`: tunnel.NotSetUp,
			`Dial("desk", 3389): unexpected HTTP response: 502 Bad Gateway, resolve failure: lookup desk: no such host`:                                                                     tunnel.UnknownName,
			`Dial("desk", 3389): unexpected HTTP response: 502 Bad Gateway, dial failure: dial tcp 100.64.0.7:3389: connect: connection refused`:                                            tunnel.Down,
			`Dial("10.0.0.7", 3389): dial tcp 10.0.0.7:3389: i/o timeout`:                                                                                                                   tunnel.Down,
			`flag provided but not defined: -frobnicate`: tunnel.Arguments,
		},
		"tsh-app": teleport,
		"azure-bastion": {
			`ERROR: Please run 'az login' to setup account.`:                        tunnel.SignedOut,
			`ERROR: AADSTS700082: The refresh token has expired due to inactivity.`: tunnel.SignedOut,
			`ERROR: (AuthorizationFailed) The client 'x' with object id 'y' does not have authorization to perform action 'Microsoft.Network/bastionHosts/read' over scope '/subscriptions/0'`: tunnel.Refused,
			`KeyError: 'authToken'`: tunnel.Refused,
			`ERROR: (ResourceNotFound) The Resource 'Microsoft.Network/bastionHosts/gate' under resource group 'group' was not found.`:                                                                                                          tunnel.UnknownRoute,
			`ERROR: (ResourceGroupNotFound) Resource group 'group' could not be found.`:                                                                                                                                                         tunnel.UnknownRoute,
			`ERROR: Please enter a valid resource ID. If this is not working, try opening the JSON view of your resource`:                                                                                                                       tunnel.UnknownRoute,
			`ERROR: Bastion Host SKU must be Standard or Premium and Native Client must be enabled.`:                                                                                                                                            tunnel.NotSetUp,
			`ERROR: '--target-ip-address' flag cannot be used when IpConnect is not enabled. Please use --target-resource-id flag instead.`:                                                                                                     tunnel.NotSetUp,
			`ERROR: 'bastion' is misspelled or not recognized by the system.`:                                                                                                                                                                   tunnel.NoProgram,
			`websocket._exceptions.WebSocketBadStatusException: Handshake status 404 Not Found`:                                                                                                                                                 tunnel.Down,
			`requests.exceptions.ConnectionError: HTTPSConnectionPool(host='gate.bastion.azure.com', port=443): Max retries exceeded with url: /api/tokens (Caused by NewConnectionError('Connection refused'))`:                                tunnel.Unreachable,
			`requests.exceptions.ConnectionError: HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /api/tokens (Caused by NameResolutionError("Failed to resolve 'x'"))`:                                                 tunnel.UnknownName,
			`requests.exceptions.SSLError: HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /api/tokens (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))`: tunnel.Untrusted,
			`ERROR: unrecognized arguments: --frobnicate`:                                      tunnel.Arguments,
			`Exception in thread Thread-1 (_start_tunnel):`:                                    tunnel.GatewayFault,
			`WARNING: The command requires the extension bastion. It will be installed first.`: "",
			`WARNING: Tunnel is ready, connect on port 3389`:                                   "",
		},
		"oci-bastion": {
			`Host key verification failed.`:                                                                          tunnel.HostKey,
			`channel 2: open failed: administratively prohibited: open failed`:                                       tunnel.Refused,
			`ocid1.bastionsession.a@host.bastion.eu-frankfurt-1.oci.oraclecloud.com: Permission denied (publickey).`: tunnel.Refused,
			`channel 2: open failed: connect failed: Connection timed out`:                                           tunnel.Down,
			`ssh: Could not resolve hostname host.bastion.nowhere.oci.oraclecloud.com: Name or service not known`:    tunnel.UnknownName,
			`ssh: connect to host host.bastion.eu-frankfurt-1.oci.oraclecloud.com port 22: Connection timed out`:     tunnel.Unreachable,
			`Connection closed by 192.0.2.7 port 22`:                                                                 tunnel.GatewayFault,
		},
		"chisel": {
			`2026/11/26 08:00:00 client: Connection error: dial tcp 127.0.0.1:1: connect: connection refused (Attempt: 1/unlimited)`:                                                  tunnel.Unreachable,
			`2026/11/26 08:00:00 client: Connection error: dial tcp: lookup x.invalid on 127.0.0.53:53: no such host`:                                                                 tunnel.UnknownName,
			`2026/11/26 08:00:00 client: Connection error: tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs`: tunnel.Untrusted,
			`2026/11/26 08:00:00 client: Connection error: tls: first record does not look like a TLS handshake`:                                                                      tunnel.GatewayFault,
			`2026/11/26 08:00:00 client: Connection error: websocket: bad handshake`:                                                                                                  tunnel.GatewayFault,
			`2026/11/26 08:00:00 client: Authentication failed`:                                                                                                                       tunnel.Refused,
			`2026/11/26 08:00:00 client: Connection error: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none password], no supported methods remain`:        tunnel.Refused,
			`2026/11/26 08:00:00 client: ssh: handshake failed: Invalid fingerprint (xz/rJlDG4Evj++5KrOFACF/v/WrQvO4EFWIvLYfgVSY=)`:                                                   tunnel.HostKey,
			`2026/11/26 08:00:00 client: tun: proxy#127.0.0.1:3389=>desk:3389: conn#1: Stream error: ssh: rejected: administratively prohibited (access denied)`:                      tunnel.Refused,
			`flag provided but not defined: -frobnicate`:                                                                                                                              tunnel.Arguments,
			`2026/11/26 08:00:00 client: Connected (Latency 1.21147ms)`:                                                                                                               "",
			`2026/11/26 08:00:00 client: tun: proxy#127.0.0.1:3389=>desk:3389: Listening`:                                                                                             "",
		},
		"wstunnel": {
			`2026-11-26T08:00:00.000000Z ERROR tunnel{id="0a1b" remote="desk:3389"}: wstunnel::tunnel::client::client: failed to get a connection to the server from the pool: Cannot connect to tcp endpoint gate:443 reason Some(Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })`: tunnel.Unreachable,
			`2026-11-26T08:00:00.000000Z ERROR tunnel{id="0a1b" remote="desk:3389"}: wstunnel::tunnel::client::client: failed to get a connection to the server from the pool: cannot resolve domain: gate`:                                                                                                   tunnel.UnknownName,
			`2026-11-26T08:00:00.000000Z ERROR tunnel{id="0a1b" remote="desk:3389"}: wstunnel::tunnel::client::client: failed to get a connection to the server from the pool: invalid peer certificate: UnknownIssuer`:                                                                                       tunnel.Untrusted,
			`    Invalid status code: 400`: tunnel.Refused,
			`    Invalid status code: 502`: tunnel.GatewayFault,
			`2026-11-26T08:00:00.000000Z ERROR tunnel{id="0a1b" remote="desk:3389"}: wstunnel::tunnel::client::client: failed to do websocket handshake with the server Wss { host: Domain("gate"), port: 443 }`: tunnel.GatewayFault,
			`error: unexpected argument '--frobnicate' found`:                                                                         tunnel.Arguments,
			`2026-11-26T08:00:00.000000Z  INFO wstunnel::protocols::tcp::server: Starting TCP server listening cnx on 127.0.0.1:3389`: "",
		},
		"frp": {
			`2026-11-26 08:00:00.000 [W] [client/service.go:322] connect to server error: dial tcp 127.0.0.1:1: connect: connection refused`:                                           tunnel.Unreachable,
			`2026-11-26 08:00:00.000 [W] [client/service.go:322] connect to server error: dial tcp: lookup x.invalid on 127.0.0.53:53: no such host`:                                   tunnel.UnknownName,
			`2026-11-26 08:00:00.000 [W] [client/service.go:322] connect to server error: token in login doesn't match token from configuration`:                                       tunnel.Refused,
			`2026-11-26 08:00:00.000 [W] [client/service.go:322] connect to server error: session shutdown`:                                                                            tunnel.GatewayFault,
			`2026-11-26 08:00:00.000 [W] [visitor/stcp.go:70] [0a1b] [tunhook] dialRawVisitorConn error: start new visitor connection error: visitor connection of [desk] auth failed`: tunnel.Refused,
			`2026-11-26 08:00:00.000 [W] [visitor/stcp.go:70] [0a1b] [tunhook] dialRawVisitorConn error: start new visitor connection error: custom listener for [desk] doesn't exist`: tunnel.Down,
			`server name is required`:           tunnel.Arguments,
			`Error: unknown flag: --frobnicate`: tunnel.Arguments,
			`2026-11-26 08:00:00.000 [I] [visitor/visitor_manager.go:129] [0a1b] start visitor success`: "",
		},
		"relay": {"dial tcp: lookup desk.invalid: no such host": tunnel.UnknownName, "dial tcp 127.0.0.1:9: connect: connection refused": ""},
	}
	for _, name := range providerNames(t) {
		if len(said[name]) == 0 || routes[name] == "" {
			t.Errorf("%s: nothing is known of what its program says", name)
		}
	}
	for name, lines := range said {
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
	config := tunnel.LoadConfig(path)
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
}
