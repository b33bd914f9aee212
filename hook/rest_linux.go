package hook

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// rest gives back the memory that a process needs no more whose work is done for now, and which lives on for as long as a tunnel does:
// garbage, and the pages of its own code. The kernel has mapped 16 pages for each that was run; those that are run again come back
// from its cache.
func rest() {
	debug.FreeOSMemory()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(maps); lines.Scan(); { // proc_pid_maps(5)
		var from, to uintptr
		var permissions string
		line := lines.Text()
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &permissions); err != nil || permissions != "r-xp" || !strings.HasSuffix(line, " "+exe) {
			continue
		}
		// Nothing is ever written there, so nothing is lost; what can be written must not be touched, madvise(2).
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	}
}
