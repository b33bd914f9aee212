package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// confined is the program "confined LIMIT PROGRAM [ARG...]": it runs the program so that no file of its grows beyond LIMIT
// bytes, as if the disk were full, and so that permissions hold for root too.
func confined(args []string) int {
	limit, err := strconv.ParseUint(args[0], 10, 64)
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit})
	}
	if err == nil {
		runtime.LockOSThread() // capabilities are a thread's
		if os.Geteuid() == 0 {
			err = dropOverrides()
		}
	}
	if err == nil {
		err = syscall.Exec(args[1], args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "confined:", err)
	return 1
}

// dropOverrides takes what lets root pass over permissions out of the bounding set, capabilities(7).
func dropOverrides() error {
	for _, capability := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// unlimited is a LIMIT that no file reaches.
const unlimited = math.MaxUint32

// confine gives tunhook with these arguments, confined.
func (w *world) confine(limit int, args ...string) *exec.Cmd {
	cmd := w.command(args...)
	cmd.Args = append([]string{"confined", strconv.Itoa(limit), cmd.Path}, args...)
	cmd.Path = w.path("confined")
	return cmd
}

// newConfinedWorld is a world in which confine works.
func newConfinedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	check(t, os.Symlink(programDir(t)+"/confined", w.path("confined")))
	return w
}
