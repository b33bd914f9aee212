package hook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/process"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// systemd is the user's systemd manager. It is found by the runtime directory, which a shell may not know of: that of a
// cron job, or of su. The lock is the one that the caller holds, or nil.
func (h *Env) systemd(lock *pidfile.Lock) autostart.Systemd {
	path, err := tunnel.FindProgram("systemctl", tunnel.Getenv(h.Environ, "PATH"))
	if err != nil {
		path = ""
	}
	environ := slices.Clone(h.Environ)
	if h.RunParent {
		environ = append(environ, "XDG_RUNTIME_DIR="+filepath.Dir(h.RunDir))
	}
	if lock == nil {
		return autostart.Systemctl(path, environ, nil)
	}
	return autostart.Systemctl(path, environ, lock.File())
}

// listenProcess is a process of ours that listens.
type listenProcess struct {
	*process.Process
	argv []string
}

// listenerOf finds the process that listens for an entry on exactly its address: by its socket first, then by what it
// is. Nobody else is taken for it. The caller closes it.
func listenerOf(entry autostart.Entry) (listenProcess, bool) {
	holder, ok := tunnel.Holder(entry.Address)
	if !ok || holder.PID == 0 {
		return listenProcess{}, false
	}
	id, err := process.Identify(holder.PID)
	if err != nil {
		return listenProcess{}, false
	}
	p, err := process.Open(id)
	if err != nil {
		return listenProcess{}, false
	}
	argv := ownArgv(id.PID) // asked, like the socket, now that the handle holds the process
	if !listensFor(argv, entry) || !tunnel.Listening(entry.Address, process.Session{Leader: id}) || p.Wait(0) {
		p.Close()
		return listenProcess{}, false
	}
	return listenProcess{p, argv}, true
}

// ownArgv is the command line of a process of this user; nil of another's.
func ownArgv(pid int) []string {
	proc, err := gopsutil.NewProcess(int32(pid))
	if err != nil {
		return nil
	}
	if uids, err := proc.Uids(); err != nil || len(uids) == 0 || int(uids[0]) != os.Getuid() {
		return nil
	}
	argv, _ := proc.CmdlineSlice() // none where it cannot be seen
	return argv
}

// listensFor tells whether a command line is that of the entry's listener, with whatever flags.
func listensFor(argv []string, entry autostart.Entry) bool {
	if len(argv) < 2 || argv[1] != listenCommand {
		return false
	}
	own := argv[2:]
	if i := slices.Index(own, "--"); i >= 0 {
		own = own[:i]
	}
	return slices.Contains(own, entry.Route) && slices.Contains(own, entry.Address.String())
}

// listenerGrace is how long a listener has to end: it ends its tunnel first.
const listenerGrace = 2 * DefaultGrace

// end ends the listener, which ends its tunnel.
func (l listenProcess) end(ctx context.Context) error {
	if err := l.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	for began := time.Now(); !l.Wait(waitPause); {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > listenerGrace {
			return fmt.Errorf("the listener (pid %d) does not end by SIGTERM", l.PID())
		}
	}
	return nil
}

// EntryError says what is wrong with an address that is enabled.
type EntryError struct {
	autostart.Entry
	Reason string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("%s is enabled for %s, but %s", e.Address, e.Route, e.Reason)
}

// entryProblem tells what keeps an entry from serving the next connection, nil if nothing is seen.
func (h *Env) entryProblem(entry autostart.Entry) error {
	if info, err := os.Stat(entry.Program); err != nil || !info.Mode().IsRegular() {
		return &EntryError{entry, entry.Program + " is not there any more"}
	}
	if h.listens(entry) {
		return nil
	}
	holder, ok := tunnel.Holder(entry.Address)
	if !ok {
		return &EntryError{entry, "nothing listens there"}
	}
	return &EntryError{entry, "that is taken by " + (&TakenError{Holder: holder}).holder()}
}

// listens tells whether an entry's listener has its address: a process of ours, or the systemd user manager. That may
// have more rights than a program of its user, which does not see its sockets then: it is asked.
func (h *Env) listens(entry autostart.Entry) bool {
	if running, ok := listenerOf(entry); ok {
		running.Close()
		return true
	}
	holder, ok := tunnel.Holder(entry.Address)
	if !ok || entry.By != autostart.BySystemd || holder.PID != 0 {
		return ok && entry.By == autostart.BySystemd && holder.Program == "systemd"
	}
	units, err := h.systemd(nil).Units(context.Background(), entry.Socket())
	return err == nil && units[0].Active == autostart.Active
}

// enabledAt gives the entry whose listener has the address: not one whose address another program has got.
func (h *Env) enabledAt(address netip.AddrPort) (autostart.Entry, bool) {
	entries, err := h.Enabled()
	if err != nil {
		return autostart.Entry{}, false
	}
	i := slices.IndexFunc(entries, func(e autostart.Entry) bool { return e.Address == address })
	if i < 0 || !h.listens(entries[i]) {
		return autostart.Entry{}, false
	}
	return entries[i], true
}

// waits gives the address of the listener that is enabled for ROUTE and LISTEN and waits for a connection: without
// LISTEN, of the only one that the route has.
func (h *Env) waits(route, listen string) (autostart.Entry, bool) {
	found, _, err := h.enabledFor(route, listen)
	if err != nil || len(found) != 1 || !h.listens(found[0]) {
		return autostart.Entry{}, false
	}
	return found[0], true
}

// selectedEntries gives the entries that status is asked about.
func (h *Env) selectedEntries(route, listen string) ([]autostart.Entry, error) {
	if route == "" {
		return h.Enabled()
	}
	found, _, err := h.enabledFor(route, listen)
	return found, err
}

// problems gives an *EntryError for each of the entries that would not serve a connection.
func (h *Env) problems(entries []autostart.Entry) []error {
	var problems []error
	for _, e := range entries {
		if err := h.entryProblem(e); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// withListeners adds to the tunnels what is enabled and has none, and says of the others that they are enabled.
func (h *Env) withListeners(tunnels []Tunnel, entries []autostart.Entry) []Tunnel {
	for _, e := range entries {
		if i := slices.IndexFunc(tunnels, func(t Tunnel) bool { return t.Record.Key() == e.Key() }); i >= 0 {
			tunnels[i].Enabled = true
			continue
		}
		rec := pidfile.Record{Route: e.Route, Listen: e.Key().Listen, Address: e.Address, Started: e.Since, Log: h.logPath(e.Key())}
		if t, err := h.target(e.Route, rec.Listen); err == nil {
			rec.Target, rec.Provider = t.route.Text, t.route.Provider.Name()
		}
		tunnels = append(tunnels, Tunnel{Record: rec, State: Waiting, Enabled: true})
	}
	return tunnels
}
