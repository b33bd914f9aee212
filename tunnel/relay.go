package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// relayDialTimeout bounds the wait for a target that does not answer at all; a client gives up at about this time too.
const relayDialTimeout = 20 * time.Second

// Relay listens on listen and carries every connection to target, until ctx is done, when it closes them all. Each
// connection's troubles are a line on log; they end that connection only.
func Relay(ctx context.Context, listen, target string, log io.Writer) error {
	dialer := net.Dialer{Timeout: relayDialTimeout, Control: notItself(listen)}
	return relayAll(ctx, listen, log, func(ctx context.Context, client *net.TCPConn) error {
		return relayOne(ctx, client, dialer, target)
	})
}

// relayAll listens and has each connection carried by one, which closes it.
func relayAll(ctx context.Context, listen string, log io.Writer, one func(context.Context, *net.TCPConn) error) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	var connections sync.WaitGroup
	defer connections.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { listener.Close() })
	return AcceptAll(listener.(*net.TCPListener).AcceptTCP, func(client *net.TCPConn) {
		connections.Go(func() {
			if err := one(ctx, client); err != nil {
				fmt.Fprintf(log, "relay: %v: %v\n", client.RemoteAddr(), err)
			}
		})
	})
}

// relayOwn is relayAll for the connections of this user's processes: see Ends.Admit. It closes them when carry returns.
func relayOwn(ctx context.Context, listen string, log io.Writer, carry func(context.Context, *net.TCPConn, *Ends) error) error {
	ends := NewEnds()
	defer ends.Close()
	return relayAll(ctx, listen, log, func(ctx context.Context, client *net.TCPConn) error {
		defer client.Close()
		switch err := ends.Admit(client); {
		case errors.Is(err, ErrLeft):
			return nil
		case err != nil:
			return err
		}
		return carry(ctx, client, ends)
	})
}

// AcceptAll takes connections until their listener is closed or its deadline is over.
func AcceptAll[C net.Conn](accept func() (C, error), took func(C)) error {
	for {
		conn, err := accept()
		switch {
		case err == nil:
			took(conn)
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case isTemporary(err):
			time.Sleep(50 * time.Millisecond)
		default:
			return err
		}
	}
}

// isTemporary tells the errors of Accept after which it is worth trying again: too many open files, above all.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// notItself refuses to connect to the relay itself, where a name or an address of this machine may have led: each connection would
// make another one. It is asked when the name has been looked up.
func notItself(listen string) func(network, address string, _ syscall.RawConn) error {
	own, err := netip.ParseAddrPort(listen)
	return func(_, address string, _ syscall.RawConn) error {
		to, toErr := netip.ParseAddrPort(address)
		if err == nil && toErr == nil && to.Port() == own.Port() && comesTo(to.Addr(), own.Addr()) {
			return errors.New("that is where this relay listens: each connection would make another one")
		}
		return nil
	}
}

func relayOne(ctx context.Context, client *net.TCPConn, dialer net.Dialer, target string) error {
	defer client.Close()
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pass(server, client) })
	both.Go(func() { pass(client, server) })
	both.Wait()
	return nil
}

// pass copies one direction and passes on its end, so that a half-closed connection stays one.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		// A reset on one side is one for the other: without this the other direction would wait for ever.
		_ = to.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite()
}
