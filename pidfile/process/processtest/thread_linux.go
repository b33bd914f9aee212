package processtest

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// EndFirstThread ends the process's first thread, and goes on in others until the process is killed. Goroutines that keep their
// threads take up all there are until one has the first.
func EndFirstThread() {
	for range 50 {
		go func() {
			endIfFirst()
			select {}
		}()
	}
	endIfFirst()
	select {}
}

// endIfFirst ends the thread that it runs in if that is the process's first; where it returns the goroutine keeps its thread.
func endIfFirst() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
	}
}
