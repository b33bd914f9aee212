//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// A vncServer is a desktop that anybody can have over VNC.
type vncServer struct {
	paintable
	address string
	server  *process
}

// startVNCServer starts a server for a desktop in crimson.
func startVNCServer(t testing.TB) *vncServer {
	t.Helper()
	s := &vncServer{paintable: paintable{user: newUser(t)}, address: freeAddress(t)}
	host, port, _ := strings.Cut(s.address, ":")
	s.server = s.startXServer("/usr/bin/Xvnc", "-geometry", "576x432", "-nolisten", "tcp",
		"-rfbport", port, "-interface", host, "-SecurityTypes", "None")
	waitUntilListening(t, s.server, s.address)
	s.show(crimson)
	return s
}
