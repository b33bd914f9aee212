package hook

import (
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// NoTunnelError says that there is no such tunnel, and which others there are of the same route.
type NoTunnelError struct {
	Route, Listen string
	Others        []pidfile.Record
}

func (e *NoTunnelError) Error() string {
	text := "no tunnel for " + e.Route
	if e.Listen != "" {
		text += " on " + e.Listen
	}
	if len(e.Others) > 0 {
		text += "; it has one on " + e.Others[0].Public().String()
	}
	return text
}

// WaitsError says that a listener still waits for its first connection, so that there was no tunnel yet.
type WaitsError struct{ autostart.Entry }

func (e *WaitsError) Error() string {
	return fmt.Sprintf("%s waits for its first connection: no tunnel for %s has run yet", e.Address, e.Route)
}

// NobodyError says that nobody started the tunnel that was waited for.
type NobodyError struct {
	*NoTunnelError
	Waited time.Duration
}

func (e *NobodyError) Error() string {
	return fmt.Sprintf("nobody has started it within %s: %v", e.Waited, e.NoTunnelError)
}

func (e *NobodyError) Unwrap() error { return e.NoTunnelError }

// TakenError says that another program has the listen address.
type TakenError struct {
	Address  netip.AddrPort
	Holder   tunnel.Held
	Route    string // of the tunnel that has it, if it is one of ours
	MayReuse bool   // a start could take it as it is: it may be a tunnel of this user's to the same place
	Stable   bool   // the address is the one that "stable" gives the route
}

func (e *TakenError) Error() string { return fmt.Sprintf("%s is taken by %s", e.Address, e.holder()) }

func (e *TakenError) holder() string {
	who := "another program"
	switch {
	case e.Route != "":
		return fmt.Sprintf("the tunnel for %s (%s, pid %d)", e.Route, e.Holder.Program, e.Holder.PID)
	case e.Holder.PID != 0:
		who = fmt.Sprintf("%s (pid %d)", e.Holder.Program, e.Holder.PID)
	}
	if name := e.Stranger(); name != "" {
		who += " of " + name
	}
	if e.Holder.On.Addr().IsUnspecified() && !e.Address.Addr().IsUnspecified() {
		who += ", which listens on every address"
	}
	return who
}

// Stranger names the other user whose program has the address; "" where it is the caller's own, or that is not known.
func (e *TakenError) Stranger() string {
	uid := strconv.Itoa(e.Holder.UID)
	switch {
	case e.Route != "" || e.Holder.UID == os.Getuid() || e.Holder.UID == 0 && e.Holder.PID != 0:
		return ""
	case e.Holder.UID == 0: // so it is where it is not known
		return ""
	}
	if u, err := user.LookupId(uid); err == nil {
		return "the user " + u.Username
	}
	return "the user " + uid
}

// usersOwn tells whether the address is held by a program of the caller's that listens there and nowhere else. What listens on every
// address is rather this machine's own server, and another user's program leads who knows where.
func (e *TakenError) usersOwn() bool {
	return e.Holder.PID != 0 && e.Holder.UID == os.Getuid() && e.Holder.On == e.Address
}

// FailedError says that a tunnel program was started and did not come to serve its tunnel.
type FailedError struct {
	Record pidfile.Record
	Reason string
	Lines  []string // the lines of its log that tell most, safe to show

	Means tunnel.Meaning // why, in a word; "" where that is not known
	Line  string         // the line of the log that says so, safe to show; "" where none does
	Hint  string         // what to do about it, where the provider says more than usually helps

	// Err is tunnel.ErrEnded, a *tunnel.ElsewhereError, ErrRefused, tunnel.ErrClosed, a *tunnel.ProtocolError, ErrStep, or
	// context.DeadlineExceeded.
	Err error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s for %s %s", e.Record.Program, e.Record.Route, e.Reason)
}

func (e *FailedError) Unwrap() error { return e.Err }

// StoppedError says that a stop ended the tunnel while a start still waited for it.
type StoppedError struct{ Record pidfile.Record }

func (e *StoppedError) Error() string {
	return fmt.Sprintf("the tunnel for %s was stopped while it was starting", e.Record.Route)
}

// TimeoutError says what did not happen within the time that was given.
type TimeoutError struct {
	What    string
	Timeout time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("%s within %s", e.What, e.Timeout) }
