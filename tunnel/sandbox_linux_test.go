package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tunhook/tunhook/pidfile/process"
)

// TestSocketsAreFoundWhereNetlinkIsRefused, as in a sandbox of systemd's with RestrictAddressFamilies=.
func TestSocketsAreFoundWhereNetlinkIsRefused(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		server := startHelper(t, "listen", listen)
		addr := parsed(t, server)
		connect := addr
		if addr.Addr().IsUnspecified() {
			connect = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addr.Port())
		}
		client := startHelper(t, "dial", connect.String())
		from := client.line(t)
		want := fmt.Sprintf("listening true held by %d free false from [%s] clients [%d] answered [%d]", server.pid(), from, client.pid(), client.pid())
		if said := startHelper(t, "withoutnetlink", addr.String()).line(t); said != want {
			t.Errorf("%s: %s, want %s", listen, said, want)
		}
	}
}

// withoutNetlink says what it sees of args[0] without netlink sockets.
func withoutNetlink(args []string) error {
	addr := netip.MustParseAddrPort(args[0])
	if err := refuseNetlink(); err != nil {
		return err
	}
	if fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG); err == nil {
		return fmt.Errorf("netlink socket %d", fd)
	}
	sight, err := Look(addr)
	if err != nil {
		return err
	}
	holder, _ := Holder(addr)
	clients, err := sight.Clients()
	if err != nil {
		return err
	}
	answered, err := Answered(addr)
	if err != nil {
		return err
	}
	from, err := Connections(addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening %v held by %d free %v from %v clients %v answered %v\n",
		len(sight.listens) == 1, holder.PID, Free(addr), from, pidsOf(clients), pidsOf(answered))
	return forever()
}

func pidsOf(peers []Peer) []int {
	var pids []int
	for _, p := range peers {
		pids = append(pids, p.PID)
	}
	return pids
}

// TestProgramThatCannotBeLookedIntoIsToldOfSoon: another user's, or one that is private, as with file capabilities. Root can look into
// all.
func TestProgramThatCannotBeLookedIntoIsToldOfSoon(t *testing.T) {
	t.Parallel()
	addr, other, taken := freeAddress(t).String(), freeAddress(t).String(), freeAddress(t).String()
	startHelper(t, "listen", taken).line(t)
	for what, row := range map[string]struct{ asked, at, want string }{
		"it listens":            {addr, addr, "unseen true ended <nil> free true"},
		"it listens elsewhere":  {addr, other, "unseen false ended <nil> free true"},
		"somebody else listens": {taken, other, "unseen false ended <nil> free false"}, // who is seen, or another user
	} {
		cmd := exec.Command("/proc/self/exe") // which the other user need not find
		cmd.Env, cmd.Stderr, cmd.Dir = roleEnviron("waitunseen", row.asked, row.at), os.Stderr, "/"
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61900, Gid: 61900}}
		}
		if said := startCommand(t, cmd).line(t); said != row.want {
			t.Errorf("%s: %q, want %q", what, said, row.want)
		}
	}
}

// waitUnseen launches a private program that listens on args[1], and waits for it to listen on args[0].
func waitUnseen(args []string) error {
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	addr := netip.MustParseAddrPort(args[0])
	s := process.Session{Token: process.NewToken()}
	l, err := Launch([]string{"/proc/self/exe"}, append(roleEnviron("private", args[1]), process.TokenVariable+"="+s.Token), log)
	if err != nil {
		return err
	}
	if s.Leader, err = process.Identify(l.PID); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	if args[0] != args[1] {
		ctx, cancel = context.WithTimeout(context.Background(), 3*unseenPause)
	}
	defer cancel()
	var unseen *UnseenError
	err = WaitListening(ctx, addr, s)
	told := errors.As(err, &unseen) && unseen.PID == l.PID
	if !told && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	fmt.Println("unseen", told, "ended", End(s, addr, syscall.SIGTERM, deadline), "free", Free(addr))
	return nil
}

// listenPrivately asks the kernel that nobody but root may look into this process, prctl(2), and listens.
func listenPrivately(args []string) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return listenOn(args)
}

// refuseNetlink has socket(2) fail for netlink sockets, in all threads of this process, seccomp(2).
func refuseNetlink() error {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give  = unix.BPF_RET | unix.BPF_K
		// Offsets in struct seccomp_data; of the argument the lower half, which is the first one on little-endian machines.
		number, argument = 0, 16
	)
	filter := []unix.SockFilter{
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_SOCKET, Jf: 3},
		{Code: load, K: argument},
		{Code: equal, K: unix.AF_NETLINK, Jf: 1},
		{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: give, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

func TestTableLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]listed{
		"0: 0100007F:9D8D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6816631 2 0 100": {
			socket{local: netip.MustParseAddrPort("127.0.0.1:40333"), remote: netip.MustParseAddrPort("0.0.0.0:0"), inode: 6816631}, "LISTEN",
		},
		"12: 00000000000000000000000001000000:0016 0000000000000000FFFF00000100007F:C350 08 0:0 02:0 0 1000 0 7 1": {
			socket{local: netip.MustParseAddrPort("[::1]:22"), remote: netip.MustParseAddrPort("127.0.0.1:50000"), uid: 1000, inode: 7}, "CLOSE_WAIT",
		},
		"1: 0100007F:0001 0100007F:0002 FF 0:0 0:0 0 1 0 1": {
			socket{local: netip.MustParseAddrPort("127.0.0.1:1"), remote: netip.MustParseAddrPort("127.0.0.1:2"), uid: 1, inode: 1}, "",
		},
	} {
		if got, err := parseListed(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{
		"", "0:", "0: 0100007F:9D8D 00000000:0000 0A 0:0 0:0 0 0 0", "0: 0100007:1 00000000:0 0A 0:0 0:0 0 0 0 1", "0: 0100007F:10000 00000000:0 0A 0:0 0:0 0 0 0 1",
		"0: 0100007F 00000000:0 0A 0:0 0:0 0 0 0 1", "0: 0100007F0100007F:1 00000000:0 0A 0:0 0:0 0 0 0 1", "0: 0100007F:1 00000000:0 XX 0:0 0:0 0 0 0 1",
		"0: 0100007F:1 00000000:0 0A 0:0 0:0 0 -1 0 1", "0: 0100007F:1 00000000:0 0A 0:0 0:0 0 0 0 x",
	} {
		if got, err := parseListed(strings.Fields(line)); err == nil {
			t.Errorf("%q: %+v, want an error", line, got)
		}
	}
}
