//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// running returns the command lines of the user's live processes whose command line
// contains text, detached ones included.
func (u *user) running(text string) []string {
	var found []string
	for _, pid := range u.processes() {
		if line := commandLine(pid); strings.Contains(line, text) && u.owns(pid) {
			found = append(found, line)
		}
	}
	return found
}

// pids returns the user's live processes, known by the marker in their environment.
func (u *user) pids() []int {
	return slices.DeleteFunc(u.processes(), func(pid int) bool { return !u.owns(pid) })
}

// processes returns all of the machine's, the kernel's own included.
func (u *user) processes() []int {
	u.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		u.t.Fatal(err)
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// owns reports whether a process is one of the user's. The kernel empties the
// environment of a zombie, so one of those is nobody's.
func (u *user) owns(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	marker := []byte(markerVariable + "=" + u.dir)
	return err == nil && slices.ContainsFunc(bytes.Split(environ, []byte{0}), func(variable []byte) bool {
		return bytes.Equal(variable, marker)
	})
}

// endLeftovers kills what the user left running until nothing is.
func (u *user) endLeftovers() {
	deadline := time.Now().Add(patience)
	for {
		pids := u.pids()
		if len(pids) == 0 {
			return
		}
		if time.Now().After(deadline) {
			u.t.Errorf("still running after SIGKILL: %q", u.running(""))
			return
		}
		for _, pid := range pids {
			u.kill(pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// kill kills a process if it is still the user's, and waits until it has ended: until
// then it has its locks and sockets, and counts as alive. The pidfd comes first, so the
// process that is looked at is the one that is signalled. It can be read once the process
// is a zombie (pidfd_open(2)).
func (u *user) kill(pid int) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended by itself
	}
	defer unix.Close(pidfd)
	if !u.owns(pid) {
		return
	}
	_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // likewise
	ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if n, err := unix.Poll(ended, int(patience.Milliseconds())); n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}

func commandLine(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone: an empty line
	return string(bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
}
