package pidfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/pidfile/process/processtest"
)

// privateTemp is t.TempDir with mode 0700, links in its path resolved.
func privateTemp(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = os.Chmod(path, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrivateDirInsistsOnADirectoryOfOurs(t *testing.T) {
	const chmod = "chmod 0700"
	for name, tc := range map[string]struct {
		make func(path string) error
		want string // in the message, "" for none
	}{
		"private":              {func(p string) error { return os.Mkdir(p, 0o700) }, ""},
		"open to all":          {func(p string) error { return mkdirMode(p, 0o777) }, chmod},
		"open to the group":    {func(p string) error { return mkdirMode(p, 0o750) }, chmod},
		"searchable":           {func(p string) error { return mkdirMode(p, 0o711) }, chmod},
		"sticky, like /tmp":    {func(p string) error { return mkdirMode(p, 0o777|fs.ModeSticky) }, chmod},
		"not even ours":        {func(p string) error { return mkdirMode(p, 0o500) }, chmod},
		"file":                 {func(p string) error { return os.WriteFile(p, nil, 0o700) }, "is not a directory"},
		"named pipe":           {func(p string) error { return syscall.Mkfifo(p, 0o700) }, "is not a directory"},
		"link to a good one":   {func(p string) error { return errors.Join(os.Mkdir(p+".real", 0o700), os.Symlink(p+".real", p)) }, "is a symbolic link"},
		"link to nothing":      {func(p string) error { return os.Symlink(p+".missing", p) }, "is a symbolic link"},
		"link to itself":       {func(p string) error { return os.Symlink(p, p) }, "is a symbolic link"},
		"link, named with a /": {func(p string) error { return errors.Join(os.Mkdir(p+".real", 0o700), os.Symlink(p+".real", p)) }, "is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(privateTemp(t), "records")
			if err := tc.make(path); err != nil {
				t.Fatal(err)
			}
			asked := path
			if strings.HasSuffix(name, "/") {
				asked += "/"
			}
			for _, create := range []bool{false, true} {
				d, err := PrivateDir(asked, true, create)
				checkDirError(t, err, path, tc.want)
				if tc.want == "" && d.Path() != path {
					t.Errorf("path %q, want %q", d.Path(), path)
				}
			}
		})
	}
}

func mkdirMode(path string, mode fs.FileMode) error {
	return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode))
}

func checkDirError(t *testing.T, err error, path, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("unexpected error: %v", err)
		}
		return
	}
	var bad *DirError
	if !errors.As(err, &bad) || bad.Path != path || !strings.Contains(err.Error(), want) || bad.Hint == "" {
		t.Errorf("error %#v, want a DirError of %s with %q and a hint", err, path, want)
	}
}

func TestPrivateDirIsCreatedOnlyWhenAsked(t *testing.T) {
	path := filepath.Join(privateTemp(t), "records")
	d, err := PrivateDir(path, true, false)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := d.List(); err != nil || len(entries) > 0 {
		t.Errorf("a missing directory lists %v, %v", entries, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("looking has created it: %v", err)
	}
	for range 2 {
		if _, err := PrivateDir(path, true, true); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("created as %v, %v", info.Mode(), err)
	}
}

func TestPrivateDirCreatesParentsOnlyWhereTheyNeedNotBePrivate(t *testing.T) {
	root := privateTemp(t)
	path := filepath.Join(root, "state", "tunhook", "run")
	if _, err := PrivateDir(path, false, true); err != nil {
		t.Fatal(err)
	}
	for dir := path; dir != root; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s is %v, %v", dir, info.Mode(), err)
		}
	}
	missing := filepath.Join(root, "run", "user")
	for _, create := range []bool{false, true} {
		_, err := PrivateDir(filepath.Join(missing, "tunhook"), true, create)
		checkDirError(t, err, missing, "does not exist")
	}
}

func TestPrivateDirInsistsOnAPrivateParent(t *testing.T) {
	parent := privateTemp(t)
	path := filepath.Join(parent, "tunhook")
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := PrivateDir(path, true, true)
	checkDirError(t, err, parent, "has mode 0755")
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("created in a directory that others can write to: %v", err)
	}
	if _, err := PrivateDir(path, false, true); err != nil {
		t.Errorf("where the parent does not matter: %v", err)
	}
}

func TestPrivateDirRefusesARelativePath(t *testing.T) {
	for _, path := range []string{"", "records", "./records", "../records"} {
		if _, err := PrivateDir(path, false, false); err == nil {
			t.Errorf("%q was taken", path)
		}
	}
}

// foreign gives path to another user where this one may do so. Where not, a directory that is another's anyway stands in.
func foreign(t *testing.T, path string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return "/proc" // root's, mode 0555: the owner is looked at first
	}
	if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrivateDirRefusesAnothersDirectory(t *testing.T) {
	path := foreign(t, filepath.Join(privateTemp(t), "records"))
	_, err := PrivateDir(path, false, true)
	checkDirError(t, err, path, "belongs to uid")
	_, err = PrivateDir(filepath.Join(path, "tunhook"), true, true)
	checkDirError(t, err, path, "belongs to uid")
}

func TestPrivateDirSaysWhereItCannotBeCreated(t *testing.T) {
	asOrdinaryUser(t, func(t *testing.T) {
		parent := privateTemp(t)
		if err := os.Chmod(parent, 0o500); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(parent, "tunhook")
		_, err := PrivateDir(path, false, true)
		checkDirError(t, err, path, "permission denied")
	})
}

// asOrdinaryUser runs test where permissions count: for root in this test binary again, as nobody.
func asOrdinaryUser(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		test(t)
		return
	}
	temp, err := os.MkdirTemp("/tmp", "tunhook-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	binary := filepath.Join(temp, "test")
	if err := errors.Join(copyFile(binary, "/proc/self/exe"), os.Chmod(temp, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := processtest.Command(t, "")
	cmd.Path, cmd.Dir = binary, temp
	cmd.Args = []string{binary, "-test.run=^" + t.Name() + "$", "-test.count=1"}
	cmd.Env = append(cmd.Env, "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Stdout, cmd.Stderr = nil, nil
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "no tests to run") {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// A record stays where it was made, wherever the environment of whoever looks for it points to.
func TestRecordsBesideAreFoundAndLockedWhereTheyAre(t *testing.T) {
	t.Parallel()
	old, now := testDir(t), testDir(t)
	write := func(d Dir) {
		t.Helper()
		lock, err := d.Lock(t.Context(), testKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(lock.Write(testRecord()), lock.Unlock()); err != nil {
			t.Fatal(err)
		}
	}
	both := now.Beside(old.Path(), now.Path(), filepath.Join(now.Path(), "none"))
	write(old)
	if rec, err := both.Read(testKey); err != nil || rec.Key() != testKey {
		t.Errorf("Read() = %v, %v", rec, err)
	}
	if entries, err := both.List(); err != nil || len(entries) != 1 {
		t.Errorf("List() = %v, %v", entries, err)
	}
	write(both)
	if _, err := now.Read(testKey); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there are two records: %v", err)
	}
	lock, err := both.LockIfUsed(t.Context(), testKey)
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	if other, err := old.tryLock(testKey); err == nil {
		other.Unlock()
		t.Error("whoever looks only there does not see the lock")
	}
	if err := errors.Join(lock.Remove(), lock.Unlock()); err != nil {
		t.Fatal(err)
	}
	write(both)
	if _, err := now.Read(testKey); err != nil {
		t.Errorf("a new record is not made in its own place: %v", err)
	}
}

func TestADirectoryOfOthersHoldsNoRecords(t *testing.T) {
	t.Parallel()
	open := filepath.Join(privateTemp(t), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := testDir(t).Beside(open); len(got.others) > 0 {
		t.Errorf("%s counts, though others may write there", open)
	}
}

// TestRecordOfATunnelThatCannotBeSeenIsLeftAlone: it was written in another namespace, by a container perhaps.
func TestRecordOfATunnelThatCannotBeSeenIsLeftAlone(t *testing.T) {
	t.Parallel()
	here, err := process.Here()
	if err != nil {
		t.Fatal(err)
	}
	d := testDir(t)
	for name, row := range map[string]struct {
		change func(*process.Place)
		hidden bool
	}{
		"the same":               {func(*process.Place) {}, false},
		"unknown":                {func(p *process.Place) { *p = process.Place{} }, false},
		"another boot":           {func(p *process.Place) { *p = process.Place{BootID: "b", PIDs: 1, Network: 2, Clock: 3} }, false},
		"of processes":           {func(p *process.Place) { p.PIDs++ }, true},
		"of networks":            {func(p *process.Place) { p.Network++ }, true},
		"of clocks":              {func(p *process.Place) { p.Clock++ }, here.Clock != 0},
		"of clocks, not known":   {func(p *process.Place) { p.Clock = 0 }, false},
		"of networks, not known": {func(p *process.Place) { p.Network = 0 }, false},
	} {
		rec := testRecord()
		rec.Place = here
		row.change(&rec.Place)
		mustWrite(t, d, rec)
		l := mustLock(t, d, testKey)
		got, err := l.Read()
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
		entries, listErr := d.List()
		_, routeErr := d.ListRoute(testKey.Route)
		if listErr != nil || len(entries) != 1 || got.Place != rec.Place || entries[0].Record.Place != rec.Place {
			t.Errorf("%s: read %+v, listed %+v, %v", name, got, entries, listErr)
			continue
		}
		for _, err := range []error{err, entries[0].Err, routeErr} {
			if errors.As(err, new(*ElsewhereError)) != row.hidden || !row.hidden && err != nil {
				t.Errorf("%s: error %v; is it hidden: %v", name, err, row.hidden)
			}
		}
	}
}
