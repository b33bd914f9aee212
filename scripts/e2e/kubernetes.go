//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// A cluster is as much of Kubernetes's API as "kubectl port-forward pod/NAME" asks for, with one pod, desk, in the namespace default. It
// speaks SPDY only, as all did before 1.31: kubectl asks for WebSockets first, and then for that. It answers no stream: what is tried
// with it is what comes before the bytes.
type cluster struct {
	*httptest.Server
	pods     int    // the status of its answer when asked for a pod
	phase    string // of the pod
	hangsUp  bool   // once a client has connected
	t        testing.TB
	mu       sync.Mutex
	token    string // whose request came last
	arrivals int    // of clients' connections
}

// startCluster starts a cluster, after change has had a look at it.
func startCluster(t testing.TB, change func(*cluster)) *cluster {
	t.Helper()
	c := &cluster{t: t, pods: http.StatusOK, phase: "Running"}
	if change != nil {
		change(c)
	}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients who do not trust it
	c.StartTLS()
	t.Cleanup(c.Close)
	return c
}

// config is a configuration of kubectl for it. user is how that signs in.
func (c *cluster) config(user string) string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	return kubeConfig(fmt.Sprintf("server: %s, certificate-authority-data: %s", c.URL, base64.StdEncoding.EncodeToString(ca)), user)
}

// kubeConfig is one with a context admin@lab, the name of which says whether an @ in a route is understood.
func kubeConfig(cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {%s}}]
users: [{name: me, user: {%s}}]
contexts: [{name: admin@lab, context: {cluster: lab, user: me}}]
`, cluster, user)
}

// signsInWith is a user of whom a program of theirs knows the token (client-go's credential plugins).
func signsInWith(program string) string {
	return fmt.Sprintf("exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: %s, interactiveMode: Never}", program)
}

// credential is what such a program prints once somebody has signed in.
const credential = `{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "from-the-page"}}`

func (c *cluster) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	c.mu.Unlock()
	const pod = "/api/v1/namespaces/default/pods/desk"
	switch r.URL.Path {
	case "/version":
		answer(w, http.StatusOK, `{"major": "1", "minor": "30", "gitVersion": "v1.30.0"}`)
	case "/api":
		answer(w, http.StatusOK, `{"kind": "APIVersions", "versions": ["v1"]}`)
	case "/apis":
		answer(w, http.StatusOK, `{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`)
	case "/api/v1":
		answer(w, http.StatusOK, `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [
			{"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]}]}`)
	case pod:
		switch c.pods {
		case http.StatusOK:
			answer(w, c.pods, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "desk", "namespace": "default"},
				"spec": {"containers": [{"name": "desk", "image": "desk"}]}, "status": {"phase": "`+c.phase+`"}}`)
		case http.StatusUnauthorized:
			refuse(w, c.pods, "Unauthorized", "Unauthorized")
		default:
			refuse(w, c.pods, "Forbidden", `pods "desk" is forbidden: User "me" cannot get resource "pods" in API group ""`)
		}
	case pod + "/portforward":
		c.forward(w, r)
	default:
		refuse(w, http.StatusNotFound, "NotFound", `pods "`+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]+`" not found`)
	}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func refuse(w http.ResponseWriter, status int, reason, message string) {
	answer(w, status, fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "message": %q, "code": %d}`,
		reason, message, status))
}

// newStream begins each frame of SPDY/3.1 that opens a stream: for each client kubectl opens two.
var newStream = []byte{0x80, 3, 0, 1}

func (c *cluster) forward(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "SPDY/3.1") {
		refuse(w, http.StatusBadRequest, "BadRequest", "unable to upgrade: unsupported")
		return
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"+
		"X-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n")
	var got []byte
	for b := make([]byte, 4096); ; {
		n, err := buffered.Read(b)
		if err != nil {
			return // kubectl has ended
		}
		if got = append(got, b[:n]...); bytes.Contains(got, newStream) {
			got = nil
			c.mu.Lock()
			c.arrivals++
			c.mu.Unlock()
			if c.hangsUp {
				return
			}
		}
	}
}

// lastToken is what the last request had to show.
func (c *cluster) lastToken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// clients is how often a client's connection has come through, 0 for never.
func (c *cluster) clients() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrivals
}
