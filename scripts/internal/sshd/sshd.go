// Package sshd runs a real OpenSSH server on loopback, with a configuration, keys and a port of its own. It serves the user
// that it runs as, root or not.
package sshd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sshd is started by its absolute path: it insists on that, for it executes itself again for each connection.
const program = "/usr/sbin/sshd"

// Debian makes the empty directory that a root's sshd changes its root to only when the system's own sshd starts.
const emptyDir = "/run/sshd"

const config = `
ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
`

// ErrNotInstalled says that there is no OpenSSH server or client.
var ErrNotInstalled = errors.New("openssh-server or openssh-client is not installed: scripts/bench-setup")

// Server is a running server.
type Server struct {
	dir    string
	addr   string
	cmd    *exec.Cmd
	stderr io.Closer
	done   chan error
}

// Start starts a server that keeps its files in dir, and returns when it listens.
func Start(dir string) (*Server, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, ErrNotInstalled
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		return nil, ErrNotInstalled
	}
	s := &Server{dir: dir, done: make(chan error, 1)}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// Addr is the server's IP:port.
func (s *Server) Addr() string { return s.addr }

// Options are the options with which ssh logs in, without a look at the user's own keys and configuration.
func (s *Server) Options() []string {
	return []string{
		"-F", "none", "-i", s.path("user_key"),
		"-o", "UserKnownHostsFile=" + s.path("known_hosts"), "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
	}
}

// Close ends the server. The processes that serve a connection each go on, and keep its stderr open, until their clients leave.
func (s *Server) Close() error {
	err := errors.Join(s.cmd.Process.Kill(), s.stderr.Close())
	<-s.done
	return err
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// prepare chooses the port and writes what server and client need.
func (s *Server) prepare() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addr = ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	for _, key := range []string{"host_key", "user_key"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(key)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	hostKey, err := os.ReadFile(s.path("host_key.pub"))
	if err != nil {
		return err
	}
	host, port, _ := strings.Cut(s.addr, ":")
	return errors.Join(
		os.WriteFile(s.path("known_hosts"), fmt.Appendf(nil, "[%s]:%s %s", host, port, hostKey), 0o600),
		os.WriteFile(s.path("sshd_config"), fmt.Appendf(nil, config, s.addr, s.path("host_key"), s.path("user_key.pub")), 0o600),
	)
}

// start starts sshd and reads what it logs until it says that it listens. The log goes on to a file.
func (s *Server) start() error {
	if os.Geteuid() == 0 {
		if err := os.MkdirAll(emptyDir, 0o755); err != nil {
			return err
		}
	}
	s.cmd = exec.Command(program, "-D", "-e", "-f", s.path("sshd_config"))
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	s.stderr = stderr
	log, err := os.Create(s.path("sshd.log"))
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	listening := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(io.TeeReader(stderr, log))
		for listens := false; lines.Scan(); {
			if !listens && strings.HasPrefix(lines.Text(), "Server listening on") {
				listens = true
				close(listening)
			}
		}
		_ = log.Close()
		s.done <- s.cmd.Wait()
	}()
	select {
	case <-listening:
		return nil
	case err := <-s.done:
		said, _ := os.ReadFile(s.path("sshd.log"))
		return fmt.Errorf("sshd: %w: %s", err, said)
	}
}
