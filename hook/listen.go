package hook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// ListenRequest says where to wait for the connections that start a tunnel, and which.
type ListenRequest struct {
	Route, Listen string                     // "" for "stable"
	Args          []string                   // extra arguments of the tunnel program
	Ready         string                     // one of tunnel.Ready…; "" means the configuration's, or that of the route's usual port
	Timeout       time.Duration              // how long a client waits for its answer at most; 0 means DefaultSignInTimeout
	Linger        time.Duration              // how long the tunnel outlives its last connection; 0 means DefaultLinger
	Socket        *net.TCPListener           // the service manager's, if it holds one; Listen returns after Linger then
	Failed        func(error)                // told why a client was not answered; not for each time that a client tries again
	Listening     func(netip.AddrPort) error // told where clients can connect, once they can
}

// DefaultLinger is longer than a client takes to connect again after its connection was lost: Remmina 5 s.
const DefaultLinger = 15 * time.Second

const (
	// failureMemory is how long a failure is remembered. Clients that were not answered try again, within seconds and
	// many times.
	failureMemory = 10 * time.Second
	// calmAfter is when memory goes back to the system that the last thing to do took, see rest.
	calmAfter = time.Second
	// sameFailure is how long the same failure is no news.
	sameFailure = time.Minute
	// silence is how long a tunnel that was up before may leave a client without an answer before it is taken for dead.
	silence = 4 * time.Second
	// deadGrace is how long a dead tunnel's program gets to end: it may be stopped, and somebody waits.
	deadGrace = time.Second
	// signInPause is how long a tunnel program may take from a connection to the line that says where to sign in.
	signInPause = time.Second
	// greeting is how long a client may take to begin.
	greeting = 30 * time.Second
)

// Turned says that a listener has turned a connection away that is none of its clients'.
type Turned struct {
	From  netip.AddrPort
	Why   error
	Count int // of those that were turned away so far
}

func (Turned) notice() {}

// SocketError says that the service manager has handed over a socket for another address than the listener's.
type SocketError struct{ Got, Want netip.AddrPort }

func (e *SocketError) Error() string {
	return fmt.Sprintf("the service manager holds a socket for %s, but this listener is for %s", e.Got, e.Want)
}

// Listen takes the connections to the listen address. The first one starts the tunnel, on an address of its own, and
// the tunnel ends some time after the last one. Listen returns when ctx is done or, where the service manager holds the
// socket, when the tunnel has ended. Errors are *TakenError, *SocketError, and those of routes, listen addresses,
// configuration and the record's directory.
func (h *Env) Listen(ctx context.Context, req ListenRequest) error {
	l, err := h.newListener(ctx, req)
	if err != nil {
		return err
	}
	defer l.ends.Close()
	if req.Listening != nil {
		if err := req.Listening(l.listen.Addr); err != nil {
			return errors.Join(err, l.socket.Close())
		}
	}
	return l.run(ctx)
}

// TurnAway takes and closes the connections to sockets for as long as a failure is remembered, or until ctx is done: a
// listener cannot be had, and clients try again. The sockets may be of any kind.
func TurnAway(ctx context.Context, sockets []*os.File) {
	ctx, cancel := context.WithTimeout(ctx, failureMemory)
	defer cancel()
	var all sync.WaitGroup
	for _, socket := range sockets {
		all.Go(func() { tunnel.TurnAway(ctx, socket) })
	}
	all.Wait()
}

// listener is one call of Listen.
type listener struct {
	*Env
	target
	dir    pidfile.Dir
	req    ListenRequest
	ready  string
	late   time.Duration // for how long a server that is not there is tried again, 0 for never: see lateFor
	self   process.Identity
	socket *net.TCPListener
	ends   *tunnel.Ends

	turn chan struct{} // is full while somebody has the turn: see handle
	// These belong to whoever has the turn.
	up      *upTunnel
	parked  *throughConn
	failure failure
	stopped struct { // by somebody, for those who waited by then
		at  time.Time
		err error
	}
	calm *time.Timer

	connections sync.WaitGroup

	mu       sync.Mutex
	open     int                   // connections that are there
	sessions map[*net.TCPConn]bool // of those, the ones that were answered
	since    time.Time             // when the last one ended that was a client's
	turned   int                   // connections that were turned away
	changed  chan struct{}         // told when open becomes 0
}

func (h *Env) newListener(ctx context.Context, req ListenRequest) (*listener, error) {
	t, err := h.toStart(frontOf, req.Route, req.Listen)
	if err != nil {
		return nil, err
	}
	l := &listener{
		Env: h, target: t, req: req, socket: req.Socket,
		ready: cmp.Or(req.Ready, t.route.Named.Ready, tunnel.ReadyForPort(t.route.Port())),
		turn:  make(chan struct{}, 1), sessions: map[*net.TCPConn]bool{}, changed: make(chan struct{}, 1), since: time.Now(),
	}
	l.late = l.lateFor()
	l.req.Timeout = orDefault(req.Timeout, max(t.route.Timeout(), DefaultSignInTimeout))
	l.req.Linger = orDefault(req.Linger, DefaultLinger)
	if l.self, err = process.Self(); err != nil {
		return nil, err
	}
	if l.dir, err = h.records(true); err != nil {
		return nil, err
	}
	if err := l.listenOn(ctx); err != nil {
		return nil, err
	}
	l.ends = tunnel.NewEnds()
	return l, nil
}

// lateFor is for how long a server that is not there is tried again, as a start does: where somebody has said how long, and no try
// costs anything. Of an unknown protocol nobody knows what can be said twice.
func (l *listener) lateFor() time.Duration {
	switch {
	case l.ready == tunnel.ReadyListen, l.route.Provider.SignsIn(), !l.route.Probed():
		return 0
	case l.req.Timeout == 0 && l.route.Named.Timeout != "":
		return l.route.Timeout()
	}
	return l.req.Timeout
}

// frontOf is targetOf for a listener.
func frontOf(config *tunnel.Config, route, listen string) (target, error) {
	r, err := config.Route(route)
	if err != nil {
		return target{}, err
	}
	l, err := r.ParseFront(listen)
	return target{r, l}, err
}

// listenOn takes the service manager's socket, if there is one, or makes its own.
func (l *listener) listenOn(ctx context.Context) error {
	if l.socket != nil {
		if got := l.socket.Addr().(*net.TCPAddr).AddrPort(); got != l.listen.Addr {
			return &SocketError{got, l.listen.Addr}
		}
		return nil
	}
	if _, err := l.listen.Reserve(); errors.Is(err, tunnel.ErrTaken) {
		return l.targetTaken(l.dir, l.target)
	} else if err != nil {
		return err
	}
	if l.listen.Exposed() {
		l.notice(Exposed{l.listen.Addr})
	}
	network := "tcp"
	if l.listen.Addr.Addr().Is4() {
		network = "tcp4" // otherwise 0.0.0.0 would take IPv6 too, which nobody has asked for
	}
	socket, err := (&net.ListenConfig{}).Listen(ctx, network, l.listen.Addr.String())
	if err != nil {
		return &tunnel.ListenError{Listen: l.listen.String(), Reason: "cannot be used: " + underlying(err).Error()}
	}
	l.socket = socket.(*net.TCPListener)
	return nil
}

// run serves until ctx is done or, where the service manager holds the socket, until there is nothing left to do.
func (l *listener) run(ctx context.Context) error {
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	l.calm = time.AfterFunc(calmAfter, rest)
	defer l.calm.Stop()
	var err error
	for left := false; err == nil && !left; {
		left, err = l.serve(ctx, serving)
	}
	cancel()
	l.connections.Wait()
	l.socket.Close()
	return errors.Join(err, l.letGo(context.WithoutCancel(ctx)))
}

// serve accepts connections, and tells whether the listener can leave.
func (l *listener) serve(ctx, serving context.Context) (leave bool, err error) {
	var acceptErr error
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		acceptErr = tunnel.AcceptAll(l.socket.AcceptTCP, func(conn *net.TCPConn) {
			l.came()
			l.connections.Go(func() {
				client := l.handle(serving, conn)
				conn.Close()
				l.went(client)
			})
		})
	}()
	err = l.awaitRest(ctx, accepted)
	_ = l.socket.SetDeadline(time.Unix(1, 0))
	<-accepted
	_ = l.socket.SetDeadline(time.Time{})
	if acceptErr != nil {
		err = fmt.Errorf("taking connections on %s: %w", l.listen, acceptErr)
	}
	return err == nil && l.idle() > 0, err // somebody may have come just now
}

// awaitRest returns when ctx is done, or there was no connection for long enough, the tunnel has ended, and the service
// manager holds the socket.
func (l *listener) awaitRest(ctx context.Context, accepted <-chan struct{}) error {
	for {
		next, done := l.rest(ctx)
		if done {
			return nil
		}
		var timer <-chan time.Time
		if next > 0 {
			timer = time.After(next)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-accepted:
			return nil
		case <-l.changed:
		case <-timer:
		}
	}
}

// rest ends the tunnel where nobody was connected for long enough. It tells when to call it again, 0 for not before a
// connection has ended, and whether the listener is done: the service manager starts another one for the next
// connection.
func (l *listener) rest(ctx context.Context) (next time.Duration, done bool) {
	idle := l.idle()
	if idle == 0 {
		return 0, false
	}
	if idle < l.req.Linger {
		return l.req.Linger - idle, false
	}
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.idle() < l.req.Linger {
		return l.req.Linger, false
	}
	if err := l.letGo(ctx); err != nil && ctx.Err() == nil {
		l.failed(err) // no reason to take no connections any more
	}
	if l.req.Socket == nil {
		return 0, false
	}
	if left := time.Until(l.failure.until); left > 0 {
		return left, false
	}
	return 0, true
}

// idle is for how long there has been no connection.
func (l *listener) idle() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open > 0 {
		return 0
	}
	return time.Since(l.since)
}

func (l *listener) came() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
}

// went notes the end of a connection. One that was no client's, a port check or another user's, keeps no tunnel up.
func (l *listener) went(client bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if client {
		l.since = time.Now()
	}
	if l.open--; l.open == 0 {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

// letGo ends the tunnel, unless somebody else has started it too and wants it kept. The caller has the turn, or is
// alone.
func (l *listener) letGo(ctx context.Context) error {
	l.unpark()
	if l.up == nil {
		return nil
	}
	up := l.up
	l.up = nil
	up.close()
	return l.release(ctx, up.rec, l.self)
}

// handle has a client answered, and then passes on what is said, until both sides have ended. It tells whether it was a
// client.
func (l *listener) handle(ctx context.Context, conn *net.TCPConn) (is bool) {
	if err := l.ends.Admit(conn); err != nil {
		l.turnAway(conn, err)
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waiting, client := tunnel.Receive(ctx, conn, l.ends)
	var through *net.TCPConn
	var passed int
	first, err := l.firstMessage(waiting, client)
	if err != nil {
		l.turnAway(conn, err)
	} else {
		is = true
		through, passed, err = l.answer(ctx, waiting, client, first)
	}
	if err != nil {
		said, _, _ := client.Said()
		_ = client.Accept(len(said)) // closing a connection with something unread would reset it
		return is
	}
	defer l.serves(conn, false)
	if err := client.Accept(passed); err != nil {
		tunnel.HangUp(through)
		return is
	}
	tunnel.Carry(ctx, conn, through, l.ends)
	return is
}

// serves notes that a client was answered, or that its session is over.
func (l *listener) serves(client *net.TCPConn, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if yes {
		l.sessions[client] = true
	} else {
		delete(l.sessions, client)
	}
}

// inUse tells whether a client that was answered is still there. The end of its session may be waited for longer.
func (l *listener) inUse() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for client := range l.sessions {
		if !l.ends.Closed(client) {
			return true
		}
	}
	return false
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
