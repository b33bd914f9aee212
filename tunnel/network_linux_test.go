package tunnel

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process"
)

// inNetwork has the test binary play a role in a network of its own, and skips the test where none can be had.
func inNetwork(t *testing.T, role string) *helper {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "--map-root-user", self(t))
	cmd.Env, cmd.Stderr = append(roleEnviron(role), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"), os.Stderr
	if err := exec.Command(cmd.Path, "--net", "--map-root-user", "true").Run(); err != nil {
		t.Skipf("no network of its own can be had here: %v", err)
	}
	h := startCommand(t, cmd)
	if line := h.line(t); line != "ready" {
		t.Skip(line)
	}
	return h
}

// ip does as ip(8) is told, in lines.
func ip(lines string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %q", err, out)
	}
	return nil
}

// links makes two links, of the kind that may always be made, and says so.
func links() {
	err := ip("link set lo up\nlink add lan type bridge\nlink add other type bridge\nlink set lan up\nlink set other up\n" +
		"addr add 10.1.0.2/24 dev lan\naddr add 10.2.0.2/24 dev other\n")
	if err != nil {
		fmt.Println("no network may be made here:", err)
		os.Exit(0)
	}
	fmt.Println("ready")
}

// saysNetwork says what the network is like in each of several states.
func saysNetwork([]string) error {
	links()
	for _, do := range []string{
		"", "route add default via 10.1.0.1", "link del other", "addr add 10.1.0.3/32 dev lan",
		"link add tun type bridge\nlink set tun up\naddr add 10.3.0.2/32 dev tun\nroute add default dev tun table 7",
		"addr flush dev lan",
	} {
		if err := ip(do + "\n"); err != nil {
			return err
		}
		var without []string // the numbers of links
		for _, part := range Network() {
			part, _, _ = strings.Cut(part, " dev ")
			without = append(without, part)
		}
		fmt.Println(strings.Join(without, ", "))
	}
	return nil
}

// TestWhatConnectionsLeanOn is the default routes and what is on their links, a VPN's too that has them in a table of its own.
func TestWhatConnectionsLeanOn(t *testing.T) {
	t.Parallel()
	h := inNetwork(t, "saysnetwork")
	for _, want := range []string{
		"", "10.1.0.2, default via 10.1.0.1", "10.1.0.2, default via 10.1.0.1", "10.1.0.2, 10.1.0.3, default via 10.1.0.1",
		"10.1.0.2, 10.1.0.3, 10.3.0.2, default via 10.1.0.1", "10.3.0.2",
	} {
		if got := h.line(t); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// saysCutOff says whether the connection of a process, and that of one that has none, is cut off, in each of several states.
func saysCutOff([]string) error {
	links()
	var sessions []process.Session
	for _, role := range []string{"listen 10.2.0.2:0", "idle"} {
		child := exec.Command("/proc/self/exe")
		child.Env, child.SysProcAttr = roleEnviron(role), &syscall.SysProcAttr{Setsid: true}
		out, err := child.StdoutPipe()
		if err != nil {
			return err
		}
		if err := child.Start(); err != nil {
			return err
		}
		defer func() { _ = child.Process.Kill() }()
		said := bufio.NewScanner(out)
		if said.Scan(); said.Text() != "ready" {
			if _, err := net.Dial("tcp", said.Text()); err != nil || !said.Scan() {
				return fmt.Errorf("%w: %q", err, said.Text())
			}
		}
		id, err := process.Identify(child.Process.Pid)
		if err != nil {
			return err
		}
		sessions = append(sessions, process.Session{Leader: id})
	}
	for _, do := range []string{"", "addr del 10.2.0.2/24 dev other", "addr add 10.2.0.2/32 dev lan", "link del lan"} {
		if err := ip(do + "\n"); err != nil {
			return err
		}
		for _, session := range sessions {
			fmt.Println(CutOff(session, netip.MustParseAddrPort("127.0.0.1:9")))
		}
	}
	return nil
}

// TestAConnectionIsCutOffWithItsOwnAddress, on whatever link that was.
func TestAConnectionIsCutOffWithItsOwnAddress(t *testing.T) {
	t.Parallel()
	h := inNetwork(t, "sayscutoff")
	var got []string
	for range 8 {
		got = append(got, h.line(t))
	}
	if want := strings.Fields("false false true false false false true false"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
