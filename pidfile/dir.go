package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/tunhook/tunhook/pidfile/process"
)

// Dir is a private directory of records: a real directory, ours, with mode 0700.
type Dir struct {
	path   string
	others []string // see Beside
}

// DirError says why a directory cannot be trusted with records, and what would help.
type DirError struct {
	Path   string
	Reason string // what is wrong with it
	Hint   string // what the user can do
}

func (e *DirError) Error() string { return fmt.Sprintf("%s %s: %s", e.Path, e.Reason, e.Hint) }

// PrivateDir insists that the directory path, and its parent where parentToo says so, are private, and creates path (not its
// parent's parents) with mode 0700 where create says so. Without create a missing directory is no error: there are no records
// then. The path must be absolute. Errors are *DirError or those of the system.
func PrivateDir(path string, parentToo, create bool) (Dir, error) {
	if !filepath.IsAbs(path) {
		return Dir{}, fmt.Errorf("pidfile: %q is not an absolute path", path)
	}
	d := Dir{path: filepath.Clean(path)}
	if parentToo {
		if err := checkPrivate(filepath.Dir(d.path)); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return Dir{}, &DirError{filepath.Dir(d.path), "does not exist", "log in again, or create it with mode 0700"}
			}
			return Dir{}, err
		}
	}
	if create {
		if err := makePrivate(d.path, !parentToo); err != nil {
			return Dir{}, err
		}
	}
	if err := checkPrivate(d.path); err != nil && (create || !errors.Is(err, fs.ErrNotExist)) {
		return Dir{}, err
	}
	return d, nil
}

// Beside adds directories in which records may be that were made where the environment named another place. One that is not
// there, or not private, holds none. New records are made in d.
func (d Dir) Beside(paths ...string) Dir {
	for _, path := range paths {
		if other := filepath.Clean(path); other != d.path && checkPrivate(other) == nil {
			d.others = append(d.others, other)
		}
	}
	return d
}

// home is the one directory in which the record of key is, or is to be made.
func (d Dir) home(key Key) Dir {
	for _, path := range append([]string{d.path}, d.others...) {
		home := Dir{path: path}
		if _, err := os.Lstat(home.recordPath(key)); err == nil {
			return home
		}
	}
	return Dir{path: d.path}
}

// Path is the directory's absolute path.
func (d Dir) Path() string { return d.path }

func makePrivate(path string, parents bool) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parents {
		err = os.MkdirAll(path, 0o700)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return &DirError{path, "cannot be created (" + reason(err) + ")", "make " + filepath.Dir(path) + " writable for you"}
	}
	return fmt.Errorf("creating %s: %w", path, underlying(err))
}

func checkPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &DirError{path, "is a symbolic link", "it must be a directory of its own; remove the link"}
	case !info.IsDir():
		return &DirError{path, "is not a directory", "move it away"}
	}
	if uid, ok := ownerOf(info); ok && uid != os.Geteuid() {
		return &DirError{path, fmt.Sprintf("belongs to uid %d, not to you (uid %d)", uid, os.Geteuid()), "run tunhook as that user, or use a directory of yours"}
	}
	if perm := info.Mode().Perm(); perm != 0o700 {
		return &DirError{path, fmt.Sprintf("has mode %04o", perm), "others must not reach it: chmod 0700 " + path}
	}
	return nil
}

// ownerOf tells the numeric owner of a file; ok is false where the system has none.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// Entry is one record file found by List. Err is a *BadRecordError where the file holds no usable record, and an *ElsewhereError where
// the record's tunnel cannot be seen from here.
type Entry struct {
	Record Record
	Err    error
}

// List reads every record in the directory, without locks, in the order of their names. A missing directory holds none.
func (d Dir) List() ([]Entry, error) { return d.list("") }

// ListRoute reads every record of that route, whatever its listen address; files that hold no usable record are passed over. The error
// is an *ElsewhereError where one of its tunnels cannot be seen from here.
func (d Dir) ListRoute(route string) ([]Record, error) {
	entries, err := d.list(slug(route))
	var records []Record
	for _, e := range entries {
		if e.Record.Route != route {
			continue
		}
		if e.Err == nil {
			records = append(records, e.Record)
		} else if errors.As(e.Err, new(*ElsewhereError)) {
			err = errors.Join(err, e.Err)
		}
	}
	return records, err
}

// list reads the records whose names have a prefix.
func (d Dir) list(prefix string) ([]Entry, error) {
	entries, err := Dir{path: d.path}.listOne(prefix)
	for _, path := range d.others {
		more, otherErr := Dir{path: path}.listOne(prefix)
		entries, err = append(entries, more...), errors.Join(err, otherErr)
	}
	return entries, err
}

func (d Dir) listOne(prefix string) ([]Entry, error) {
	names, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	here := sync.OnceValues(process.Here) // among thousands of records it counts
	for _, n := range names {
		if !strings.HasPrefix(n.Name(), prefix) || !IsRecord(n.Name()) {
			continue
		}
		path := filepath.Join(d.path, n.Name())
		rec, err := readRecord(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err == nil && d.recordPath(rec.Key()) != path {
			err = otherKey(path, rec)
		}
		if err == nil {
			err = rec.elsewhere(path, here)
		}
		entries = append(entries, Entry{rec, err})
	}
	return entries, nil
}

// reason is the system's own word for an error, without the call and the path that messages name otherwise.
func reason(err error) string { return underlying(err).Error() }

func underlying(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
