package remmina

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// file is a profile as it was read.
type file struct {
	path   string // as the user named it
	target string // the file itself, where path is a symbolic link
	info   fs.FileInfo
	keys   *keyFile
}

// open reads a profile that Remmina could open too. Its errors are *FileError.
func open(path string) (*file, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	f, err := os.OpenFile(target, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe would be waited for
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, notAProfile(path, fmt.Errorf("it is no regular file (%s)", info.Mode()))
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, unreadable(path, err)
	}
	keys := parseKeyFile(string(data))
	if err := keys.err(); err != nil {
		return nil, notAProfile(path, err)
	}
	return &file{path: path, target: target, info: info, keys: keys}, nil
}

func unreadable(path string, err error) error {
	// The path is named in front already.
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	hint := "name a profile that you can read"
	if errors.Is(err, fs.ErrNotExist) {
		hint = "name a .remmina file, or a profile as Remmina lists it"
	}
	return &FileError{Path: path, Hint: hint, Err: fmt.Errorf("cannot be read: %w", err)}
}

func notAProfile(path string, err error) error {
	return &FileError{Path: path, Hint: "name a .remmina file that Remmina itself opens", Err: fmt.Errorf("not a Remmina profile: %w", err)}
}

// save puts the file's present keys in its place, at once and whole, with the mode and the owner it had. Its error is a *WriteError.
func (f *file) save() error {
	if err := f.replace(); err != nil {
		return &WriteError{Path: f.path, Err: err}
	}
	return nil
}

func (f *file) replace() error {
	// A rename would replace a read-only file without asking.
	if f.info.Mode().Perm()&0o200 == 0 {
		return fs.ErrPermission
	}
	// Within the same directory, since $TMPDIR may be another file system, or others' to look into.
	pending, err := renameio.NewPendingFile(f.target,
		renameio.WithTempDir(filepath.Dir(f.target)), renameio.WithStaticPermissions(f.info.Mode().Perm()))
	if err != nil {
		return err
	}
	defer func() { _ = pending.Cleanup() }() // does nothing after the replacement
	if err := keepOwner(pending.File, f.info); err != nil {
		return err
	}
	if _, err := pending.WriteString(f.keys.String()); err != nil {
		return err
	}
	return pending.CloseAtomicallyReplace()
}

// removeTemporary removes what a process that was killed while it saved the profile has left. The caller is the only one that saves.
func removeTemporary(path string) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return
	}
	entries, err := os.ReadDir(filepath.Dir(target))
	if err != nil {
		return
	}
	for _, e := range entries {
		random, ours := strings.CutPrefix(e.Name(), "."+filepath.Base(target))
		if _, err := strconv.ParseUint(random, 10, 64); ours && err == nil && e.Type().IsRegular() {
			os.Remove(filepath.Join(filepath.Dir(target), e.Name()))
		}
	}
}

// keepOwner matters to root, whose new files would be root's.
func keepOwner(to *os.File, from fs.FileInfo) error {
	info, err := to.Stat()
	if err != nil {
		return err
	}
	want, wantKnown := from.Sys().(*syscall.Stat_t)
	have, haveKnown := info.Sys().(*syscall.Stat_t)
	if !wantKnown || !haveKnown || want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return to.Chown(int(want.Uid), int(want.Gid))
}
