package tunnel

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitFiles bounds the files that the tunnel program writes, its log above all: nothing of ours runs beside it that could. Only
// the soft limit is lowered, so that what the program starts for its user can have it back. It is best effort: a limit, not a
// promise.
func limitFiles(pid int) {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		return
	}
	limit.Cur = min(limit.Cur, maxLog)
	_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
}

// UnlimitFiles takes the limit of a tunnel program back from this process, which it has started, and from what this one executes.
func UnlimitFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &limit)
}

// DieWithParent makes a program end when the thread that starts it does: with this process, since Go ends no thread before.
func DieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
