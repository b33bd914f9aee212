package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// pidfd is a handle on a process, as the callers of this package have it.
type pidfd struct{ pid, fd int }

func openProcess(t *testing.T, pid int) handle {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("pidfd_open %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return pidfd{pid, fd}
}

func (p pidfd) PID() int                        { return p.pid }
func (p pidfd) Signal(sig syscall.Signal) error { return unix.PidfdSendSignal(p.fd, sig, nil, 0) }
func (p pidfd) Close()                          {}

func (p pidfd) Wait(d time.Duration) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(d.Milliseconds()))
	return n == 1
}

// closing is a process whose handle is given back by Close, and counts that.
type closing struct {
	pidfd
	open *atomic.Int32
}

func (c closing) Close() {
	_ = unix.Close(c.fd)
	c.open.Add(-1)
}

// stat gives some fields of /proc/PID/stat: 3 is the state, 6 the session. It is empty for a process that is gone.
func stat(pid, field int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < field-2 {
		return ""
	}
	return fields[field-3]
}

// session gives the live processes of a session.
func session(sid int) []int {
	var pids []int
	for _, pid := range allPIDs() {
		if stat(pid, 6) == strconv.Itoa(sid) && stat(pid, 3) != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

func sessionOf(sid int) func() []int { return func() []int { return session(sid) } }

var lastAddress atomic.Uint32

// freeAddress is an address that no other test uses, and no other copy of this one: its IP is its own.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	pid := os.Getpid()
	ip := netip.AddrFrom4([4]byte{127, byte(1 + pid>>8%250), byte(pid), byte(1 + lastAddress.Add(1)%250)})
	l, err := net.Listen("tcp", netip.AddrPortFrom(ip, ownPort()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// launchRole launches the test binary in a role and gives its log. All that is left of its session is killed when the test
// ends.
func launchRole(t *testing.T, words ...string) (launched, *os.File) {
	t.Helper()
	log := openLog(t)
	session := process.Session{Token: process.NewToken()}
	l, err := Launch([]string{self(t)}, append(roleEnviron(words...), process.TokenVariable+"="+session.Token), log)
	if err != nil {
		t.Fatal(err)
	}
	killSession(t, l.PID)
	if session.Leader, err = process.Identify(l.PID); err != nil && !errors.Is(err, process.ErrGone) {
		t.Fatal(err)
	}
	return launched{l, session}, log
}

// launched is a tunnel program that plays a role.
type launched struct {
	*Launched
	session process.Session
}

func openLog(t *testing.T) *os.File {
	t.Helper()
	log, _, err := beginLog(t.TempDir()+"/log", "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// killSession kills what is left of a session that the test has made: processes that play a role. When they have all ended
// the session's number may be a stranger's.
func killSession(t *testing.T, sid int) {
	t.Cleanup(func() {
		for _, pid := range session(sid) {
			environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if strings.Contains(string(environ), roleVariable+"=") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
}

// logHas waits for a line in a log that begins like that.
func logHas(t *testing.T, log *os.File, begins string, times int) {
	t.Helper()
	tunneltest.Eventually(t, fmt.Sprintf("%d times %q in the log", times, begins), func() bool {
		n := 0
		for _, line := range lastLines(t, log.Name(), 0, 1000) {
			if strings.HasPrefix(line, begins) {
				n++
			}
		}
		return n >= times
	})
}
