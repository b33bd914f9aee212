//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// greeterSocket starts a process for each connection, as inetd does.
const greeterSocket = `[Socket]
ListenStream=ADDRESS
Accept=yes
[Install]
WantedBy=sockets.target
`

const greeterService = `[Service]
ExecStart=/bin/sh -c 'id -u; sleep 600 <&- >&- 2>&- & echo hello'
StandardInput=socket
KillMode=process
`

// Two users at once, each with a user manager of their own.
func TestUserManagerActivatesASocketOverTwoLogins(t *testing.T) {
	t.Parallel()
	for name, newUser := range map[string]func(testing.TB) *user{
		"root":                  newUser,
		"ordinary user":         newOrdinaryUser,
		"another ordinary user": newOtherUser,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, address := newUser(t), freeAddress(t)
			uid, _ := u.ids()
			units := u.path(".config", "systemd", "user")
			u.write(units+"/greeter.socket", strings.ReplaceAll(greeterSocket, "ADDRESS", address))
			u.write(units+"/greeter@.service", greeterService)

			u.logInWithSystemd()
			u.systemctl("enable", "--now", "greeter.socket")
			checkGreeting(t, address, uid)
			u.logOut()
			if listens(t, address) {
				t.Error("the socket outlives its login")
			}
			if left := u.running(""); len(left) > 0 {
				t.Errorf("left: %q", left)
			}

			u.logInWithSystemd()
			checkGreeting(t, address, uid)
			u.systemctl("disable", "--now", "greeter.socket")
			eventually(t, patience, "nothing listens any more", func() bool { return !listens(t, address) })
		})
	}
}

// checkGreeting connects, and expects the greeter of a user to answer.
func checkGreeting(t *testing.T, address string, uid uint32) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := fmt.Sprintf("%d\nhello\n", uid); err != nil || string(got) != want {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}
