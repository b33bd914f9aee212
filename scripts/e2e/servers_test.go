//go:build e2e

package e2e

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestVNCServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	server := startVNCServer(t)
	// RFC 6143 section 7.1.1.
	if got := banner(t, server.address); !strings.HasPrefix(got, "RFB 003.") {
		t.Errorf("a VNC server greets with %q", got)
	}
}

func TestSSHServerSpeaksFirstAndLetsTheKeyIn(t *testing.T) {
	t.Parallel()
	server := startSSHServer(t)
	// RFC 4253 section 4.2.
	if got := banner(t, server.address); !strings.HasPrefix(got, "SSH-2.0-") {
		t.Errorf("an SSH server greets with %q", got)
	}
	argv := append([]string{"/usr/bin/ssh"}, server.sshOptions()...)
	if got := server.must(append(argv, "127.0.0.1", "echo", "in")...); got != "in\n" {
		t.Errorf("a command over SSH printed %q", got)
	}
}

func TestXfreerdpChecksPassword(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	d := newDesktop(t)
	for password, want := range map[string]int{rdpPassword: 0, "wrong": release().logonFailure} {
		if got := d.run(xfreerdp(server.address, password, authOnly)...); got.status != want {
			t.Errorf("password %q, want status %d: %v", password, want, got)
		}
	}
}

func TestXfreerdpShowsPicture(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	d := newDesktop(t)
	client := d.start(xfreerdp(server.address, rdpPassword)...)
	d.waitForPicture(crimson, patience)
	d.screenshot("picture")
	if !client.alive() {
		t.Error("xfreerdp did not stay")
	}
}

// banner returns what a server says before it is asked.
func banner(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 256)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}
