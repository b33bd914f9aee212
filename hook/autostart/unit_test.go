package autostart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// activation is a directory with what startOrTurnAway may run, each of which writes down who it is, and with what.
type activation struct {
	t   *testing.T
	dir string
}

func newActivation(t *testing.T) *activation {
	t.Helper()
	a := &activation{t, t.TempDir()}
	a.program("busctl", `echo "$*" >"$0.part"; mv "$0.part" "$0.ran"`)
	a.program("sleep", a.becomes("sleep"))
	check(t, os.Symlink("/bin/mv", filepath.Join(a.dir, "mv")))
	return a
}

// becomes is the text of a program that says in the output which process it is.
func (a *activation) becomes(name string) string { return `echo "$$ ` + name + ` $*"; exit 7` }

func (a *activation) program(name, script string) {
	a.t.Helper()
	check(a.t, tunneltest.WriteProgram(filepath.Join(a.dir, name), []byte("#!/bin/sh\n"+script+"\n")))
}

// proxyd puts the program that turns clients away there, with that help.
func (a *activation) proxyd(help string) {
	a.t.Helper()
	a.program("systemd-socket-proxyd", `[ "$1" = --help ] && { echo '`+help+`'; exit; }; `+a.becomes("proxyd"))
}

// run has a shell start the program of that name, and gives what has become of it: the program that it is then, with its arguments,
// behind a process id where that is another than the shell's.
func (a *activation) run(shell, name string) (became string) {
	a.t.Helper()
	script := strings.Replace(startOrTurnAway, systemdDirs, filepath.Join(a.dir, "none")+" "+a.dir, 1)
	cmd := exec.Command(shell, "-c", script, filepath.Join(a.dir, name), "listen", "a  b", "")
	cmd.Args[0], cmd.Env = "sh", []string{"PATH=" + a.dir}
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 7 {
		a.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimPrefix(strings.TrimSuffix(string(out), "\n"), fmt.Sprint(cmd.Process.Pid, " "))
}

// told gives what the user was told, for which nobody waits, or "".
func (a *activation) told(wait time.Duration) string {
	for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(a.dir, "busctl.ran")); err == nil || time.Now().After(deadline) {
			return string(text)
		}
	}
}

// shells are those that /bin/sh is somewhere and that are here: an exec that fails is another matter in each.
func shells() []string {
	all := []string{"/bin/sh"}
	for _, name := range []string{"dash", "bash"} {
		if path, err := exec.LookPath(name); err == nil {
			all = append(all, path)
		}
	}
	return all
}

const newHelp = "     --exit-idle-time=   Exit when without a connection for this duration."

func TestShellBecomesTheListener(t *testing.T) {
	t.Parallel()
	for _, shell := range shells() {
		a := newActivation(t)
		a.proxyd(newHelp)
		a.program("tunhook", a.becomes("listener"))
		if got := a.run(shell, "tunhook"); got != "listener listen a  b " {
			t.Errorf("%s has become %q", shell, got)
		}
		if told := a.told(0); told != "" {
			t.Errorf("%s tells %q", shell, told)
		}
	}
}

// TestClientsAreTurnedAwayWhereTheListenerCannotRun, whatever of it is there, and the user is told.
func TestClientsAreTurnedAwayWhereTheListenerCannotRun(t *testing.T) {
	t.Parallel()
	write := func(text string, mode os.FileMode) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), mode) }
	}
	for name, leave := range map[string]func(path string) error{
		"gone":                   func(string) error { return nil },
		"a directory":            func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o700) },
		"a link to nothing":      func(path string) error { return os.Symlink("nowhere", path) },
		"empty":                  write("", 0o700),
		"half a program":         write("\x7fELF\x02\x01\x01\x00\x00\x00\n", 0o700),
		"no program":             write("#!/bin/sh\nexit 7\n", 0o600),
		"one without its loader": write("#!/nowhere/sh\n", 0o700),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, shell := range shells() {
				a := newActivation(t)
				a.proxyd(newHelp)
				program := filepath.Join(a.dir, "tunhook")
				check(t, leave(program))
				if got, want := a.run(shell, "tunhook"), "proxyd --exit-idle-time=10s /nonexistent"; got != want {
					t.Errorf("%s has become %q, want %q", shell, got, want)
				}
				if told := a.told(30 * time.Second); !strings.Contains(told, "and "+program+" is not there") {
					t.Errorf("%s tells %q", shell, told)
				}
			}
		})
	}
}

// TestUnitIsPacedWhereNobodyCanTurnAway: systemd would start it again at once.
func TestUnitIsPacedWhereNobodyCanTurnAway(t *testing.T) {
	t.Parallel()
	for _, shell := range shells() {
		for _, help := range []string{"", "     --version   Show package version"} {
			a := newActivation(t)
			if help != "" {
				a.proxyd(help)
			}
			if got := a.run(shell, "tunhook"); got != "sleep 10" {
				t.Errorf("%s has become %q where the help is %q", shell, got, help)
			}
			if a.told(30*time.Second) == "" {
				t.Errorf("%s tells nothing where the help is %q", shell, help)
			}
		}
	}
}
