package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SetAside renames a file that List has found to be no record, and gives its new path. It gives "" where the file is gone, is a record
// by now, or one that a newer tunhook has written. The error is a *BusyError where somebody is working on it.
func (d Dir) SetAside(path string, now time.Time) (aside string, err error) {
	name, ok := strings.CutSuffix(path, recordSuffix)
	if dir := filepath.Dir(path); !ok || dir != d.path && !slices.Contains(d.others, dir) {
		return "", fmt.Errorf("pidfile: %q is not the path of a record", path)
	}
	lock, err := openLock(name + flockSuffix)
	if err != nil {
		return "", fmt.Errorf("lock file %w", err)
	}
	defer func() { _ = unlock(lock) }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil || !isAt(lock, name+flockSuffix) {
		return "", &BusyError{}
	}
	if isBad(path) {
		aside, err = setAside(path, now)
	}
	if _, statErr := os.Lstat(path); errors.Is(statErr, fs.ErrNotExist) {
		os.Remove(name + recordSuffix + tempSuffix)
		os.Remove(name + flockSuffix) // still held: whoever waits for it sees that its name is gone
	}
	return aside, err
}

// isBad tells whether a file is there that is no record of its name's, and that no tunhook can make use of.
func isBad(path string) bool {
	rec, err := readRecord(path)
	if err == nil && (Dir{path: filepath.Dir(path)}).recordPath(rec.Key()) != path {
		err = otherKey(path, rec)
	}
	var bad *BadRecordError
	return errors.As(err, &bad) && !bad.Newer
}
