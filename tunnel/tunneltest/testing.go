package tunneltest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// RealPomeriumCLI is the environment variable that names a real pomerium-cli, by its absolute path: EachPomeriumCLI tests it as well,
// and to all others it is pomerium-cli (see ProgramEnviron).
const RealPomeriumCLI = "TUNHOOK_TEST_POMERIUM_CLI"

// QuickExit is a variable for the stand-in's environment: without it a test binary built with -race takes a second to exit
// (https://go.dev/doc/articles/race_detector#Options).
const QuickExit = "GORACE=atexit_sleep_ms=0"

// ProgramEnviron is what goes into the environment of those who start pomerium-cli: QuickExit and, where a test is run with
// RealPomeriumCLI, what has the stand-in become that program.
func ProgramEnviron() []string {
	environ := []string{QuickExit}
	if program := os.Getenv(RealPomeriumCLI); program != "" {
		environ = append(environ, realVariable+"="+program)
	}
	return environ
}

// EachPomeriumCLI runs test with the path of the stand-in, and again with that of the real program where the environment
// names one. Either is called pomerium-cli and alone in its directory, which can go on a PATH.
//
// The stand-in is the running test binary under another name, so its TestMain must begin with
//
//	if filepath.Base(os.Args[0]) == "pomerium-cli" {
//		os.Exit(tunneltest.PomeriumCLI(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
//	}
//
// Give it QuickExit in its environment.
func EachPomeriumCLI(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("stand-in", func(t *testing.T) { test(t, linkPomeriumCLI(t, self)) })
	if program := os.Getenv(RealPomeriumCLI); program != "" {
		t.Run("real", func(t *testing.T) { test(t, linkPomeriumCLI(t, program)) })
	}
}

func linkPomeriumCLI(t *testing.T, program string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "pomerium-cli")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// Patience is how long a test waits for what must happen: far longer than it takes, since the machine may have much else to do.
const Patience = time.Minute

// Eventually waits up to Patience for what to happen, and fails the test when it does not.
func Eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for began := time.Now(); !happened(); Pause(began) {
		if time.Since(began) > Patience {
			t.Fatalf("did not happen within %v: %s", Patience, what)
		}
	}
}

// Pause is between two looks at what a test waits for since began: a tenth of that time, but 2 to 100 milliseconds. So a short wait ends
// soon, and a long one leaves the processors to what it waits for.
func Pause(began time.Time) {
	time.Sleep(min(max(time.Since(began)/10, 2*time.Millisecond), 100*time.Millisecond))
}

// WriteProgram writes a program that is about to be executed. This process forks nothing meanwhile: a child has the file open for
// writing until it executes another program, and until then none can execute this one (ETXTBSY, execve(2)).
func WriteProgram(path string, text []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, 0o700)
}
