package tunnel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ProgramError says why a tunnel program cannot be run, and how to get it.
type ProgramError struct {
	Program string
	Reason  string
	Install string // the provider's advice, may be empty
}

func (e *ProgramError) Error() string {
	text := fmt.Sprintf("%s %s", e.Program, e.Reason)
	if e.Install != "" {
		text += ": " + e.Install
	}
	return text
}

// Getenv gives the value of a variable in environ, which has the form of os.Environ, "" where it is not set. The last setting counts,
// as it does for os/exec, the C library and the shells.
func Getenv(environ []string, name string) string {
	for _, v := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// FindProgram gives the absolute path of a program that is no provider's, looked up in path (in the form of PATH). The error is a
// *ProgramError.
func FindProgram(program, path string) (string, error) {
	return (&Provider{}).FindProgram(program, path)
}

// FindProgram gives the absolute path of a tunnel program, looked up in path (in the form of PATH). The error is a
// *ProgramError.
func (p *Provider) FindProgram(program, path string) (string, error) {
	if strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			return "", &ProgramError{program, "is a relative path: write it out from / on", ""}
		}
		if problem := executable(program); problem != "" {
			return "", &ProgramError{program, problem, p.Install}
		}
		return program, nil
	}
	reason := "was not found on PATH"
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // what the current directory holds is nobody's choice
		}
		file := filepath.Join(dir, program)
		switch problem := executable(file); problem {
		case "":
			return file, nil
		case notFound:
		default:
			reason = fmt.Sprintf("was found on PATH as %s, which %s", file, problem)
		}
	}
	return "", &ProgramError{program, reason, p.Install}
}

// FindCommand gives the tunnel's command line with the absolute path of its program, and what that is called. Where our
// own relay runs the program, it is that one. The error is a *ProgramError.
func (r Route) FindCommand(listen netip.AddrPort, tunhook string, args []string, path string) (argv []string, program string, err error) {
	argv = r.Argv(listen, tunhook, args)
	at := r.Provider.relayed(argv)
	if argv[at], err = r.Provider.FindProgram(argv[at], path); err != nil {
		return nil, "", err
	}
	return argv, filepath.Base(argv[at]), nil
}

const notFound = "does not exist"

// executable tells what keeps a file from being executed, "" if nothing does.
func executable(file string) string {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNotDir):
		return notFound
	case err != nil:
		return "cannot be looked at (" + underlying(err).Error() + ")"
	case info.IsDir():
		return "is a directory"
	case unix.Access(file, unix.X_OK) != nil:
		return "is not executable: chmod +x " + file
	}
	return ""
}

// Launched is a tunnel program that this process has started.
type Launched struct {
	PID  int
	done chan struct{}
	cmd  *exec.Cmd
}

// Launch starts the tunnel program argv, detached: a session of its own, nothing to read, output to the log, / as working
// directory, default actions for the signals that end a program, and none of the caller's descriptors, not even those that this
// process has inherited itself. Only one call may run at a time: what a program inherits is a matter of the whole process.
func Launch(argv, environ []string, log *os.File) (*Launched, error) {
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Env: environ, Dir: "/", Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	restoreSignals := defaultSignals()
	defer restoreSignals()
	restoreDescriptors := withholdDescriptors()
	defer restoreDescriptors()
	if err := cmd.Start(); err != nil {
		return nil, &ProgramError{argv[0], "cannot be executed (" + underlying(err).Error() + ")", ""}
	}
	limitFiles(cmd.Process.Pid)
	l := &Launched{PID: cmd.Process.Pid, done: make(chan struct{}), cmd: cmd}
	go func() {
		_ = cmd.Wait() // the state says it all
		close(l.done)
	}()
	return l, nil
}

// Ended waits for the program, which must be known to have ended or to be about to, and says how it did.
func (l *Launched) Ended() string {
	<-l.done
	return l.cmd.ProcessState.String()
}

// defaultSignals sees to it that a program executed now has the default action for the signals that end it, whatever the
// caller has ignored: a shell without job control starts "command &" with SIGINT ignored, for one. A signal that this process
// handles is at its default after an exec, and Go's runtime handles all that a process was started with but these two (os/signal).
// IgnoredByLaunch is the exception.
func defaultSignals() (restore func()) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGHUP)
	signal.Ignore(IgnoredByLaunch)
	return func() { signal.Stop(caught) } // one that came in between has also reached whoever handles it in this program
}

// ExitStatus is a program's exit status as a shell would call it: 128 and its number for a signal.
func ExitStatus(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// IgnoredByLaunch is the signal that Launch makes this process ignore, so that the tunnel program does: one whose log is full shall
// not die of it.
const IgnoredByLaunch = syscall.SIGXFSZ

// withholdDescriptors marks every descriptor from 3 on to be closed on exec, and gives back how they were, for the client
// that run starts later.
func withholdDescriptors() (restore func()) {
	var marked []int
	for _, fd := range openDescriptors() {
		if fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.CloseOnExec(fd)
			marked = append(marked, fd)
		}
	}
	return func() {
		for _, fd := range marked {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
	}
}

func openDescriptors() []int {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var open []int
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil {
			open = append(open, fd)
		}
	}
	return open
}
