package tunnel

import "golang.org/x/sys/unix"

// hungUp tells whether the other end of a socket has shut down its sending half, or all of it, whatever is still to be read.
func hungUp(fd uintptr) bool {
	look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(look, 0)
	return err == nil && n > 0
}
