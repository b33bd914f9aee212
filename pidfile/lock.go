package pidfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nightlyone/lockfile"
	"golang.org/x/sys/unix"
)

// Lock is the right to change one key's record. Two files make it: an flock(2) on NAME.flock decides, and NAME.lock, a lock
// file in the usual form, says who holds it. The lock file alone would not do: taking over a stale one is a race between
// processes, and a reused pid looks like an owner for ever. While the flock is held any lock file found is stale.
//
// A process that is forked while the lock is held shares the flock until its exec closes the descriptor: should the launching process
// be killed in between, the lock is not free again before the launched program is really there.
type Lock struct {
	dir   Dir
	key   Key
	flock *os.File
	owner string // the lock file's path; "" where there is none
}

// BusyError says that another process held the lock for as long as the caller was willing to wait.
type BusyError struct {
	PID int // the holder, 0 where it is not known
}

func (e *BusyError) Error() string {
	if e.PID == 0 {
		return "another tunhook is working on this tunnel"
	}
	return fmt.Sprintf("another tunhook (pid %d) is working on this tunnel", e.PID)
}

// Bounds of the pause between two attempts to get a lock that another process holds, usually for under a millisecond. A hundred
// that wait for it must not take all the time of the one that has it. None of them blocks in the kernel: behind one that is frozen
// the others would wait as well.
const (
	minLockPause = 500 * time.Microsecond
	maxLockPause = 100 * time.Millisecond
)

// Lock waits for the lock of key until ctx is done; the error is a *BusyError after its deadline, and that of ctx where it was
// cancelled.
func (d Dir) Lock(ctx context.Context, key Key) (*Lock, error) {
	for pause := minLockPause; ; pause = min(2*pause, maxLockPause) {
		d := d.home(key)
		l, err := d.tryLock(key)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return l, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, d.busy(key)
		case <-time.After(pause):
		}
	}
}

// LockIfUsed is Lock, except that it gives nil where the key has neither a record nor anybody who is making one.
func (d Dir) LockIfUsed(ctx context.Context, key Key) (*Lock, error) {
	home := d.home(key)
	for _, path := range []string{home.flockPath(key), home.recordPath(key)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return d.Lock(ctx, key)
		}
	}
	return nil, nil
}

const flockSuffix = ".flock"

func (d Dir) flockPath(key Key) string { return filepath.Join(d.path, key.Name()+flockSuffix) }
func (d Dir) ownerPath(key Key) string { return filepath.Join(d.path, key.Name()+".lock") }

func (d Dir) busy(key Key) error {
	pid := 0
	path := d.ownerPath(key)
	signed, err := OpenOwn(path, os.O_RDONLY) // what is no such file lockfile might wait for
	if err != nil {
		return &BusyError{}
	}
	signed.Close()
	if owner, err := lockfile.New(path); err == nil {
		if p, err := owner.GetOwner(); err == nil {
			pid = p.Pid
		}
	}
	return &BusyError{pid}
}

// tryLock gives unix.EWOULDBLOCK where another process has the lock.
func (d Dir) tryLock(key Key) (*Lock, error) {
	path := d.flockPath(key)
	f, err := openLock(path)
	if err != nil {
		return nil, fmt.Errorf("lock file %w", err)
	}
	l := &Lock{dir: d, key: key, flock: f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	if !l.current() {
		f.Close() // its holder removed it when it was done: what we have locked is no longer the lock
		return nil, unix.EWOULDBLOCK
	}
	l.sign()
	return l, nil
}

// openLock opens the file that the flock is on. Where nothing can be written any more a tunnel can still be ended; where it can, the
// file is opened for writing, without which NFS gives no such lock, flock(2).
func openLock(path string) (*os.File, error) {
	f, err := OpenOwn(path, os.O_RDWR|os.O_CREATE)
	if errors.Is(err, unix.EROFS) {
		f, err = OpenOwn(path, os.O_RDONLY)
	}
	var notOurs *FileError
	if err == nil || errors.As(err, &notOurs) {
		return f, err
	}
	return nil, fmt.Errorf("%s: %w", path, underlying(err))
}

// current tells whether the lock is one still. Where its file was removed, with the whole directory perhaps, what stands in its place is
// another's, and so is the record.
func (l *Lock) current() bool { return isAt(l.flock, l.dir.flockPath(l.key)) }

// isAt tells whether an open file is the one that has that path now.
func isAt(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(held, named)
}

// sign says who has the lock. That is for people: where it cannot be said, for want of space above all, the lock is no less held,
// and a stop must still be able to end its tunnel.
func (l *Lock) sign() {
	path := l.dir.ownerPath(l.key)
	owner, err := lockfile.New(path)
	if err != nil {
		return
	}
	os.Remove(path) // whatever is there is stale
	if owner.TryLock() == nil {
		l.owner = path
	}
}

// Key is the key that the lock is of.
func (l *Lock) Key() Key { return l.key }

// File is the open file that the flock is on. A program that has inherited it keeps others from getting the lock until it has ended,
// should the process that holds the lock be killed before.
func (l *Lock) File() *os.File { return l.flock }

// Sweep removes what processes have left that were killed as they signed the lock: nobody else makes such a file while it is held.
// It reads the whole directory, so it is for locks that are rarely taken.
func (l *Lock) Sweep() {
	left, _ := filepath.Glob(l.dir.ownerPath(l.key) + ".*") // names have no special characters
	for _, path := range left {
		os.Remove(path)
	}
}

// Unlock gives the lock back and, where the key has no record, removes the files that made it.
func (l *Lock) Unlock() error {
	if !l.current() {
		return unlock(l.flock)
	}
	var err error
	if l.owner != "" {
		err = os.Remove(l.owner) // ours: whoever else would replace it would have to hold the flock
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // it is for people, and one of them has removed it
		}
	}
	if _, statErr := os.Lstat(l.dir.recordPath(l.key)); errors.Is(statErr, fs.ErrNotExist) {
		os.Remove(l.dir.recordPath(l.key) + tempSuffix) // of one who was killed at writing
		os.Remove(l.dir.flockPath(l.key))               // still held: whoever waits for it sees that its name is gone
	}
	return errors.Join(err, unlock(l.flock))
}

// unlock gives an flock back and closes its file. Closing alone would not do: a process that is just being forked for something else
// has the file too, until its exec.
func unlock(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// Read reads the record as Dir.Read does; nobody else changes it while the lock is held.
func (l *Lock) Read() (Record, error) { return l.dir.Read(l.key) }

var errLost = errors.New("the file of its lock was removed meanwhile")

// WriteError says that a record was not written: what was there before is there still.
type WriteError struct {
	Path string
	Err  error // a *BadRecordError where it could not be read again, or one of the system
}

func (e *WriteError) Error() string { return fmt.Sprintf("writing record %s: %v", e.Path, e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }

// TooLargeError says that a record would be larger than what is read again.
type TooLargeError struct {
	Holders int // of the record, which are the most of it
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("it would be larger than %d KiB, with %d processes that the tunnel is to end with", maxRecordSize>>10, e.Holders)
}

// Write puts rec in the place of the key's record, at once or not at all, and nothing that could not be read again. It does not
// sync: a record is of no use after the machine went down, when its boot id is wrong. The error is a *WriteError.
func (l *Lock) Write(rec Record) error {
	rec.Version, rec.Route, rec.Listen = RecordVersion, l.key.Route, l.key.Listen
	path := l.dir.recordPath(l.key)
	data, err := formatRecord(rec)
	if err == nil && len(data) > maxRecordSize {
		err = &TooLargeError{len(rec.EndWith)}
	}
	if err == nil {
		var back Record
		if back, err = parseRecord(path, data); err == nil && back.Key() != l.key {
			err = otherKey(path, back) // JSON has changed what is no UTF-8
		}
	}
	if err == nil && !l.current() {
		err = errLost
	}
	if err == nil {
		err = replaceFile(path, data)
	}
	if err != nil {
		return &WriteError{path, underlying(err)}
	}
	return nil
}

const tempSuffix = ".tmp"

// replaceFile uses one temporary name a file, so that what a killed process left is overwritten by the next.
func replaceFile(path string, data []byte) error {
	temp := path + tempSuffix
	f, err := OpenOwn(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

// Remove removes the record, if there is one.
func (l *Lock) Remove() error {
	if !l.current() {
		return nil // it went with the lock
	}
	path := l.dir.recordPath(l.key)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing record %s: %w", path, underlying(err))
	}
	return nil
}

// SetAside renames whatever stands in the place of the record, so that nothing is lost, and returns its new path.
func (l *Lock) SetAside(now time.Time) (string, error) {
	return setAside(l.dir.recordPath(l.key), now)
}

func setAside(path string, now time.Time) (string, error) {
	aside := fmt.Sprintf("%s.bad-%s", path, now.UTC().Format("20060102T150405.000000000"))
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("setting record %s aside: %w", path, underlying(err))
	}
	return aside, nil
}
