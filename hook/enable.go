package hook

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// EnableRequest says which listener to start at each login, and how. What is zero is left to the listener, or to the
// configuration.
type EnableRequest struct {
	Route, Listen   string // Listen is "stable" where neither it nor the configuration says anything
	Ready           string // one of tunnel.Ready…
	Linger, Timeout time.Duration
	Notify          string   // "always" where it is empty: at login nobody looks at what a program prints
	Args            []string // extra arguments of the tunnel program
	// For is the profile that needs the listener, which it may share with others; "" where a person enables it, for
	// what else they have. What a person has enabled is left to them, flags and all.
	For string
}

// Enabled is a listener that starts at each login.
type Enabled struct {
	autostart.Entry
	Changed bool // it was not so before

	NoManager error // why no unit of systemd's was made of it: there is no user manager that answers
	// Lacks are the variables that the manager lacks and our own session has, without which no browser and no
	// notification can be shown.
	Lacks []string
	// Fleeting says that the program lies where it will not stay: in a temporary directory.
	Fleeting bool
}

// EnabledError says that the listener of another route has the address.
type EnabledError struct{ autostart.Entry }

func (e *EnabledError) Error() string {
	return e.Address.String() + " is enabled for " + e.Route + " already"
}

// Enable makes a listener start at each login, and now. It is checked first that it could serve a connection. Where all
// is so already nothing is changed. Errors are *EnabledError, *TakenError, *tunnel.ProgramError, those of routes,
// listen addresses and configuration, of the record's directory, of the package autostart, and a *FailedError of a
// listener that ended at once.
func (h *Env) Enable(ctx context.Context, req EnableRequest) (Enabled, error) {
	t, err := h.toStart(frontOf, req.Route, req.Listen)
	if err != nil {
		return Enabled{}, err
	}
	e := &enabling{Env: h, target: t, req: req, store: h.store()}
	if e.entry, err = h.newEntry(t, req); err != nil {
		return Enabled{}, err
	}
	if e.dir, err = h.records(true); err != nil {
		return Enabled{}, err
	}
	lock, err := h.lockEntries(ctx, e.dir)
	if err != nil {
		return Enabled{}, err
	}
	e.systemd = h.systemd(lock)
	enabled, err := e.do(ctx)
	return enabled, errors.Join(err, lock.Unlock())
}

// CheckEnable fails where Enable would, as far as that shows while nothing is done.
func (h *Env) CheckEnable(req EnableRequest) error {
	t, err := h.frontTarget(req.Route, req.Listen)
	if err != nil {
		return err
	}
	e := &enabling{Env: h, target: t, req: req, store: h.store()}
	if e.entry, err = h.newEntry(t, req); err != nil {
		return err
	}
	entries, err := e.store.List()
	if err != nil {
		return err
	}
	if err := e.takeName(entries); err != nil {
		return err
	}
	if err := e.store.Check(e.entry); err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(o autostart.Entry) bool { return o.Name() == e.entry.Name() }) {
		return nil
	}
	if e.dir, err = h.records(false); err != nil {
		return err
	}
	return e.free()
}

// entriesPatience bounds the wait for others that change entries. One of them may have to wait for a tunnel program to
// end, and each runs systemctl some times, which takes a while on a busy machine.
const entriesPatience = 5 * time.Minute

// lockEntries gets the lock that whoever changes entries holds, and removes what one has left that was killed. There never is a record
// of its key.
func (h *Env) lockEntries(ctx context.Context, dir pidfile.Dir) (*pidfile.Lock, error) {
	if h.Guard != nil {
		h.Guard()
	}
	ctx, cancel := context.WithTimeout(ctx, entriesPatience)
	defer cancel()
	lock, err := dir.Lock(ctx, pidfile.Key{Listen: "enable"})
	if err == nil {
		lock.Sweep()
		h.store().Sweep()
	}
	return lock, err
}

// frontTarget is target for a listener, which needs an address that stays.
func (h *Env) frontTarget(route, listen string) (target, error) {
	return frontOf(h.Config(), route, listen)
}

// newEntry makes the entry of a listener that could serve a connection: what is missing is found now, not when somebody
// connects.
func (h *Env) newEntry(t target, req EnableRequest) (autostart.Entry, error) {
	if err := process.Supported(); err != nil {
		return autostart.Entry{}, err
	}
	args := t.route.Args(req.Args)
	env, err := t.route.Environ(t.listen.Addr, h.Self, tunnel.Getenv(h.Environ, "HOME"))
	if err != nil {
		return autostart.Entry{}, err
	}
	path := tunnel.Getenv(slices.Concat(h.Environ, env), "PATH")
	if _, err := t.route.Provider.FindProgram(h.Self, path); err != nil {
		return autostart.Entry{}, err
	}
	if _, _, err := t.route.FindCommand(t.listen.Addr, h.Self, args, path); err != nil {
		return autostart.Entry{}, err
	}
	return autostart.Entry{
		Route: t.route.Given, Address: t.listen.Addr, Program: h.Self,
		Args: listenerArgs(t, req), Environ: h.listenerEnviron(), For: req.For,
	}, nil
}

// listenCommand is the argument that makes tunhook a listener.
const listenCommand = "listen"

func listenerArgs(t target, req EnableRequest) []string {
	args := []string{listenCommand}
	if req.Ready != "" {
		args = append(args, "--ready", req.Ready)
	}
	if req.Linger > 0 {
		args = append(args, "--linger", req.Linger.String())
	}
	if req.Timeout > 0 {
		args = append(args, "--timeout", req.Timeout.String())
	}
	notify := req.Notify
	if notify == "" {
		notify = "always"
	}
	args = append(args, "--notify", notify, t.route.Given, t.listen.String())
	if len(req.Args) > 0 {
		args = append(append(args, "--"), req.Args...)
	}
	return args
}

// listenerEnviron is what the listener needs and a login does not give it: the PATH on which its tunnel program was
// found now, and the places of configuration, records and logs where they are not the usual ones.
func (h *Env) listenerEnviron() []string {
	dirs := slices.DeleteFunc(filepath.SplitList(tunnel.Getenv(h.Environ, "PATH")), func(dir string) bool {
		return !filepath.IsAbs(dir) || !utf8.ValidString(dir) || strings.ContainsFunc(dir, unicode.IsControl)
	})
	environ := []string{"PATH=" + strings.Join(dirs, string(filepath.ListSeparator))}
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_STATE_HOME"} {
		if value := tunnel.Getenv(h.Environ, name); value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// enabling is one call of Enable on its way, under the lock.
type enabling struct {
	*Env
	target
	req     EnableRequest
	dir     pidfile.Dir
	store   autostart.Store
	systemd autostart.Systemd
	entry   autostart.Entry
}

func (e *enabling) do(ctx context.Context) (Enabled, error) {
	entries, err := e.store.List()
	if err != nil {
		return Enabled{}, err
	}
	if err := e.takeName(entries); err != nil {
		return Enabled{}, err
	}
	known, noManager := e.systemd.Environment(ctx)
	if err := ctx.Err(); err != nil {
		return Enabled{}, err
	}
	e.entry.By = autostart.BySystemd
	if noManager != nil {
		e.entry.By = autostart.ByDesktop
	}
	if own, ok := e.ofAPerson(entries); ok {
		return Enabled{Entry: own}, nil
	}
	enabled := Enabled{NoManager: noManager, Fleeting: fleeting(e.Self, tunnel.Getenv(e.Environ, "TMPDIR"))}
	if noManager == nil {
		enabled.Lacks = lacks(e.Environ, known)
	}
	enabled.Changed, err = e.enable(ctx, entries)
	enabled.Entry = e.entry
	if err == nil && e.listen.Exposed() {
		e.notice(Exposed{e.entry.Address})
	}
	return enabled, err
}

// takeName takes the name under which the very same route is enabled on the address already. The error is an
// *EnabledError where it is another route that is.
func (e *enabling) takeName(entries []autostart.Entry) error {
	for _, other := range entries {
		if other.Address != e.entry.Address || other.Route == e.entry.Route {
			continue
		}
		if !e.leadsTo(other.Route, e.route.Text) {
			return &EnabledError{other}
		}
		e.route.Given = other.Route
		var err error
		if e.entry, err = e.newEntry(e.target, e.req); err != nil {
			return err
		}
	}
	return nil
}

// ofAPerson gives the listener that a person has enabled on the address, where a profile needs no more than that. Of
// several profiles the first is kept.
func (e *enabling) ofAPerson(entries []autostart.Entry) (own autostart.Entry, ok bool) {
	i := slices.IndexFunc(entries, func(o autostart.Entry) bool { return o.Address == e.entry.Address })
	if i < 0 || e.req.For == "" {
		return autostart.Entry{}, false
	}
	e.entry.For = entries[i].For
	if whole, ok := e.store.Read(entries[i]); ok && e.entry.For == "" {
		e.entry.Args = whole.Args // where it is to be put right, it stays theirs
	}
	return entries[i], entries[i].For == "" && e.listens(entries[i])
}

// enable brings files and processes to where they should be, or back to where they were.
func (e *enabling) enable(ctx context.Context, entries []autostart.Entry) (changed bool, err error) {
	if err := e.store.Check(e.entry); err != nil {
		return false, err
	}
	was := func(by autostart.By) bool {
		return slices.ContainsFunc(entries, func(o autostart.Entry) bool { return o.By == by && o.Name() == e.entry.Name() })
	}
	enable, otherWay := e.byUnits, autostart.ByDesktop
	if e.entry.By == autostart.ByDesktop {
		enable, otherWay = e.byDesktop, autostart.BySystemd
	}
	if was(otherWay) { // there is another system now, or none any more
		if _, err := e.disableEntry(ctx, e.systemd, e.entry, false); err != nil {
			return false, err
		}
	}
	changed, err = enable(ctx)
	if err != nil && changed && !was(e.entry.By) {
		_, undone := e.disableEntry(context.WithoutCancel(ctx), e.systemd, e.entry, false)
		err = errors.Join(err, undone)
	}
	return changed || was(otherWay), err
}

// free tells that somebody has the address, and who.
func (e *enabling) free() error {
	_, err := e.listen.Reserve()
	if !errors.Is(err, tunnel.ErrTaken) {
		return err
	}
	return e.targetTaken(e.dir, e.target)
}

// byUnits has the systemd user manager listen.
func (e *enabling) byUnits(ctx context.Context) (changed bool, err error) {
	socket, service := e.entry.Socket(), e.entry.Service()
	units, err := e.systemd.Units(ctx, socket, service)
	if err != nil {
		return false, err
	}
	listens := units[0].Active == autostart.Active
	if err := e.makeWay(ctx, units); err != nil {
		return false, err
	}
	wrote, err := e.store.Write(e.entry)
	if err != nil {
		return wrote.Any, err
	}
	if wrote.Any || !units[0].Loaded || !units[1].Loaded {
		if err := e.systemd.Reload(ctx); err != nil {
			return true, err
		}
	}
	if listens && wrote.Socket {
		err := e.stopUnused(ctx)
		if err != nil && !errors.As(err, new(*InUseError)) {
			return true, err
		}
		listens = err != nil // where it is in use, it is as it should be from the next login on
	}
	if listens {
		return wrote.Any, nil
	}
	if units[0].Active == autostart.Failed || units[1].Active == autostart.Failed {
		if err := e.systemd.ResetFailed(ctx, socket, service); err != nil {
			return true, err
		}
	}
	return true, e.systemd.Start(ctx, socket)
}

// makeWay sees to it, where the manager does not listen, that it can.
func (e *enabling) makeWay(ctx context.Context, units []autostart.Unit) error {
	if units[0].Active == autostart.Active {
		return nil
	}
	if !units[0].Loaded {
		if err := e.systemd.Looks(ctx, e.store.UnitDir()); err != nil {
			return err
		}
	}
	if units[1].Active == autostart.Active { // left over: it has the address, and the socket cannot be started beside it
		if err := e.stopUnused(ctx); err != nil {
			return err
		}
	}
	return e.free()
}

// stopUnused stops socket and service. The error is an *InUseError where somebody is connected.
func (e *enabling) stopUnused(ctx context.Context) error {
	if err := unused(e.entry.Address); err != nil {
		return err
	}
	return e.systemd.Stop(ctx, e.entry.Socket(), e.entry.Service())
}

// byDesktop writes an autostart entry, and starts the listener that it would start.
func (e *enabling) byDesktop(ctx context.Context) (changed bool, err error) {
	running, listens := listenerOf(e.entry)
	if listens {
		defer running.Close()
	} else if err := e.free(); err != nil {
		return false, err
	}
	wrote, err := e.store.Write(e.entry)
	if err != nil {
		return wrote.Any, err
	}
	if listens && slices.Equal(running.argv[1:], e.entry.Args) && running.argv[0] == e.entry.Program {
		return wrote.Any, nil
	}
	if listens {
		if err := unused(e.entry.Address); errors.As(err, new(*InUseError)) {
			return true, nil // it is as it should be from the next login on
		} else if err != nil {
			return true, err
		}
		if err := running.end(ctx); err != nil {
			return true, err
		}
	}
	return true, e.launchListener(ctx)
}

// launchListener starts the listener, as the next login will, and waits until it listens.
func (e *enabling) launchListener(ctx context.Context) error {
	dir, err := pidfile.PrivateDir(e.LogDir, false, true)
	if err != nil {
		return err
	}
	path := filepath.Join(dir.Path(), e.entry.Key().Name()+".log")
	log, from, err := e.beginLog(path, "listener for "+e.entry.Route+" on "+e.entry.Address.String())
	if err != nil {
		return err
	}
	defer log.Close()
	argv := append([]string{e.entry.Program}, e.entry.Args...)
	launched, err := e.launchProgram(argv, withToken(slices.Concat(e.Environ, e.entry.Environ), ""), log)
	if err != nil {
		return err
	}
	id, err := process.Identify(launched.PID)
	if err == nil {
		err = waitListens(ctx, e.entry.Address, id)
	}
	if errors.Is(err, process.ErrGone) {
		err = tunnel.ErrEnded
	}
	if err == nil {
		return nil
	}
	return &FailedError{
		Record: pidfile.Record{Route: e.entry.Route, Listen: e.entry.Address.String(), Program: "tunhook listen", Log: path},
		Reason: "does not listen on " + e.entry.Address.String(), Err: err, Lines: tellingLines(path, from),
	}
}

func waitListens(ctx context.Context, address netip.AddrPort, id process.Identity) error {
	limited, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return tunnel.WaitListening(limited, address, process.Session{Leader: id})
}

// lacks gives the variables of a desktop session that environ has and the manager, which knows those names, has not.
func lacks(environ, known []string) []string {
	var missing []string
	display := []string{"DISPLAY", "WAYLAND_DISPLAY"}
	has := func(name string) bool { return slices.Contains(known, name) }
	set := func(name string) bool { return tunnel.Getenv(environ, name) != "" }
	if slices.ContainsFunc(display, set) && !slices.ContainsFunc(display, has) {
		missing = append(display, "XAUTHORITY")
	}
	if !has("DBUS_SESSION_BUS_ADDRESS") {
		missing = append(missing, "DBUS_SESSION_BUS_ADDRESS")
	}
	return slices.DeleteFunc(missing, func(name string) bool { return !set(name) })
}

// fleeting tells whether a program lies where programs do not stay; temporary is the user's own such directory, if
// there is one.
func fleeting(program, temporary string) bool {
	return slices.ContainsFunc([]string{temporary, "/tmp", "/var/tmp", "/dev/shm"}, func(dir string) bool {
		return dir != "" && strings.HasPrefix(program, filepath.Clean(dir)+"/")
	})
}
