//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestKeeperSleepsOneForEachWatchedTunnel(t *testing.T) {
	t.Parallel()
	server := startSSHServer(t)
	o := newHomeOffice(t)
	holder := strconv.Itoa(o.start("/usr/bin/sleep", "600").cmd.Process.Pid)
	used, idle, unwatched := freeAddress(t), freeAddress(t), freeAddress(t)
	for _, listen := range []string{used, idle, used} { // the last one is found running
		o.must(o.program, "start", "relay://"+server.address, listen, "--keep-alive", "--idle-stop", "1h", "--end-with", holder)
	}
	o.must(o.program, "start", "relay://"+server.address, unwatched)
	client, err := net.Dial("tcp", used)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	keepers := o.keepers()
	if len(keepers) != 2 {
		t.Fatalf("keepers: %v, want one for each of the two watched tunnels: %q", keepers, o.running(o.program))
	}

	const watched = time.Minute
	before := map[int]time.Duration{}
	for _, pid := range keepers {
		before[pid] = cpuTime(t, pid)
	}
	time.Sleep(watched)
	for _, pid := range keepers {
		took, resident := cpuTime(t, pid)-before[pid], residentSize(t, pid)
		t.Logf("keeper %d used %v of CPU in %v, which is %.3f %%, and %d kB of memory", pid, took, watched, 100*took.Seconds()/watched.Seconds(), resident)
		// It is a third of that on a quiet machine, and a look costs more on a busy one.
		if took >= watched/300 {
			t.Errorf("%v of CPU in %v is not under 0.3 %%", took, watched)
		}
		if resident >= 12_000 {
			t.Errorf("%d kB of memory are not under 12 MB", resident)
		}
	}

	o.must(o.program, "stop", "--all", "--now")
	for _, listen := range []string{used, idle, unwatched} {
		o.waitUntilNothingIsLeft(listen)
	}
}

func TestNoKeeperForUnwatchedTunnel(t *testing.T) {
	t.Parallel()
	o := newHomeOffice(t)
	route, listen := "relay://"+startSSHServer(t).address, freeAddress(t)
	o.must(o.program, "start", route, listen, "--ready", "ssh")
	o.must(o.program, "status")
	if all := o.running(o.program); len(all) != 1 || !strings.Contains(all[0], " relay ") {
		t.Errorf("running: %q, want the tunnel program alone", all)
	}
	o.must(o.program, "stop", route, listen)
	o.waitUntilNothingIsLeft(listen)
}

// keepers returns the user's keepers.
func (o *homeOffice) keepers() []int {
	var keepers []int
	for _, pid := range o.pids() {
		if commandLine(pid) == o.program+" keeper" {
			keepers = append(keepers, pid)
		}
	}
	return keepers
}

// cpuTime returns how long a process has been running on a CPU: utime and stime of
// proc_pid_stat(5), in ticks of a hundredth of a second.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// Field 2, in parentheses, may hold spaces; utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// residentSize returns the memory that a process has in use, in kB, proc_pid_status(5).
func residentSize(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return size
}
