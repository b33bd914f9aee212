package tunnel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
	"golang.org/x/sys/unix"
)

// statusMask reads a line of signals from /proc/PID/status, proc_pid_status(5).
func statusMask(pid int, name string) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }

// launcher launches a shell that stops itself, says which pid it has, and how descriptor 3 and the ignored signals are after.
func launcher(args []string) error {
	log, err := os.OpenFile(args[0], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	l, err := Launch([]string{"/bin/sh", "-c", "echo launched; kill -STOP $$"}, []string{"PATH=/bin"}, log)
	if err != nil {
		return err
	}
	flags, err := unix.FcntlInt(3, unix.F_GETFD, 0)
	if err != nil {
		return err
	}
	ignored, err := statusMask(os.Getpid(), "SigIgn")
	if err != nil {
		return err
	}
	fmt.Println(l.PID, flags, ignored)
	return forever()
}

// TestLaunchedProgramIsDetached launches by a process that has inherited a descriptor and ignored signals itself.
func TestLaunchedProgramIsDetached(t *testing.T) {
	t.Parallel()
	log := openLog(t)
	cmd := exec.Command("/bin/sh", "-c", `trap "" HUP INT QUIT TERM PIPE; exec "$0"`, self(t))
	cmd.Env, cmd.Stderr = roleEnviron("launcher", log.Name()), os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	h := startCommand(t, cmd)
	w.Close()
	var pid, flags int
	var ignored uint64
	if _, err := fmt.Sscan(h.line(t), &pid, &flags, &ignored); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	tunneltest.Eventually(t, "the shell has stopped itself", func() bool { return stat(pid, 3) == "T" })

	if sid := stat(pid, 6); sid != strconv.Itoa(pid) {
		t.Errorf("it is in session %s, want its own", sid)
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); cwd != "/" {
		t.Errorf("it works in %q, %v", cwd, err)
	}
	checkDescriptors(t, pid, log.Name())
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGPIPE} {
		if mask, err := statusMask(pid, "SigIgn"); err != nil || mask&bit(sig) != 0 {
			t.Errorf("it ignores %v (%v)", sig, err)
		}
	}
	if mask, err := statusMask(pid, "SigBlk"); err != nil || mask != 0 {
		t.Errorf("it blocks %x, %v", mask, err)
	}
	if flags&unix.FD_CLOEXEC != 0 {
		t.Error("the launching process's own descriptor is not inherited any more")
	}
	if ignored&bit(syscall.SIGHUP) == 0 || ignored&bit(syscall.SIGINT) == 0 {
		t.Errorf("the launching process ignores %x, want SIGHUP and SIGINT among them as before", ignored)
	}
	if lines := lastLines(t, log.Name(), 0, 10); len(lines) != 2 || !strings.HasPrefix(lines[0], "--- ") || lines[1] != "launched" {
		t.Errorf("the log says %q", lines)
	}

	h.kill() // it was the last that had the pipe open, so this is the pipe's end
	_ = r.SetReadDeadline(time.Now().Add(deadline))
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the pipe is still held open: %d, %v", n, err)
	}
}

func checkDescriptors(t *testing.T, pid int, log string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"0": "/dev/null", "1": log, "2": log}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || want[e.Name()] != target {
			t.Errorf("descriptor %s is %s, %v; want %q", e.Name(), target, err, want[e.Name()])
		}
	}
	if len(entries) != len(want) {
		t.Errorf("%d descriptors, want %d", len(entries), len(want))
	}
}

func TestLaunchedProgramHasTheEnvironmentThatItIsGiven(t *testing.T) {
	log := openLog(t)
	l, err := Launch([]string{"/bin/sh", "-c", `echo "got $GIVEN"; exit 3`}, []string{"GIVEN=a b"}, log)
	if err != nil {
		t.Fatal(err)
	}
	if how := l.Ended(); how != "exit status 3" {
		t.Errorf("ended by %q", how)
	}
	if lines := lastLines(t, log.Name(), 0, 1); len(lines) != 1 || lines[0] != "got a b" {
		t.Errorf("the log says %q", lines)
	}
}

func TestLogOfALaunchedProgramIsBounded(t *testing.T) {
	l, log := launchRole(t, "idle")
	logHas(t, log, "ready", 1)
	var limit unix.Rlimit
	if err := unix.Prlimit(l.PID, unix.RLIMIT_FSIZE, nil, &limit); err != nil || limit.Cur != maxLog || limit.Max != unix.RLIM_INFINITY {
		t.Errorf("limit %+v, %v; want %d bytes, and none that the program could not lift", limit, err, maxLog)
	}
}

func TestProgramThatCannotBeExecutedIsNamed(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{script, filepath.Join(dir, "missing"), dir} {
		_, err := Launch([]string{path}, nil, openLog(t))
		var bad *ProgramError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want a ProgramError that names it", path, err)
		}
	}
}

func TestLastSettingOfAVariableCounts(t *testing.T) {
	environ := []string{"A=first", "AB=other", "A=last=1", "B=", "C"}
	for name, want := range map[string]string{"A": "last=1", "B": "", "C": "", "a": "", "": ""} {
		if got := Getenv(environ, name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	first, second, third := filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "third")
	for path, mode := range map[string]os.FileMode{
		first + "/plain": 0o644, second + "/plain": 0o755, second + "/good": 0o755, third + "/good": 0o755,
		first + "/text": 0o644, dir + "/here": 0o755,
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(first+"/good", 0o755); err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{"", ".", "relative", first, second, third, dir + "/here", dir + "/missing"}, ":")
	p := &Provider{Install: "do this"}
	for program, want := range map[string]struct{ path, problem string }{
		"good":            {second + "/good", ""}, // first has a directory of that name
		"plain":           {second + "/plain", ""},
		"text":            {"", "is not executable"},
		"here":            {"", "was not found on PATH"}, // what is in the current directory is nobody's choice
		"missing":         {"", "was not found on PATH"},
		second + "/good":  {second + "/good", ""},
		first + "/good":   {"", "is a directory"},
		first + "/text":   {"", "is not executable"},
		dir + "/here/x":   {"", "does not exist"},
		"./here":          {"", "is a relative path"},
		"second/good":     {"", "is a relative path"},
		"../" + "x/y":     {"", "is a relative path"},
		dir + "/no/where": {"", "does not exist"},
	} {
		got, err := p.FindProgram(program, path)
		if want.problem == "" {
			if err != nil || got != want.path {
				t.Errorf("%s: %q, %v; want %q", program, got, err, want.path)
			}
			continue
		}
		var bad *ProgramError
		relative := want.problem == "is a relative path"
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want.problem) || !relative && !strings.Contains(err.Error(), "do this") {
			t.Errorf("%s: %q, %v; want a ProgramError with %q and what to do", program, got, err, want.problem)
		}
	}
}
