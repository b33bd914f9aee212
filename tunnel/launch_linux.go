package tunnel

import "golang.org/x/sys/unix"

// limitFiles bounds the files that the tunnel program writes, its log above all: nothing of ours runs beside it that could.
func limitFiles(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: maxLog, Max: maxLog}, nil) // best effort: a limit, not a promise
}
