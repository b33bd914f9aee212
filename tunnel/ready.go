package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is what waiting for and ending a tunnel needs of a handle on a process.
type Process interface {
	PID() int
	Signal(sig syscall.Signal) error
	Wait(d time.Duration) bool // waits for its end for at most d, and tells whether it has ended
	Close()
}

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

// Pauses between two looks at the sockets: short while a program is expected to listen within milliseconds, except for the first:
// no program listens as soon as it was executed, and while it is being loaded a look would only slow it down.
const (
	firstPause = 2 * time.Millisecond
	minPause   = 250 * time.Microsecond
	maxPause   = 25 * time.Millisecond
	expecting  = 20 * time.Millisecond
)

// nextPause is the pause after one, when the wait began at that time.
func nextPause(pause time.Duration, began time.Time) time.Duration {
	if time.Since(began) < expecting {
		return minPause
	}
	return min(pause*5/4, maxPause)
}

// WaitListening waits until one of the tunnel's processes listens on addr. Nobody connects to find out: a connection may open
// a browser tab or count as a session. The error is ErrEnded, an *ElsewhereError, or that of ctx.
func WaitListening(ctx context.Context, addr netip.AddrPort, program Process, members func() []int) error {
	sockets := newAsker()
	defer sockets.close()
	began := time.Now()
	for pause := firstPause; ; pause = nextPause(pause, began) {
		switch where := listensOn(sockets, addr.Port(), program, members); {
		case slices.ContainsFunc(where, func(a netip.AddrPort) bool { return same(a, addr) }):
			return nil
		case slices.ContainsFunc(where, func(a netip.AddrPort) bool { return a.Addr().IsUnspecified() }):
			return &ElsewhereError{addr, where}
		}
		if program.Wait(pause) {
			if len(members()) == 0 {
				return ErrEnded
			}
			time.Sleep(pause) // its children carry on
		}
		if ctx.Err() != nil {
			return elsewhere(addr, members, ctx.Err())
		}
	}
}

// Listening tells whether one of the tunnel's processes listens on addr. The pid is the tunnel program's, which is looked at
// first; it must not be given when the program has ended, since it may be another's by then: 0 stands for that.
func Listening(addr netip.AddrPort, pid int, members func() []int) bool {
	found, err := listening(addr.Port())
	return err == nil && oneListens(found, addr, pid, members)
}

func oneListens(found []socket, addr netip.AddrPort, pid int, members func() []int) bool {
	if len(found) == 0 {
		return false
	}
	here := func(s socket) bool { return same(s.local, addr) }
	return slices.ContainsFunc(ownedBy([]int{pid}, found), here) || slices.ContainsFunc(ownedBy(members(), found), here)
}

// listensOn gives the addresses with that port on which the tunnel listens.
func listensOn(sockets *asker, port uint16, program Process, members func() []int) []netip.AddrPort {
	found, err := sockets.listening(port)
	if err != nil || len(found) == 0 {
		return nil
	}
	owned := ownedBy([]int{program.PID()}, found)
	if len(owned) == 0 || program.Wait(0) { // of a program that has ended the pid may be another's by now
		owned = ownedBy(members(), found)
	}
	return locals(owned)
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
func elsewhere(addr netip.AddrPort, members func() []int, otherwise error) error {
	if !errors.Is(otherwise, context.DeadlineExceeded) {
		return otherwise
	}
	found, err := listening(0)
	if err != nil {
		return otherwise
	}
	if owned := ownedBy(members(), found); len(owned) > 0 {
		return &ElsewhereError{addr, locals(owned)}
	}
	return otherwise
}
