package tunnel

import (
	"context"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// TurnAway takes and closes the connections to a socket, or reads what is sent to it where that has none, until ctx is done. It
// returns at once where the socket is of no such kind.
func TurnAway(ctx context.Context, socket *os.File) {
	if listener, err := net.FileListener(socket); err == nil {
		defer context.AfterFunc(ctx, func() { listener.Close() })()
		_ = AcceptAll(listener.Accept, func(conn net.Conn) {
			if tcp, ok := conn.(*net.TCPConn); ok {
				go HangUp(tcp)
				return
			}
			conn.Close()
		})
		return
	}
	packets, err := net.FilePacketConn(socket)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { packets.Close() })()
	for ctx.Err() == nil {
		if _, _, err := packets.ReadFrom(make([]byte, 1)); err != nil && ctx.Err() == nil && !isTemporary(err) {
			return
		}
	}
}

// Listens tells whether a socket is one that connections can be taken from.
func Listens(socket *os.File) bool {
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	listens := 0
	err = raw.Control(func(fd uintptr) { listens, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) })
	return err == nil && listens != 0
}
