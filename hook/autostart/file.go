package autostart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/google/renameio/v2"
	"github.com/tunhook/tunhook/pidfile"
)

// FileError says what keeps an entry's file or directory from being used, and what would help.
type FileError struct {
	Path   string
	Reason string
	Hint   string
}

func (e *FileError) Error() string { return fmt.Sprintf("%s %s: %s", e.Path, e.Reason, e.Hint) }

// TextError says that something cannot be written into an entry.
type TextError struct{ Text string }

func (e *TextError) Error() string {
	return fmt.Sprintf("%q is not UTF-8, which no unit and no desktop entry can hold: write it otherwise", e.Text)
}

// file is one file of an entry, or the link that enables its socket.
type file struct {
	path, text string
	link       string // what it leads to; text is empty then
}

// files are the entry's files in the order in which they are written: what comes first does nothing by itself.
func (s Store) files(e Entry) []file {
	if e.By == ByDesktop {
		return []file{{path: filepath.Join(s.DesktopDir(), e.Name()+desktopSuffix), text: e.desktopEntry()}}
	}
	socket := filepath.Join(s.UnitDir(), e.Socket())
	return []file{
		{path: filepath.Join(s.UnitDir(), e.Service()), text: e.serviceUnit()},
		{path: socket, text: e.socketUnit()},
		{path: filepath.Join(s.wantsDir(), e.Socket()), link: socket},
	}
}

// Wrote says which files of an entry were not there, or not so.
type Wrote struct {
	Any    bool
	Socket bool // the socket unit, which was there and said something else
}

// Check tells what keeps the entry from being written: somebody else's file in its place, or a directory that is no place for it. The
// error is a *FileError or a *TextError. Nothing is changed.
func (s Store) Check(e Entry) error {
	for _, text := range append(append([]string{e.Program}, e.Args...), e.Environ...) {
		if !utf8.ValidString(text) {
			return &TextError{text}
		}
	}
	for _, f := range s.files(e) {
		if err := s.checkDirs(filepath.Dir(f.path)); err != nil {
			return err
		}
		if _, err := f.state(); err != nil {
			return explain(err, "move it away, or choose another listen address")
		}
	}
	return nil
}

// checkDirs wants the directory, and those between it and ConfigHome, to be real ones: what is written through a link may end up
// among the files of a repository, or of another machine.
func (s Store) checkDirs(dir string) error {
	for ; dir != s.ConfigHome && dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case isNone(err):
		case err != nil:
			return &FileError{dir, "cannot be looked at (" + reason(err) + ")", "make it a directory that you can write to"}
		case info.Mode()&fs.ModeSymlink != 0:
			return &FileError{dir, "is a symbolic link", "make it a directory of its own, into which tunhook may write"}
		case !info.IsDir():
			return &FileError{dir, "is not a directory", "move it away"}
		}
	}
	return nil
}

// state tells whether the file is there as it should be. The error says that it is somebody else's.
func (f file) state() (same bool, err error) {
	info, err := os.Lstat(f.path)
	if isNone(err) {
		return false, nil
	}
	if err != nil {
		return false, &FileError{f.path, "cannot be looked at (" + reason(err) + ")", "make it readable for you"}
	}
	if f.link != "" {
		if info.Mode()&fs.ModeSymlink == 0 {
			return false, &foreignError{f.path}
		}
		to, err := os.Readlink(f.path)
		return err == nil && to == f.link, nil
	}
	if !info.Mode().IsRegular() {
		return false, &foreignError{f.path}
	}
	text, err := readOwn(f.path)
	var others *pidfile.FileError
	if errors.As(err, &others) && others.Err == nil {
		return false, &foreignError{f.path}
	}
	if err != nil {
		return false, &FileError{f.path, "cannot be read (" + reason(err) + ")", "make it readable for you"}
	}
	if !bytes.HasPrefix(text, []byte(marker)) {
		return false, &foreignError{f.path}
	}
	return string(text) == f.text && info.Mode().Perm() == fileMode, nil
}

// readOwn reads a regular file of ours.
func readOwn(path string) ([]byte, error) {
	f, err := pidfile.OpenOwn(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// foreignError says, within this package, that a file is not ours.
type foreignError struct{ path string }

func (e *foreignError) Error() string { return e.path + " was not made by tunhook" }

// explain says what to do about a file of somebody else's.
func explain(err error, hint string) error {
	var foreign *foreignError
	if errors.As(err, &foreign) {
		return &FileError{foreign.path, "was not made by tunhook", hint}
	}
	return err
}

// Files are private: the arguments of a tunnel program are nobody else's affair.
const fileMode = 0o600

// Write makes the entry's files what they should be, each at once or not at all, and leaves alone those that are so. Errors are those
// of Check.
func (s Store) Write(e Entry) (Wrote, error) {
	var wrote Wrote
	if err := s.Check(e); err != nil {
		return wrote, err
	}
	for _, f := range s.files(e) {
		same, err := f.state()
		if err != nil {
			return wrote, err
		}
		if same {
			continue
		}
		_, statErr := os.Lstat(f.path)
		wrote.Socket = wrote.Socket || statErr == nil && f.link == "" && filepath.Ext(f.path) == socketSuffix
		wrote.Any = true
		if err := f.write(); err != nil {
			return wrote, err
		}
	}
	return wrote, nil
}

func (f file) write() error {
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &FileError{dir, "cannot be created (" + reason(err) + ")", "make its parent writable for you"}
	}
	removeTemporary(filepath.Dir(f.path), filepath.Base(f.path))
	var err error
	if f.link != "" {
		os.Remove(f.path)
		err = os.Symlink(f.link, f.path)
	} else {
		err = renameio.WriteFile(f.path, []byte(f.text), fileMode, renameio.WithTempDir(dir), renameio.IgnoreUmask())
	}
	if err != nil {
		return &FileError{dir, "cannot be written to (" + reason(err) + ")", "make it writable for you"}
	}
	return nil
}

// removeTemporary removes what a process has left that was killed while it wrote a file whose name begins so. The caller is the only
// one that writes.
func removeTemporary(dir, name string) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), "."+name) && isTemporary(n.Name()) {
			os.Remove(filepath.Join(dir, n.Name()))
		}
	}
}

// isTemporary tells whether renameio makes such names, which end in digits. Those of editors are others.
func isTemporary(name string) bool {
	whole := strings.TrimRight(name, "0123456789")
	return whole != name && slices.Contains([]string{serviceSuffix, socketSuffix, desktopSuffix}, filepath.Ext(whole))
}

// Remove removes the entry's files, what a killed process has left of them too, and the directories that are empty then, and tells
// whether there was one. The error is a *FileError, also for somebody else's file in the place of one of them: nothing is removed
// then.
func (s Store) Remove(e Entry) (removed bool, err error) {
	files := s.files(e)
	for _, f := range files {
		if _, err := f.state(); err != nil {
			return false, explain(err, "remove it yourself, if that is what you want")
		}
	}
	for _, f := range slices.Backward(files) {
		removeTemporary(filepath.Dir(f.path), filepath.Base(f.path))
		switch err := os.Remove(f.path); {
		case err == nil:
			removed = true
		case !isNone(err):
			return removed, &FileError{f.path, "cannot be removed (" + reason(err) + ")", "make its directory writable for you"}
		}
		s.removeEmpty(filepath.Dir(f.path))
	}
	return removed, nil
}

// Sweep removes what processes that were killed as they wrote entries have left, whichever entries those were: temporary files, and
// directories that are empty. The caller is the only one that writes.
func (s Store) Sweep() {
	for _, dir := range []string{s.wantsDir(), s.UnitDir(), s.DesktopDir()} {
		removeTemporary(dir, prefix)
		s.removeEmpty(dir)
	}
}

// removeEmpty removes a directory below ConfigHome and those above it, as far as they are empty. One that is not there may have been
// removed, or not made yet, by a process that was killed before it got to the next. A link to a directory is the user's, and stays.
func (s Store) removeEmpty(dir string) {
	for ; dir != s.ConfigHome; dir = filepath.Dir(dir) {
		if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}

// isNone tells whether an error says that there is no such file.
func isNone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// reason is the system's own word for an error, without the call and the path that messages name otherwise.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
