//go:build e2e

package e2essh

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/tunhook/tunhook/scripts/internal/sandbox"
	"github.com/tunhook/tunhook/scripts/internal/sshd"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// client is somebody's ssh, with a configuration of their own for the host gate.
type client struct {
	t      *testing.T
	home   *sandbox.Home
	server *sshd.Server
	config string // path
	target string // an echo server
}

func newClient(t *testing.T) *client {
	t.Helper()
	c := &client{t: t, home: newHome(t), server: startServer(t)}
	c.config, c.target = c.home.Path("ssh_config"), echoServer(t)
	return c
}

func echoServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return ln.Addr().String()
}

// configure writes the configuration: a Host block for gate with those lines, which come first.
func (c *client) configure(lines ...string) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(c.server.Addr())
	options := c.server.Options() // -F none -i KEY -o …
	block := append([]string{"Host gate"}, lines...)
	block = append(block, "HostName "+host, "Port "+port, "IdentityFile "+options[3])
	for i := 5; i < len(options); i += 2 {
		block = append(block, strings.Replace(options[i], "=", " ", 1))
	}
	if err := os.WriteFile(c.config, []byte(strings.Join(block, "\n")+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) route() string { return "ssh://gate/" + c.target }

// start starts a tunnel, with those arguments for ssh.
func (c *client) start(args ...string) string {
	c.t.Helper()
	return tunhook(c.t, c.home, append([]string{"start", c.route(), "--", "-F", c.config}, args...)...)
}

// ssh runs the user's own ssh.
func (c *client) ssh(args ...string) *exec.Cmd {
	return c.home.Command(context.Background(), "ssh", append([]string{"-F", c.config}, args...)...)
}

// master starts a connection that the user shares, and ends it with the test.
func (c *client) master(path string) *exec.Cmd {
	c.t.Helper()
	cmd := c.ssh("-M", "-N", "-S", path, "gate")
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	c.until("a shared connection", func() bool { _, err := os.Stat(path); return err == nil })
	return cmd
}

// agent starts an agent without keys, and gives its socket. It is no process of the home, and ends with the test.
func (c *client) agent() (socket string) {
	c.t.Helper()
	socket = c.home.Path("agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	c.until("an agent", func() bool { _, err := os.Stat(socket); return err == nil })
	if c.has(socket) {
		c.t.Fatal("a new agent has the key already")
	}
	return socket
}

// has reports whether an agent, which must be there, has the key that logs in.
func (c *client) has(agent string) bool {
	c.t.Helper()
	key, err := os.ReadFile(c.server.Options()[3] + ".pub")
	if err != nil {
		c.t.Fatal(err)
	}
	list := exec.Command("ssh-add", "-L")
	list.Env = append(os.Environ(), "SSH_AUTH_SOCK="+agent)
	out, err := list.CombinedOutput()
	const none = 1 // of 2 for no agent (ssh-add(1))
	if err != nil && list.ProcessState.ExitCode() != none {
		c.t.Fatalf("%v: %v: %s", list, err, out)
	}
	return bytes.Contains(out, []byte(strings.Fields(string(key))[1]))
}

func (c *client) until(what string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// works sends something through the tunnel, ends its direction, and reads it back to the end.
func works(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	said := []byte("is there anybody?")
	if _, err := conn.Write(said); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, said) {
		return fmt.Errorf("%q came back, %w", got, err)
	}
	return nil
}

// processes are the command lines of what runs in the home.
func (c *client) processes() []string {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []string
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, []byte("HOME="+c.home.Dir+"\x00")) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if len(line) > 0 {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// ends stops the tunnel, after which nothing is there that was not before.
func (c *client) ends(address string, before int) {
	c.t.Helper()
	tunhook(c.t, c.home, "stop", c.route())
	ln, err := net.Listen("tcp", address)
	if err != nil {
		c.t.Fatalf("after stop: %v", err)
	}
	_ = ln.Close()
	c.until("the end of all that the tunnel has started", func() bool { return len(c.processes()) == before })
	if left, _ := filepath.Glob(filepath.Join(c.home.Runtime, "tunhook", "socket-*")); len(left) > 0 {
		c.t.Errorf("left behind: %q", left)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

func listens(port string) bool {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// TestSSHConfigurations that people have: with each a tunnel starts, works, and ends without a trace. PORT is a port of its own,
// and AGENT an agent, which has the key afterwards where the configuration says so.
func TestSSHConfigurations(t *testing.T) {
	for name, lines := range map[string][]string{
		"nothing special":          nil,
		"LocalForward":             {"LocalForward PORT 127.0.0.1:9"},
		"two forwards":             {"LocalForward HOME/forwarded 127.0.0.1:9", "DynamicForward PORT"},
		"LocalForward must work":   {"LocalForward PORT 127.0.0.1:9", "ExitOnForwardFailure yes"},
		"LocalForward of a socket": {"LocalForward HOME/forwarded 127.0.0.1:9"},
		"RemoteForward":            {"RemoteForward PORT 127.0.0.1:9"},
		"DynamicForward":           {"DynamicForward PORT"},
		"ClearAllForwardings":      {"ClearAllForwardings yes", "LocalForward PORT 127.0.0.1:9"},
		"RemoteCommand":            {"RemoteCommand sleep 1000", "RequestTTY force"},
		"RequestTTY":               {"RequestTTY yes"},
		"ForkAfterAuthentication":  {"ForkAfterAuthentication yes"},
		"forks and forwards":       {"ForkAfterAuthentication yes", "LocalForward PORT 127.0.0.1:9", "RemoteCommand true"},
		"SessionType":              {"SessionType subsystem", "StdinNull yes"},
		"LocalCommand":             {"PermitLocalCommand yes", "LocalCommand sleep 1000"},
		"LogLevel QUIET":           {"LogLevel QUIET"},
		"ControlMaster auto":       {"ControlMaster auto", "ControlPath HOME/%C"},
		"ControlPersist":           {"ControlMaster auto", "ControlPath HOME/%C", "ControlPersist 10m"},
		"shared and forwards":      {"ControlMaster auto", "ControlPath HOME/%C", "ControlPersist yes", "LocalForward PORT 127.0.0.1:9"},
		"a socket without master":  {"ControlMaster auto", "ControlPath HOME/bin"},
		"ControlMaster ask":        {"ControlMaster autoask", "ControlPath HOME/%C", "LocalForward PORT 127.0.0.1:9"},
		"GatewayPorts":             {"GatewayPorts yes"},
		"GatewayPorts, forwards":   {"GatewayPorts yes", "LocalForward PORT 127.0.0.1:9"},
		"an agent":                 {"IdentityAgent AGENT"},
		"AddKeysToAgent":           {"AddKeysToAgent yes", "IdentityAgent AGENT"},
		"asks of unknown hosts":    {"StrictHostKeyChecking ask"}, // this one is known
		"accepts unknown hosts":    {"StrictHostKeyChecking accept-new", "UserKnownHostsFile HOME/known"},
		"X11 and agent forwarding": {"ForwardX11 yes", "ForwardAgent yes"},
		"ProxyCommand":             {"ProxyCommand sh -c 'exec socat - TCP:%h:%p'"},
		"ServerAliveInterval":      {"ServerAliveInterval 0"},
		"EscapeChar, EnableEscape": {"EscapeChar none", "EnableEscapeCommandline yes"},
		"Match":                    {"Match exec true", "LocalForward PORT 127.0.0.1:9", "Match host *"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			port, agent := freePort(t), ""
			if slices.Contains(lines, "IdentityAgent AGENT") {
				agent = c.agent()
			}
			adds := slices.Contains(lines, "AddKeysToAgent yes")
			for i, line := range lines {
				lines[i] = strings.NewReplacer("PORT", port, "HOME", c.home.Dir, "AGENT", agent).Replace(line)
			}
			c.configure(lines...)
			address := c.start()
			if err := works(address); err != nil {
				t.Errorf("through the tunnel: %v", err)
			}
			if listens(port) {
				t.Error("the configuration's own forward is there too")
			}
			c.ends(address, 0)
			if agent != "" && c.has(agent) != adds {
				t.Errorf("the agent has the key: %v, want %v", !adds, adds)
			}
		})
	}
}

func TestSSHRouteThroughAJumpHost(t *testing.T) {
	c := newClient(t)
	jump := newClient(t)
	c.configure("ProxyJump jump", "LocalForward "+freePort(t)+" 127.0.0.1:9")
	own, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	jump.configure("LocalForward "+freePort(t)+" 127.0.0.1:9", "RemoteCommand sleep 1000")
	other, err := os.ReadFile(jump.config)
	if err != nil {
		t.Fatal(err)
	}
	both := append(own, bytes.Replace(other, []byte("Host gate"), []byte("Host jump"), 1)...)
	if err := os.WriteFile(c.config, both, 0o600); err != nil {
		t.Fatal(err)
	}
	address := c.start()
	if err := works(address); err != nil {
		t.Error(err)
	}
	c.ends(address, 0)
}

func TestSSHTunnelsThroughOneGateway(t *testing.T) {
	c := newClient(t)
	c.configure("ControlMaster auto", "ControlPath "+c.home.Path("%C"), "LocalForward "+freePort(t)+" 127.0.0.1:9")
	first := c.start()
	other := *c
	other.target = echoServer(t)
	second := other.start()
	for _, address := range []string{first, second} {
		if err := works(address); err != nil {
			t.Error(err)
		}
	}
	tunhook(t, c.home, "stop", c.route())
	if err := works(second); err != nil {
		t.Errorf("after the end of the first: %v", err)
	}
	other.ends(second, 0)
}

// TestSSHRouteThroughASharedConnection is of a gateway that lets nobody in any more but those who share the connection that is open.
func TestSSHRouteThroughASharedConnection(t *testing.T) {
	c := newClient(t)
	shared := c.home.Path("shared")
	c.configure()
	master := c.master(shared)
	c.configure("ControlMaster auto", "ControlPath "+shared, "LocalForward "+freePort(t)+" 127.0.0.1:9", "IdentityFile /nowhere", "PubkeyAuthentication no")
	before := len(c.processes())
	address := c.start()
	for range 5 {
		if err := works(address); err != nil {
			t.Error(err)
		}
	}
	c.ends(address, before)
	if out, err := c.ssh("-O", "check", "gate").CombinedOutput(); err != nil {
		t.Errorf("the user's own connection: %v: %s", err, out)
	}

	address = c.start()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := master.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection has outlived the one that it went through")
	}
	_ = master.Wait() // it was killed
	c.until("the end of the tunnel", func() bool { return len(c.processes()) == 0 })
	_, err = c.home.Tunhook(context.Background(), "start", c.route(), "--", "-F", c.config)
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("with nothing to share any more: %v, want ssh's own reason", err)
	}
}

// TestSSHSaysWhyItCannotLogIn also where the configuration wants it to be quiet.
func TestSSHSaysWhyItCannotLogIn(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		says  string
	}{
		"an unknown host":             {[]string{"StrictHostKeyChecking ask", "UserKnownHostsFile /dev/null", "BatchMode no"}, "Host key verification failed"},
		"an unknown host, quietly":    {[]string{"LogLevel QUIET", "UserKnownHostsFile /dev/null"}, "Host key verification failed"},
		"no key":                      {[]string{"PubkeyAuthentication no"}, "Permission denied ("},
		"no key, with forwards":       {[]string{"PubkeyAuthentication no", "LocalForward PORT 127.0.0.1:9"}, "Permission denied ("},
		"a bad configuration":         {[]string{"NoSuchOption yes"}, "Bad configuration option"},
		"a ProxyCommand that fails":   {[]string{"ProxyCommand sh -c 'echo no way >&2; exit 1'"}, "no way"},
		"a gateway that is not there": {[]string{"HostName 127.0.0.1", "Port 1"}, "Connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			for i, line := range tc.lines {
				tc.lines[i] = strings.Replace(line, "PORT", freePort(t), 1)
			}
			c.configure(tc.lines...)
			_, err := c.home.Tunhook(context.Background(), "start", c.route(), "--", "-F", c.config)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
			c.until("the end of all that the start has started", func() bool { return len(c.processes()) == 0 })
			if left, _ := filepath.Glob(filepath.Join(c.home.Runtime, "tunhook", "socket-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestSSHAsksOnTheTerminalOfAStart for the passphrase of the key, and whether the host is the one it says it is, once a tunnel.
func TestSSHAsksOnTheTerminalOfAStart(t *testing.T) {
	c := newClient(t)
	c.configure("StrictHostKeyChecking ask", "UserKnownHostsFile "+c.home.Path("known"), "BatchMode no", "LogLevel QUIET")
	key := c.server.Options()[3]
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	home := c.home.With("DISPLAY=", "WAYLAND_DISPLAY=")
	cmd := home.Command(context.Background(), program, "start", c.route(), "--", "-F", c.config)
	term, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = term.Close() }()
	if err := term.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for _, step := range []struct{ asks, answer string }{
		{"(yes/no/[fingerprint])? ", "yes\n"},
		{"Enter passphrase for key '" + key + "': ", "wrong\n"},
		{"Enter passphrase for key '" + key + "': ", "open sesame\n"},
	} {
		from := shown.Len()
		for buffer := make([]byte, 1024); !strings.Contains(shown.String()[from:], step.asks); {
			n, err := term.Read(buffer)
			shown.Write(buffer[:n])
			if err != nil {
				t.Fatalf("the terminal shows %q, and does not ask %q: %v", shown.String(), step.asks, err)
			}
		}
		if _, err := io.WriteString(term, step.answer); err != nil {
			t.Fatal(err)
		}
	}
	rest, _ := io.ReadAll(term) // the error says that the other end is closed
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, rest)
	}
	address := strings.TrimSpace(string(rest[max(bytes.LastIndex(rest, []byte("127.0.0.1:")), 0):]))
	for range 3 {
		if err := works(address); err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(shown.String()+string(rest), "sesame") {
		t.Errorf("the terminal shows the passphrase: %q", shown.String())
	}
	c.ends(address, 0)

	_, err = c.home.Tunhook(context.Background(), "start", c.route(), "--", "-F", c.config)
	if err == nil || !strings.Contains(err.Error(), "Permission denied (") {
		t.Errorf("with nobody to ask: %v, want ssh's own reason", err)
	}
}
