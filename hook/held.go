package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/sys/unix"
)

// Whoever has signed in before need not do so now, and then a tunnel program is to be launched only once. So a start tries that first,
// with the program at its own address and its pages held back: the commands that open a page wait to be told whether they may. Where one
// is to be opened, nobody gets to see it, and the program is ended and launched once more, at a private address.

// pageVariable names the file by which a start holds pages back: it has it locked for as long as it is not known whether they may be
// opened. However the start ends, the lock ends with it, and nobody is held back by it any more.
const pageVariable = "TUNHOOK_PAGES"

// heldName is the name of that file, beside the commands that look at it.
const heldName = "held"

// What the file holds: that pages are held back, and then a mark of each who wants to open one. It is empty where they may be opened,
// since that takes no room on the disk.
const (
	pagesHeld  = "."
	pageWanted = "?"
)

// heldPages are the pages of a tunnel program that is tried. A nil one holds nothing back.
type heldPages struct {
	file    *os.File // locked until it is known that pages may be opened
	decided bool     // it is known whether they may be
	freed   bool     // they may, and the file has no name any more
}

// holdPages has the pages of a program that is about to be launched at that address held back, and tells whether that can be done.
func (s *start) holdPages(at netip.AddrPort) bool {
	program, err := s.program(at)
	if err != nil || !s.route.Provider.OpensByName(program.own) {
		return false
	}
	held, err := s.holdPagesOf(s.key)
	if err != nil {
		return false
	}
	s.held = held
	return true
}

// holdPagesOf has the pages held back of the program that is about to be launched for a key's tunnel.
func (h *Env) holdPagesOf(key pidfile.Key) (*heldPages, error) {
	dir, err := pidfile.PrivateDir(h.browserDir(key), false, true)
	if err != nil {
		return nil, err
	}
	file, err := pidfile.OpenOwn(filepath.Join(dir.Path(), heldName), os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	if err := begin(file); err != nil {
		file.Close()
		return nil, err
	}
	return &heldPages{file: file}, nil
}

// begin has the file say that pages are held back. The error says that another start does so with it, or has just removed it, or that
// there is no room.
func begin(file *os.File) error {
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	locked, err := file.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Lstat(file.Name()); err != nil || !os.SameFile(locked, named) {
		return errors.Join(err, fs.ErrNotExist)
	}
	if err := file.Truncate(0); err != nil { // a start that was killed may have left it
		return err
	}
	_, err = io.WriteString(file, pagesHeld)
	return err
}

// mayOpenPage tells a command that opens a page whether it may, which takes until that is known. Where no start holds pages back any
// more, the tunnel is in use.
func mayOpenPage(environ []string) bool {
	path := tunnel.Getenv(environ, pageVariable)
	if path == "" {
		return true
	}
	file, err := pidfile.OpenOwn(path, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return true
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return true
	}
	_, _ = io.WriteString(file, pageWanted) // otherwise the log tells
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_SH); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	text, _ := io.ReadAll(io.NewSectionReader(file, 0, mostAsked))
	return !strings.Contains(string(text), pagesHeld) // a start that was killed, or has launched another program, waits for nobody
}

// environ is what makes the program's pages be held back.
func (h *heldPages) environ() []string {
	if !h.holding() {
		return nil
	}
	return []string{pageVariable + "=" + h.file.Name()}
}

func (h *heldPages) holding() bool { return h != nil && !h.decided }

// wanted tells whether a page is to be opened that is held back.
func (h *heldPages) wanted() bool {
	if !h.holding() {
		return false
	}
	info, err := h.file.Stat()
	return err == nil && info.Size() > int64(len(pagesHeld))
}

// free lets pages be opened, now and later.
func (h *heldPages) free() {
	if !h.holding() {
		return
	}
	h.decided, h.freed = true, true
	_ = h.file.Truncate(0)
	_ = os.Remove(h.file.Name()) // before the lock goes: the next start has one of its own
	_ = unix.Flock(int(h.file.Fd()), unix.LOCK_UN)
}

// keep keeps them from being opened for good.
func (h *heldPages) keep() { h.decided = true }

// close ends it. The program has ended, or may open pages.
func (h *heldPages) close() {
	if h == nil {
		return
	}
	h.decided = true
	if !h.freed {
		_ = os.Remove(h.file.Name())
	}
	h.file.Close()
}

// errAsksSignIn says that a program that is tried has asked for a sign-in.
var errAsksSignIn = errors.New("the tunnel program asks for a sign-in")

// openerPatience is how long after a program has logged a page its command to open it is expected. It takes longer on a very busy
// machine; and some program opens its pages in another way after all.
const openerPatience = 2 * time.Second

// tryOver tells whether a program that is tried has asked for a sign-in in such a way that it is launched once more. One that asks
// before it listens is left to it, since no client can ask for another; so is one whose page is open already, as it seems, or that
// serves a client.
func (q *question) tryOver() bool {
	if !q.held.holding() || q.asksFrom.IsZero() && !q.held.wanted() {
		return false
	}
	switch {
	case q.listening:
		if !tunnel.Listening(q.rec.Address, q.rec.Session()) {
			q.freePages()
		}
		return false // otherwise somebody has connected already: that is told as soon as it is asked for an answer
	case !q.held.wanted():
		if time.Since(q.asksFrom) > openerPatience {
			q.freePages()
		}
		return false
	}
	clients, err := sessions(q.rec)
	if err != nil || len(clients) > 0 {
		q.freePages()
		return false
	}
	return true
}

// freePages lets the program go on as it is, and tells where to sign in.
func (q *question) freePages() {
	q.held.free()
	if q.unanswered() {
		q.tell()
	}
}

// letSignIn launches the program once more that has asked for a sign-in, at a private address. It gives that when it listens there, or
// the tunnel's own where the program serves a client by now.
func (s *start) letSignIn(ctx context.Context, q *question) (netip.AddrPort, error) {
	served := false
	rec, err := s.updateUnlessStopped(ctx, q.rec, func(tx *transaction) (err error) {
		if clients, err := sessions(tx.rec); err != nil || len(clients) > 0 { // somebody was quicker than the lock
			served = true
			return nil
		}
		s.held.keep()
		if err := endProcesses(tx.rec, deadGrace); err != nil {
			return err
		}
		s.strikePages(tx.rec)
		if s.private, err = s.privateAddress(tx.rec.Address); err != nil {
			return err
		}
		tx.rec.Tried, tx.rec.Starter = false, s.self
		return s.launchAgain(tx, s.private, "asks for a sign-in")
	})
	if err != nil {
		return rec.Address, err
	}
	if served {
		q.freePages()
		return rec.Address, nil
	}
	q.rec = rec
	q.forget()
	if err := q.listens(ctx, s.private); err != nil {
		return s.private, q.failure(err)
	}
	return s.private, nil
}

// strikePages takes the pages out of the log that have died with the program: somebody may look for one there.
func (s *start) strikePages(rec pidfile.Record) {
	log, err := pidfile.OpenOwn(rec.Log, os.O_RDWR)
	if err != nil {
		return
	}
	defer log.Close()
	_ = s.route.Provider.StrikePages(log, rec.LogFrom) // nothing else depends on it
}

// waitTried waits until it is known whether the program that another start tries is launched once more.
func (s *start) waitTried(ctx context.Context, q *question) error {
	q.what = fmt.Sprintf("for an answer through %s", q.rec.Program)
	now := q.rec
	q.ask = func(ctx context.Context) error {
		for {
			read, err := s.dir.Read(now.Key())
			if err != nil || read.Token != now.Token {
				return nil // what has become of it shows when it is looked for
			}
			if now = read; !now.OnTrial() {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(waitPause):
			}
		}
	}
	q.listening = true // its end is not the end of this wait
	defer func() { q.listening = false }()
	if err := q.await(ctx); err != nil {
		return err
	}
	now.Tried = false
	q.rec = now
	return nil
}
