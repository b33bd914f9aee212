package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Incoming is the connection of a client that was not answered yet. What the client says stays in the socket, where it
// can be looked at as often as is necessary: it may have to be said again through another tunnel.
type Incoming struct {
	*net.TCPConn
	ends *Ends
	left func()

	mu    sync.Mutex
	said  []byte        // all so far
	ended bool          // it will say no more
	news  chan struct{} // closed, and replaced, when one of these changes
	stop  chan struct{} // closed when the watch shall end
	over  chan struct{} // closed when it has
}

// ErrLeft says that the client has left before it was answered.
var ErrLeft = errors.New("the client has left")

// FirstMessageError says that a client began in another way than those of the protocol do.
type FirstMessageError struct {
	Ready string
	Got   []byte
}

func (e *FirstMessageError) Error() string {
	if len(e.Got) == 0 {
		return "it said nothing"
	}
	return fmt.Sprintf("it does not speak %s: it began with %.40q", strings.ToUpper(e.Ready), e.Got)
}

// mostSaid is how much a client can say, in bytes, before it must be answered: more than the first message of any
// protocol here.
const mostSaid = 32 << 10

// usuallySaid is as much as clients say at first, in bytes: a thousand that say nothing shall not cost more than that.
const usuallySaid = 512

// Receive watches a client's connection until Accept is called. The context that it returns is done, with the cause
// ErrLeft, when the client has left: when its connection is closed or reset, but not when it has only shut down its
// sending half.
func Receive(ctx context.Context, conn *net.TCPConn, ends *Ends) (context.Context, *Incoming) {
	ctx, cancel := context.WithCancelCause(ctx)
	i := &Incoming{
		TCPConn: conn, ends: ends, left: func() { cancel(ErrLeft) },
		news: make(chan struct{}), stop: make(chan struct{}), over: make(chan struct{}),
	}
	go i.watch()
	return ctx, i
}

// watch looks at what the client says until it has said all.
func (i *Incoming) watch() {
	defer close(i.over)
	buffer := make([]byte, usuallySaid)
	var all int
	var broken, ended bool
	look := func(fd uintptr) bool { // is called again when something has happened to the socket
		var err error
		all, _, err = unix.Recvfrom(int(fd), buffer, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		for err == nil && all == len(buffer) && all < mostSaid {
			buffer = make([]byte, min(4*len(buffer), mostSaid))
			all, _, err = unix.Recvfrom(int(fd), buffer, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		}
		broken = err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		ended = err == nil && all == 0 || hungUp(fd)
		return broken || ended || err == nil && all > len(i.said)
	}
	raw, err := i.SyscallConn()
	for err == nil {
		if err = raw.Read(look); err != nil {
			return // Accept's deadline, or the connection was closed
		}
		if broken {
			i.left()
			return
		}
		i.hear(buffer[:max(all, 0)], ended)
		if ended {
			i.awaitLeft()
			return
		}
	}
}

func (i *Incoming) hear(all []byte, ended bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(all) > len(i.said) {
		i.said = bytes.Clone(all)
	}
	i.ended = ended
	close(i.news)
	i.news = make(chan struct{})
}

func (i *Incoming) awaitLeft() {
	if !isLoopback(i.TCPConn) || i.ends.awaitClosed(i.TCPConn, i.stop) {
		i.left()
	}
}

// Said is what the client has said so far, and whether it will say no more; news is closed when that changes.
func (i *Incoming) Said() (said []byte, ended bool, news <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.said, i.ended, i.news
}

// FirstMessage waits for the message that a client of a server of that kind of readiness begins with; none where it is
// the server's turn, or nothing is known of the protocol. The error is a *FirstMessageError where the client begins in
// another way, or that of ctx.
func (i *Incoming) FirstMessage(ctx context.Context, ready string) ([]byte, error) {
	for {
		said, ended, news := i.Said()
		n, err := firstMessage(ready, said)
		if err != nil {
			return nil, err
		}
		if n >= 0 {
			return said[:n:n], nil
		}
		if ended || len(said) == mostSaid {
			return nil, &FirstMessageError{ready, said}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// PassOn says all that the client says, as it says it, on another connection, until that is answered, the client has
// said as much as it can before, or both sides have ended, and tells how much that was. The error is ErrClosed, or the
// cause of ctx.
func (i *Incoming) PassOn(ctx context.Context, to *net.TCPConn) (passed int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- AwaitAnswer(ctx, to) }()
	for {
		said, ended, news := i.Said()
		n, err := to.Write(said[passed:])
		passed += n
		if err != nil || passed == mostSaid {
			cancel()
			if answered := <-answer; answered == nil || err == nil {
				return passed, nil
			}
			return passed, ErrClosed
		}
		if ended {
			_ = to.CloseWrite()
			news = nil
		}
		select {
		case err := <-answer:
			if ended && errors.Is(err, ErrClosed) { // there was nothing to answer
				err = nil
			}
			return passed, err
		case <-news:
		}
	}
}

// Accept ends the watch and takes what the client has said, n bytes, out of its socket: somebody else has passed them
// on.
func (i *Incoming) Accept(n int) error {
	close(i.stop)
	_ = i.SetReadDeadline(time.Unix(1, 0))
	<-i.over
	_ = i.SetReadDeadline(time.Time{})
	_, err := io.CopyN(io.Discard, i.TCPConn, int64(n))
	return err
}

// AwaitAnswer waits until there is something to read on a connection, and leaves it there. The error is ErrClosed where
// the connection ends before, or the cause of ctx, after which the connection can still be used.
func AwaitAnswer(ctx context.Context, conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	})
	answered := false
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		answered = n > 0
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	if !stop() {
		<-interrupted
		_ = conn.SetReadDeadline(time.Time{})
		return context.Cause(ctx)
	}
	if err != nil || !answered {
		return ErrClosed
	}
	return nil
}

// Quiet tells whether a connection is still open at the other end, which has said nothing that was not read.
func Quiet(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = errors.Is(err, unix.EAGAIN)
	})
	return err == nil && quiet
}

// AddrPort is the address of a TCP socket, an IPv4 one in its shortest form.
func AddrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
