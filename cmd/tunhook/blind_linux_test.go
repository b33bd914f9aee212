package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestStopWithFewFilesLosesNoTunnel: one that cannot look at the tunnel's processes must not say that they are gone.
func TestStopWithFewFilesLosesNoTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	failed := 0
	for files := 3; files <= 24; files++ {
		w.must("start", "desk.example.com:3389", port)
		program := w.record().Tunnel
		got := w.finish(&exec.Cmd{
			Path: "/bin/sh", Args: []string{"sh", "-c", `ulimit -n "$1"; shift; exec "$@"`, "sh", fmt.Sprint(files), w.program, "stop", "desk.example.com:3389", port},
			Env: w.environ, Dir: w.dir,
		})
		if got.status != 0 {
			failed++
		} else if program.Alive() {
			t.Errorf("%d files: the program lives after %v", files, got)
		}
		w.must("stop", "desk.example.com:3389", port)
		w.nothingLeft()
		if program.Alive() {
			t.Errorf("%d files: %v, and the next stop did not find the tunnel", files, got)
		}
	}
	if failed == 0 {
		t.Error("every stop had enough files")
	}
}

// TestSystemWithoutHandlesStartsNothing filters the system call out, as a container may.
func TestSystemWithoutHandlesStartsNothing(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), port(t)
	got := w.finish(w.withoutHandles("start", "desk.example.com:3389", port))
	if got.status != exitUnexpected || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "Linux 5.3") {
		t.Errorf("start: %v", got)
	}
	w.nothingLeft()

	w.must("start", "desk.example.com:3389", port)
	program := w.record().Tunnel
	if got := w.finish(w.withoutHandles("stop", "desk.example.com:3389", port)); got.status != exitUnexpected || !program.Alive() {
		t.Errorf("stop: %v, and the program lives: %v", got, program.Alive())
	}
	w.must("stop", "desk.example.com:3389", port)
	w.nothingLeft()
}

// withoutHandles is tunhook where pidfd_open does not exist.
func (w *world) withoutHandles(args ...string) *exec.Cmd {
	w.t.Helper()
	return &exec.Cmd{Path: filepath.Join(programDir(w.t), "unhandy"), Args: append([]string{"unhandy", w.program}, args...), Env: w.environ, Dir: w.dir}
}

// unhandy executes argv where pidfd_open gives ENOSYS: seccomp(2), with a filter of classic BPF that looks at the
// number of the system call, which comes first in struct seccomp_data.
func unhandy(argv []string) int {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PIDFD_OPEN, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(syscall.ENOSYS)}, // SECCOMP_RET_ERRNO
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                          // SECCOMP_RET_ALLOW
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is the thread's
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err == nil {
		err = syscall.Exec(argv[0], argv, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "unhandy:", err)
	return 1
}
