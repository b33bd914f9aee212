package hook

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/sys/unix"
)

// wakeups tells that entries of directories have changed, inotify(7), and ends the sleep of whoever waits for that. A directory may be
// made later, or be removed and made again: until then the nearest one above it that is there is watched.
type wakeups struct {
	places []place
	fd     int            // the inotify instance; -1 where there is none
	wants  map[int][]want // what matters, by watch descriptor
	stale  bool           // not the directories are watched any more that are there
	failed bool           // a directory is there that cannot be watched

	over, end *os.File // a pipe whose end is closed when the caller's context is done; nil where there is none
	forget    func() bool
}

// want is what matters of a directory.
type want struct {
	entry func(name string) bool // nil for every entry
	way   bool                   // the entry is on the way to the directory that shall be watched
}

func newWakeups(ctx context.Context, places []place) *wakeups {
	w := &wakeups{places: places, fd: -1, stale: true}
	var err error
	if w.over, w.end, err = os.Pipe(); err == nil {
		w.forget = context.AfterFunc(ctx, func() { w.end.Close() })
	}
	return w
}

func (w *wakeups) close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	if w.over != nil {
		w.forget()
		w.end.Close()
		w.over.Close()
	}
}

// blind tells whether changes may go untold, or the end of the caller's context: then one has to look by oneself.
func (w *wakeups) blind() bool { return w.failed || w.over == nil }

// arm forgets what has changed so far, and watches the directories that are there now.
func (w *wakeups) arm() {
	w.told()
	if !w.stale && !w.failed {
		return
	}
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.wants, w.stale, w.failed = map[int][]want{}, false, false
	var err error
	if w.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		w.fd, w.failed = -1, true
		return
	}
	for _, p := range w.places {
		for !w.watch(p) {
		}
	}
}

// What is told of a directory itself, and of its entries.
const (
	toldOfItself  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_MASK_ADD
	toldOfEntries = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
)

// watch goes down to a directory, so that none is missed that is made meanwhile. Those above are watched for their own end, and the
// last one that is there for the entry that is not. It fails where one was removed meanwhile.
func (w *wakeups) watch(p place) (ok bool) {
	above := string(filepath.Separator)
	names := strings.FieldsFunc(p.dir, func(r rune) bool { return r == filepath.Separator })
	for _, name := range names {
		_ = w.add(above, toldOfItself, want{}) // one that may not be read is there, at least
		next := filepath.Join(above, name)
		if !isDir(next) {
			err := w.add(above, toldOfItself|toldOfEntries, want{func(n string) bool { return n == name }, true})
			w.failed = w.failed || err != nil && !isMissing(err)
			if !isDir(next) {
				return !isMissing(err)
			}
		}
		above = next
	}
	err := w.add(p.dir, toldOfItself|toldOfEntries, want{entry: p.wants})
	if !errors.Is(err, unix.EACCES) { // what may not be read, Status does not read either
		w.failed = w.failed || err != nil && !isMissing(err)
	}
	return !isMissing(err)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() || errors.Is(err, os.ErrPermission)
}

func isMissing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

func (w *wakeups) add(dir string, mask uint32, wants want) error {
	wd, err := unix.InotifyAddWatch(w.fd, dir, mask)
	if err == nil && mask&toldOfEntries != 0 {
		w.wants[wd] = append(w.wants[wd], wants)
	}
	return err
}

// told tells whether something that matters has changed since the last call.
func (w *wakeups) told() bool {
	any := false
	for buf := make([]byte, 4096); w.fd >= 0; {
		n, err := unix.Read(w.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		any = w.take(buf[:n]) || any
	}
	return any
}

// take takes in events, each a struct inotify_event and the name behind it.
func (w *wakeups) take(events []byte) bool {
	any := false
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int(int32(binary.NativeEndian.Uint32(events)))
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:end], []byte{0})
		events = events[end:]
		any = w.matters(wd, mask, string(name)) || any
	}
	return any
}

func (w *wakeups) matters(wd int, mask uint32, name string) bool {
	const gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED
	if mask&(gone|unix.IN_Q_OVERFLOW) != 0 { // overflow: there was no room for all that was to be told
		w.stale = true
		return true
	}
	if name == "" { // its mode, perhaps
		return true
	}
	wanted := false
	for _, want := range w.wants[wd] {
		if want.entry == nil || want.entry(name) {
			wanted = true
			w.stale = w.stale || want.way
		}
	}
	return wanted
}

// sleep returns when something that matters has changed, which it tells, when one of the processes or a socket has ended, when the
// caller's context is done, or after that time.
func (w *wakeups) sleep(processes []*process.Process, ends *tunnel.SocketEnds, d time.Duration) (told bool) {
	also := []int{w.fd}
	if w.over != nil {
		also = append(also, int(w.over.Fd()))
	}
	if ends != nil {
		also = append(also, ends.FD())
	}
	process.WaitAny(processes, d, slices.DeleteFunc(also, func(fd int) bool { return fd < 0 })...)
	return w.told()
}
