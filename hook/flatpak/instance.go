package flatpak

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrGone says that a sandbox has ended.
var ErrGone = errors.New("the sandbox has ended")

// Host looks at sandboxes from outside, as their user.
type Host struct {
	RuntimeDir string // XDG_RUNTIME_DIR, absolute
	Proc       fs.FS  // os.DirFS("/proc")
}

// MainProcess returns the pid, on the host, of the application's own process in the running sandbox instanceID: the one whose end
// is the end of the application, even where something that it started keeps the sandbox. The error is ErrGone where that process
// has ended. The pid says nothing for longer than the process lives: take its identity at once.
func (h Host) MainProcess(instanceID string) (pid int, err error) {
	if strings.Trim(instanceID, "0123456789") != "" || instanceID == "" {
		return 0, fmt.Errorf("%q is no id of a Flatpak instance", instanceID)
	}
	// bubblewrap's process 1 in the sandbox holds a lock on this file as long as it lives, which a directory that was left behind
	// and a pid that was given anew cannot pretend. The file "pid" beside it names the bubblewrap outside, which can be killed
	// without ending anything.
	first, err := lockHolder(filepath.Join(h.RuntimeDir, ".flatpak", instanceID, ".ref"))
	if err != nil {
		return 0, err
	}
	return h.secondProcess(first)
}

// lockHolder is the process that holds a lock on the file, fcntl(2), F_GETLK.
func lockHolder(file string) (pid int, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, &fs.PathError{Op: "fcntl", Path: file, Err: err}
	}
	if lock.Type == unix.F_UNLCK {
		return 0, ErrGone
	}
	return int(lock.Pid), nil
}

// secondProcess is the process that has pid 2 in the sandbox whose process 1 is first: the application. bubblewrap starts it
// before anything else. Where the kernel does not tell a process's children, proc_pid_task(5), first has to do.
func (h Host) secondProcess(first int) (pid int, err error) {
	dir := strconv.Itoa(first)
	children, err := fs.ReadFile(h.Proc, path.Join(dir, "task", dir, "children"))
	if errors.Is(err, fs.ErrNotExist) {
		return first, nil
	}
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil && h.innerPID(pid) == "2" {
			return pid, nil
		}
	}
	return 0, ErrGone
}

// innerPID is the process's pid in its own pid namespace, the last of the NSpid line of proc_pid_status(5).
func (h Host) innerPID(pid int) string {
	status, err := fs.ReadFile(h.Proc, path.Join(strconv.Itoa(pid), "status"))
	if err != nil {
		return ""
	}
	for text := range strings.Lines(string(status)) {
		if pids, ok := strings.CutPrefix(text, "NSpid:"); ok {
			fields := strings.Fields(pids)
			return fields[len(fields)-1]
		}
	}
	return ""
}

// Caller finds the sandbox from which `flatpak-spawn --host PROGRAM ARG...` was called, the arguments being those in argv, what
// this program was called with: flatpak-spawn waits for it inside, and nothing else tells where the call came from. PROGRAM may
// be a script that has called this one. ok is false where there is no such sandbox.
func (h Host) Caller(argv []string) (s Sandbox, ok bool) {
	entries, err := fs.ReadDir(h.Proc, ".")
	if err != nil {
		return Sandbox{}, false
	}
	for _, entry := range entries {
		cmdline, err := fs.ReadFile(h.Proc, path.Join(entry.Name(), "cmdline"))
		if err != nil || !spawns(cmdline, argv[1:]) {
			continue
		}
		if info, err := fs.ReadFile(h.Proc, path.Join(entry.Name(), "root/.flatpak-info")); err == nil {
			return sandboxOf(info), true
		}
	}
	return Sandbox{}, false
}

// spawns tells whether a command line is that of a flatpak-spawn that runs some program with these arguments on the host.
func spawns(cmdline []byte, args []string) bool {
	words := strings.Split(string(bytes.TrimSuffix(cmdline, []byte{0})), "\x00")
	program := len(words) - len(args) - 1
	return program >= 2 && path.Base(words[0]) == "flatpak-spawn" &&
		slices.Contains(words[1:program], "--host") && slices.Equal(words[program+1:], args)
}
