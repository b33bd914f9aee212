package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// Ends tells about the clients' ends of connections. A listener keeps one for its life: making the connection to the
// kernel takes longer than a question. Its methods may be called at the same time.
type Ends struct {
	mu sync.Mutex
	a  *asker
}

// NewEnds opens an Ends, which must be closed.
func NewEnds() *Ends { return &Ends{a: newAsker()} }

// Close ends it.
func (e *Ends) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.a.close()
}

// Owner gives the user whose process has the client's end of a connection open, of one that came from client to server.
// A client that has only shut down its sending half has it open; one that has closed it, or is on another machine, has
// not.
func (e *Ends) Owner(client, server netip.AddrPort) (uid int, open bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, err := e.a.exact(client, server)
	if err != nil || len(found) == 0 || !found[0].isOpen() {
		return 0, false, err
	}
	return found[0].uid, true, nil
}

// OtherUserError says that a connection comes from a process of another user.
type OtherUserError struct{ UID int }

func (e *OtherUserError) Error() string { return fmt.Sprintf("it is another user's (uid %d)", e.UID) }

// Admit refuses the client of a connection that is another user's process, as *OtherUserError, or is not there any
// more, as ErrLeft: whoever is on this machine could otherwise use a tunnel in the user's name. Root may connect, who
// could do so in other ways too.
func (e *Ends) Admit(conn *net.TCPConn) error {
	client, server := AddrPort(conn.RemoteAddr()), AddrPort(conn.LocalAddr())
	uid, open, err := e.Owner(client, server)
	switch {
	case err != nil:
		return err
	case open && uid != os.Geteuid() && uid != 0:
		return &OtherUserError{uid}
	case !open && client.Addr().IsLoopback():
		return ErrLeft
	}
	return nil
}

// Closed tells whether the client of a connection has closed its end, as far as that can be told: of one on another
// machine it cannot.
func (e *Ends) Closed(conn *net.TCPConn) bool {
	_, open, err := e.Owner(AddrPort(conn.RemoteAddr()), AddrPort(conn.LocalAddr()))
	return err == nil && !open && isLoopback(conn)
}

// halfClosedPause is the pause between two looks at a client that has shut down its sending half: that it closes the
// other half as well does not show at our end.
const halfClosedPause = 500 * time.Millisecond

// awaitClosed waits until the client has closed its end; it gives false where stop is closed before.
func (e *Ends) awaitClosed(conn *net.TCPConn, stop <-chan struct{}) bool {
	for !e.Closed(conn) {
		select {
		case <-stop:
			return false
		case <-time.After(halfClosedPause):
		}
	}
	return true
}

// isLoopback tells whether the client is on this machine for sure.
func isLoopback(conn *net.TCPConn) bool { return AddrPort(conn.RemoteAddr()).Addr().IsLoopback() }

// Answered leaves, of the connections that were made to addr, those on which something was sent to the client: a
// session, not a client that still waits for its first answer. Where the kernel does not tell, every connection counts.
func Answered(addr netip.AddrPort) ([]Peer, error) {
	a := newAsker()
	defer a.close()
	ends, err := a.established(addr, 0)
	if err != nil {
		return nil, err
	}
	sessions := slices.DeleteFunc(ends, func(s socket) bool {
		end, err := a.exact(s.local, s.remote)
		return err == nil && len(end) > 0 && end[0].unsent
	})
	return clients(addr, a.sources(sessions, addr))
}
