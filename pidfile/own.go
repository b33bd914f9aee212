package pidfile

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// FileError says why a file is not taken for one of ours.
type FileError struct {
	Path   string
	Reason string
	Err    error // the system's, if it has refused to open the file
}

func (e *FileError) Error() string { return e.Path + " " + e.Reason }
func (e *FileError) Unwrap() error { return e.Err }

// OpenOwn opens a regular file of ours, flag as in open(2), and makes it with mode 0600 where flag says so. It follows no link, and
// waits for nobody: to open a named pipe may take for ever, and a device obeys. The error is a *FileError for what is no such file,
// fs.ErrNotExist, or another of the system. Nothing is cut off before the file is known to be ours.
func OpenOwn(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag&^os.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, &FileError{path, "is a symbolic link", err}
	case errors.Is(err, syscall.EISDIR):
		return nil, &FileError{path, "is not a regular file", err}
	case errors.Is(err, syscall.ENXIO):
		return nil, &FileError{path, "cannot be " + purpose(flag) + ": it is a pipe, a socket or a device", err}
	case errors.Is(err, fs.ErrPermission):
		return nil, &FileError{path, "cannot be " + purpose(flag) + " (" + reason(err) + ")", err}
	case err != nil:
		return nil, err
	}
	err = checkOwn(f)
	if err == nil && flag&os.O_TRUNC != 0 {
		err = f.Truncate(0)
	}
	if err == nil {
		err = unix.SetNonblock(int(f.Fd()), false) // others may inherit it
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func purpose(flag int) string {
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		return "written"
	}
	return "read"
}

func checkOwn(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	uid, known := ownerOf(info)
	switch {
	case !info.Mode().IsRegular():
		return &FileError{f.Name(), "is not a regular file", nil}
	case known && uid != os.Geteuid():
		return &FileError{f.Name(), fmt.Sprintf("belongs to uid %d", uid), nil}
	}
	return nil
}

// armour begins what stands for text that JSON cannot hold: it would change bytes that are no UTF-8.
const armour = "base64:"

// armoured gives text in a form that comes back from JSON as it was. Paths and names of programs may be any bytes.
func armoured(text string) string {
	if utf8.ValidString(text) && !strings.HasPrefix(text, armour) {
		return text
	}
	return armour + base64.StdEncoding.EncodeToString([]byte(text))
}

// unarmoured undoes armoured.
func unarmoured(text string) (string, error) {
	encoded, ok := strings.CutPrefix(text, armour)
	if !ok {
		return text, nil
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	return string(plain), err
}
