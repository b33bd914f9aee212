//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const sshdConfig = `ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
`

// An sshServer is a machine that its owner can log in to, with a key.
type sshServer struct {
	*user
	address string
	key     string // the file of the private key that logs in
	server  *process
}

// startSSHServer starts an sshd for the user that the tests run as. settings are more
// lines of its configuration.
func startSSHServer(t testing.TB, settings ...string) *sshServer {
	t.Helper()
	s := &sshServer{user: newUser(t), address: freeAddress(t)}
	s.key = s.path("id_ed25519")
	hostKey, config := s.path("host_key"), s.path("sshd_config")
	for _, key := range []string{s.key, hostKey} {
		s.must("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	}
	s.write(config, fmt.Sprintf(sshdConfig, s.address, hostKey, s.key+".pub")+strings.Join(settings, "\n"))

	// Debian makes sshd's empty directory only when the system's sshd starts.
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.server = s.start("/usr/sbin/sshd", "-D", "-e", "-f", config)
	waitUntilListening(t, s.server, s.address)
	return s
}

// sshOptions returns the arguments that let ssh log in to the server.
func (s *sshServer) sshOptions() []string {
	_, port, _ := strings.Cut(s.address, ":")
	return []string{
		"-p", port, "-i", s.key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=" + s.path("known_hosts"),
	}
}
