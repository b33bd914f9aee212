package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// ErrEnded says that the tunnel program ended before its tunnel was ready.
var ErrEnded = errors.New("the tunnel program ended before it listened")

// ElsewhereError says that the tunnel program listens, but not where it was asked to.
type ElsewhereError struct {
	Asked netip.AddrPort
	Got   []netip.AddrPort
}

func (e *ElsewhereError) Error() string {
	got := make([]string, len(e.Got))
	for i, a := range e.Got {
		got[i] = a.String()
		if a.Addr().IsUnspecified() {
			got[i] += " (every interface)"
		}
	}
	return fmt.Sprintf("it listens on %s, not on %s as asked", strings.Join(got, " and "), e.Asked)
}

// UnseenError says that a process of the tunnel cannot be looked into, and that something listens on its address that no process seen
// here does: it cannot be told whether that is the tunnel.
type UnseenError struct {
	Address netip.AddrPort
	PID     int
}

func (e *UnseenError) Error() string {
	return fmt.Sprintf("process %d cannot be looked into, so it cannot be told that it listens on %s", e.PID, e.Address)
}

// Pauses between two looks at the sockets: short while a program is expected to listen within milliseconds, except for the first:
// no program listens as soon as it was executed, and while it is being loaded a look would only slow it down.
const (
	firstPause = 2 * time.Millisecond
	minPause   = 250 * time.Microsecond
	maxPause   = 25 * time.Millisecond
	expecting  = 20 * time.Millisecond
)

// Rest is for how long at least to wait after a look that took so long: on a busy machine a look takes longer, and a hundred that wait
// for one tunnel program must leave it the time to come up.
func Rest(look time.Duration) time.Duration { return min(20*look, time.Second) }

// daemonPatience is for how long a process that a program has left behind, in a session of its own, is given to listen. Until it does
// it may be any daemon that the program has happened to start. On a busy machine it takes seconds to execute two programs; but
// where it is only an agent that ssh has started, this is how much later its failure is told.
const daemonPatience = 3 * time.Second

// hasDaemon tells whether the program has left such a process behind.
func hasDaemon(s process.Session) bool {
	_, err := s.Adopt()
	return err == nil
}

// nextPause is the pause after one, when the wait began at that time and the last look took so long.
func nextPause(pause, look time.Duration, began time.Time) time.Duration {
	if time.Since(began) < expecting {
		return minPause
	}
	return max(min(pause*5/4, maxPause), Rest(look))
}

// WaitListening waits until one of the tunnel's processes listens on addr. Nobody connects to find out: a connection may open
// a browser tab or count as a session. The error is ErrEnded, an *ElsewhereError, an *UnseenError, or the cause of ctx; another one
// says that the processes cannot be told.
func WaitListening(ctx context.Context, addr netip.AddrPort, s process.Session) error {
	program, err := process.Open(s.Leader)
	if errors.Is(err, process.ErrGone) {
		program = nil
	} else if err != nil {
		return err
	} else {
		defer program.Close()
	}
	sockets := newAsker()
	defer sockets.close()
	began, ended := time.Now(), time.Time{}
	unseen := unseenWatch{s, addr, began.Add(unseenPause)}
	var look time.Duration
	for pause := firstPause; ; pause = nextPause(pause, look, began) {
		looked := time.Now()
		switch where := listensOn(sockets, addr, s); {
		case slices.ContainsFunc(where, func(a netip.AddrPort) bool { return same(a, addr) }):
			return nil
		case slices.ContainsFunc(where, func(a netip.AddrPort) bool { return a.Addr().IsUnspecified() }):
			return &ElsewhereError{addr, where}
		}
		if err := unseen.look(sockets); err != nil {
			return err
		}
		look = time.Since(looked)
		if program == nil || program.Wait(pause) {
			if ended.IsZero() {
				ended = time.Now()
			}
			if len(PIDs(s, addr)) == 0 && (time.Since(ended) > daemonPatience || !hasDaemon(s)) {
				return ErrEnded
			}
			time.Sleep(pause) // its children carry on
		}
		if ctx.Err() != nil {
			return elsewhere(addr, s, endOf(ctx))
		}
	}
}

// unseenWatch notices that what listens on the address may be a process of the tunnel's that cannot be looked into.
type unseenWatch struct {
	s    process.Session
	addr netip.AddrPort
	next time.Time // when to look
}

// unseenPause is the pause before the first look and between two: while a program is being executed it may be private for a moment, and
// a look takes its time.
const unseenPause = time.Second

func (u *unseenWatch) look(sockets *asker) error {
	if time.Now().Before(u.next) {
		return nil
	}
	u.next = time.Now().Add(unseenPause)
	found, err := sockets.listening(u.addr)
	found = slices.DeleteFunc(found, func(s socket) bool { return !covers(s.local.Addr(), u.addr.Addr()) })
	if err != nil || len(found) == 0 {
		return nil
	}
	for _, pid := range PIDs(u.s, u.addr) {
		itsUser := func(s socket) bool { return mayHaveMade(pid, s.uid) }
		if _, err := openSockets(pid); !errors.Is(err, fs.ErrPermission) || !slices.ContainsFunc(found, itsUser) {
			continue
		}
		if _, seen := ownerOf(found); !seen {
			return &UnseenError{u.addr, pid}
		}
	}
	return nil
}

// endOf is the error of a context that is done. Its deadline may be the cause only.
func endOf(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Listening tells whether one of the tunnel's processes listens on addr.
func Listening(addr netip.AddrPort, s process.Session) bool {
	found, err := listening(addr)
	return err == nil && oneListens(found, addr, s)
}

// Members opens every process of the tunnel that serves addr, except the calling one. The caller closes them. An error says that
// they cannot be told.
func Members(s process.Session, addr netip.AddrPort) ([]*process.Process, error) {
	serving, err := listening(addr)
	if err != nil {
		return nil, err
	}
	serving = slices.DeleteFunc(serving, func(l socket) bool { return !covers(l.local.Addr(), addr.Addr()) })
	if len(serving) == 0 {
		return s.Members(nil)
	}
	return s.Members(func(pid int) bool { return len(ownedBy([]int{pid}, serving)) > 0 })
}

// PIDs gives the pids of Members as far as they can be told: whoever ends them needs to know more.
func PIDs(s process.Session, addr netip.AddrPort) []int {
	var pids []int
	found, _ := Members(s, addr)
	for _, p := range found {
		pids = append(pids, p.PID())
		p.Close()
	}
	return pids
}

func oneListens(found []socket, addr netip.AddrPort, s process.Session) bool {
	here := func(s socket) bool { return same(s.local, addr) }
	return slices.ContainsFunc(ownedByTunnel(s, addr, found), here)
}

// ownedByTunnel keeps the sockets of the tunnel's program, or of its other processes where that has none of them: to find those
// takes longer.
func ownedByTunnel(s process.Session, addr netip.AddrPort, found []socket) []socket {
	if len(found) == 0 {
		return nil
	}
	if owned := ownedBy([]int{s.Leader.PID}, found); len(owned) > 0 && s.Leader.Alive() { // of one that has ended the pid may be another's
		return owned
	}
	return ownedBy(PIDs(s, addr), found)
}

// listensOn gives the addresses on which the tunnel listens for what is meant for addr: that itself, or every one with its port.
func listensOn(sockets *asker, addr netip.AddrPort, s process.Session) []netip.AddrPort {
	found, err := sockets.listening(addr)
	if err != nil {
		return nil
	}
	return locals(ownedByTunnel(s, addr, found))
}

func locals(sockets []socket) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, s := range sockets {
		addrs = append(addrs, s.local)
	}
	return addrs
}

// same allows for programs, Go's among them, that serve 0.0.0.0 through the IPv6 wildcard.
func same(got, asked netip.AddrPort) bool {
	return got == asked || got.Port() == asked.Port() && got.Addr().IsUnspecified() && asked.Addr().IsUnspecified()
}

// elsewhere explains why waiting came to nothing, if the tunnel listens on another address.
func elsewhere(addr netip.AddrPort, s process.Session, otherwise error) error {
	if !errors.Is(otherwise, context.DeadlineExceeded) {
		return otherwise
	}
	found, err := listening(anywhere)
	if err != nil {
		return otherwise
	}
	owned := locals(ownedByTunnel(s, addr, found))
	if len(owned) == 0 || slices.ContainsFunc(owned, func(a netip.AddrPort) bool { return same(a, addr) }) { // it does only now
		return otherwise
	}
	return &ElsewhereError{addr, owned}
}
