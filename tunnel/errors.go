package tunnel

import (
	"errors"
	"syscall"
)

// errNotDir is what opening a file gives where a part of its path is a file.
const errNotDir = syscall.ENOTDIR

// underlying is the system's own error, without the call and the path that messages name otherwise.
func underlying(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
