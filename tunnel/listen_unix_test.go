//go:build unix

package tunnel

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// withoutReuse undoes what Go's listeners set: with it an address in TIME_WAIT is refused.
func withoutReuse(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 0) })
}
