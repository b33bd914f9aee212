package pidfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// odd are things in the place of a file of ours, each with the word that says what is wrong with it.
var odd = map[string]struct {
	make   func(path string) error
	reason string
}{
	"pipe":      {func(p string) error { return syscall.Mkfifo(p, 0o600) }, "a regular file|is a pipe"},
	"directory": {func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file"},
	"link to a file": {func(p string) error {
		return errors.Join(os.WriteFile(p+".real", nil, 0o600), os.Symlink(p+".real", p))
	}, "symbolic link"},
	"link to nothing": {func(p string) error { return os.Symlink(p+".missing", p) }, "symbolic link"},
	"link to a pipe":  {func(p string) error { return errors.Join(syscall.Mkfifo(p+".real", 0o600), os.Symlink(p+".real", p)) }, "symbolic link"},
	"link to itself":  {func(p string) error { return os.Symlink(p, p) }, "symbolic link"},
	"socket":          {makeSocket, "cannot be"},
}

// inTime gives what f returns, and fails the test where that takes too long.
func inTime[T any](t *testing.T, f func() T) T {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case got := <-done:
		return got
	case <-time.After(deadline):
		t.Fatal("it blocks")
		panic("not reached")
	}
}

func TestOnlyARegularFileOfOursIsOpened(t *testing.T) {
	for name, tc := range odd {
		for how, flag := range map[string]int{
			"to read": os.O_RDONLY, "to append": os.O_WRONLY | os.O_APPEND, "to make": os.O_RDWR | os.O_CREATE, "to replace": os.O_WRONLY | os.O_CREATE | os.O_TRUNC,
		} {
			path := filepath.Join(t.TempDir(), "file")
			if err := tc.make(path); err != nil {
				t.Fatal(err)
			}
			err := inTime(t, func() error {
				f, err := OpenOwn(path, flag)
				if err == nil {
					f.Close()
				}
				return err
			})
			var bad *FileError
			if !errors.As(err, &bad) || !regexp.MustCompile(tc.reason).MatchString(err.Error()) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: error %v, want a FileError that says %q", name, how, err, tc.reason)
			}
			if _, err := os.Lstat(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: the link's target was made: %v", name, how, err)
			}
		}
	}
}

func TestAFileOfOursIsOpenedAsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := OpenOwn(path, os.O_RDONLY); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for _, tc := range []struct {
		flag       int
		text, want string
	}{
		{os.O_WRONLY | os.O_CREATE, "one", "one"},
		{os.O_WRONLY | os.O_APPEND, "two", "onetwo"},
		{os.O_WRONLY | os.O_CREATE | os.O_TRUNC, "3", "3"},
	} {
		f, err := OpenOwn(path, tc.flag)
		if err != nil {
			t.Fatal(err)
		}
		if flags, err := nonblocking(f); err != nil || flags {
			t.Errorf("whoever inherits it does not wait for it: %v, %v", flags, err)
		}
		_, err = f.WriteString(tc.text)
		f.Close()
		if got, readErr := os.ReadFile(path); err != nil || readErr != nil || string(got) != tc.want {
			t.Errorf("%q: %q, %v, %v; want %q", tc.text, got, err, readErr, tc.want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func nonblocking(f *os.File) (bool, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var flags uintptr
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) { flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) })
	if errno != 0 {
		err = errno
	}
	return flags&syscall.O_NONBLOCK != 0, err
}

// TestAnothersFileIsNotCutOff: that it is not ours is found before anything is done to it.
func TestAnothersFileIsNotCutOff(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can open what is another's and of mode 0600
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.WriteFile(path, []byte("theirs"), 0o600), os.Chown(path, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	_, err := OpenOwn(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	var bad *FileError
	if got, _ := os.ReadFile(path); !errors.As(err, &bad) || !strings.Contains(err.Error(), "belongs to uid 65534") || string(got) != "theirs" {
		t.Errorf("error %v, and the file says %q", err, got)
	}
}

// TestALockWhoseFilesAreOddBlocksNobody: where it cannot be had that is said.
func TestALockWhoseFilesAreOddBlocksNobody(t *testing.T) {
	for name, tc := range odd {
		d := testDir(t)
		if err := tc.make(d.flockPath(testKey)); err != nil {
			t.Fatal(err)
		}
		err := inTime(t, func() error {
			_, err := d.tryLock(testKey)
			return err
		})
		if err == nil || !regexp.MustCompile(tc.reason).MatchString(err.Error()) {
			t.Errorf("%s: error %v, want one that says %q", name, err, tc.reason)
		}

		d = testDir(t)
		if err := tc.make(d.ownerPath(testKey)); err != nil {
			t.Fatal(err)
		}
		if err := inTime(t, func() error { return d.busy(testKey) }); err.(*BusyError).PID != 0 {
			t.Errorf("%s: it was taken for a lock file: %v", name, err)
		}
		if err := inTime(t, func() error { return mustLock(t, d, testKey).Unlock() }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
