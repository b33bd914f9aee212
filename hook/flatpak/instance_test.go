package flatpak

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// lockFileVariable turns the test program into a process that holds a lock on the file it names until its stdin ends.
const lockFileVariable = "FLATPAK_TEST_LOCK"

func TestMain(m *testing.M) {
	if file := os.Getenv(lockFileVariable); file != "" {
		holdLock(file)
		return
	}
	os.Exit(m.Run())
}

func holdLock(file string) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err == nil {
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
}

// sandboxInit starts a process that holds an instance's lock as process 1 of a sandbox does; end ends it.
func sandboxInit(t *testing.T, runtimeDir, id string) (pid int, end func()) {
	t.Helper()
	dir := filepath.Join(runtimeDir, ".flatpak", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, ".ref")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockFileVariable+"="+file)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		stdin.Close()
		cmd.Wait()
	}
	t.Cleanup(end)
	var answer string
	if fmt.Fscan(stdout, &answer); answer != "locked" {
		t.Fatalf("the process that holds the lock says %q", answer)
	}
	return cmd.Process.Pid, end
}

func TestMainProcessIsTheApplicationNotWhatItLeftBehind(t *testing.T) {
	dir := t.TempDir()
	pid, end := sandboxInit(t, dir, "269505497")
	children := fmt.Sprintf("%d/task/%d/children", pid, pid)
	proc := fstest.MapFS{
		children:      {Data: []byte("5001 5000 ")},
		"5000/status": {Data: []byte("Name:\tremmina\nNSpid:\t5000\t2\n")},
		"5001/status": {Data: []byte("Name:\tsleep\nNSpid:\t5001\t17\n")},
	}
	h := Host{RuntimeDir: dir, Proc: proc}
	if got, err := h.MainProcess("269505497"); got != 5000 || err != nil {
		t.Errorf("pid %d, error %v", got, err)
	}
	proc[children] = &fstest.MapFile{Data: []byte("5001 ")}
	if got, err := h.MainProcess("269505497"); !errors.Is(err, ErrGone) {
		t.Errorf("with the application gone: pid %d, error %v", got, err)
	}
	delete(proc, children)
	if got, err := h.MainProcess("269505497"); got != pid || err != nil {
		t.Errorf("on a kernel that lists no children: pid %d, error %v, want %d", got, err, pid)
	}
	end()
	if got, err := h.MainProcess("269505497"); !errors.Is(err, ErrGone) {
		t.Errorf("after its end: pid %d, error %v", got, err)
	}
}

func TestInstanceThatNeverWasIsGone(t *testing.T) {
	if _, err := (Host{RuntimeDir: t.TempDir()}).MainProcess("1"); !errors.Is(err, ErrGone) {
		t.Errorf("error %v", err)
	}
}

func TestInstanceIDIsNoPath(t *testing.T) {
	for _, id := range []string{"", "..", "../1", "1/2", "org.remmina.Remmina", "-1"} {
		if _, err := (Host{RuntimeDir: t.TempDir()}).MainProcess(id); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("id %q: error %v", id, err)
		}
	}
}

func TestCallerIsFoundByTheCommandThatItWaitsFor(t *testing.T) {
	h := Host{Proc: fstest.MapFS{
		"10/cmdline":            {Data: []byte("/usr/bin/flatpak-spawn\x00--host\x00tunhook\x00start\x00other:3389\x00")},
		"10/root/.flatpak-info": {Data: []byte("[Application]\nname=org.other\n[Instance]\ninstance-id=1\n")},
		"11/cmdline":            {Data: []byte("flatpak-spawn\x00--host\x00tunhook\x00start\x00a b\x00")},
		"12/cmdline":            {Data: []byte("flatpak-spawn\x00--watch-bus\x00--host\x00tunhook\x00start\x00a b\x00")},
		"12/root/.flatpak-info": {Data: []byte(flatpakInfo)},
		"14/cmdline":            {Data: []byte("flatpak-spawn\x00--sandbox\x00tunhook\x00inside\x00")},
		"14/root/.flatpak-info": {Data: []byte(flatpakInfo)},
		"13/cmdline":            {Data: []byte("tunhook\x00start\x00a b\x00")},
		"self/cmdline":          {Data: nil},
		"uptime":                {Data: []byte("1.0 2.0\n")},
	}}
	for _, program := range []string{"tunhook", "/home/ann/tunhook, which a script called"} {
		s, ok := h.Caller([]string{program, "start", "a b"})
		if !ok || s.InstanceID != "269505497" || s.AppID != "org.remmina.Remmina" {
			t.Errorf("%s: got %+v, %v", program, s, ok)
		}
	}
	for _, argv := range [][]string{{"tunhook", "start"}, {"tunhook", "inside"}} {
		if s, ok := h.Caller(argv); ok {
			t.Errorf("found %+v for %q, which no sandbox waits for", s, argv)
		}
	}
}
