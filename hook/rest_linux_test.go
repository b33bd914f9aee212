package hook

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestRestGivesBackTheProgramsOwnPages, and the program goes on.
func TestRestGivesBackTheProgramsOwnPages(t *testing.T) {
	before := codeKiB(t)
	rest()
	if after := codeKiB(t); after >= before {
		t.Errorf("of the code %d KiB are resident, and before it were %d", after, before)
	}
}

// codeKiB is how much of the program's code is resident, proc_pid_smaps(5).
func codeKiB(t *testing.T) int {
	t.Helper()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)r-xp [^\n]* ` + regexp.QuoteMeta(exe) + `\n.*?\nRss: +(\d+) kB`).FindSubmatch(smaps)
	if m == nil {
		t.Fatalf("no code of %s in\n%s", exe, smaps)
	}
	kib, _ := strconv.Atoi(string(m[1]))
	return kib
}
