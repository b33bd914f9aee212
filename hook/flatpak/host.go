package flatpak

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/tunhook/tunhook/hook/sessionbus"
)

// The interface org.freedesktop.Flatpak.Development, version 1, of Flatpak's D-Bus API reference.
const (
	service     = "org.freedesktop.Flatpak"
	development = service + ".Development"
	theBus      = "org.freedesktop.DBus"
	object      = dbus.ObjectPath("/org/freedesktop/Flatpak/Development")
)

// dialPatience bounds the connecting to the bus, which answers in milliseconds or not at all, unless the machine is very busy.
const dialPatience = 15 * time.Second

// Command is a program to run on the host.
type Command struct {
	Argv   []string // a name without a slash is looked for on the PATH of flatpak-session-helper
	Dir    string   // on the host; empty is "/"
	Env    []string // "NAME=value", over what is there and what the sandbox's environment adds
	Stdin  *os.File // these three are required, and handed over as they are
	Stdout *os.File
	Stderr *os.File

	// Signals are sent on to the program while it runs; SIGINT to its process group, as a terminal would. It may be nil.
	Signals <-chan os.Signal
}

// PermissionError says that the application may not run programs on the host.
type PermissionError struct {
	AppID string
	Err   error
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("the sandbox of %s may not run programs on the host", e.AppID)
}

func (e *PermissionError) Unwrap() error { return e.Err }

// Override is the command that gives the permission, to be run on the host; the application must then be started anew.
func (e *PermissionError) Override() string {
	return "flatpak override --user --talk-name=" + service + " " + e.AppID
}

// ProgramError says that the host did not start the program: Err is fs.ErrNotExist where there is none, fs.ErrPermission where it
// cannot be executed, and otherwise what flatpak-session-helper says.
type ProgramError struct {
	Program string
	Err     error
}

func (e *ProgramError) Error() string { return fmt.Sprintf("%s on the host: %v", e.Program, e.Err) }

func (e *ProgramError) Unwrap() error { return e.Err }

// ErrLost says that flatpak-session-helper or the bus ended before the program did, so that its exit status is unknown. The
// program may still run.
var ErrLost = errors.New("lost the connection to the program on the host")

// Run runs a program on the host and returns its exit status, or 128 + N where signal N ended it. environ is the sandbox's
// environment, of the form of os.Environ. Errors are *PermissionError, *ProgramError, ErrLost, sessionbus.ErrNone, or what the
// bus says; when ctx ends the program is sent SIGTERM, is not waited for, and the error is that of ctx.
//
// The program outlives the sandbox (there is a flag, watch-bus, which interrupts it): a hook that its client leaves behind runs
// to its end natively too, and one that was cut short could not keep the record of its tunnel. What ends a tunnel whose client is
// gone is --end-with. The flatpak-spawn that Remmina itself uses since 1.4.41 does not set the flag either.
func (s Sandbox) Run(ctx context.Context, environ []string, c Command) (status int, err error) {
	dialling, done := context.WithTimeout(ctx, dialPatience)
	defer done()
	conn, err := sessionbus.Dial(dialling, environ)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	events := make(chan *dbus.Signal, 16)
	conn.Signal(events) // HostCommandExited is addressed to its caller: no match rule is needed
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(theBus), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service))
	if err != nil {
		return 0, err
	}
	p := process{helper: conn.Object(service, object)}
	if p.pid, err = s.start(ctx, p.helper, environ, c); err != nil {
		return 0, err
	}
	// Anybody on the bus can send a signal straight to us: what the helper says comes from the connection that has its name.
	asking, asked := context.WithTimeout(context.WithoutCancel(ctx), dialPatience)
	defer asked()
	if err := conn.BusObject().CallWithContext(asking, theBus+".GetNameOwner", 0, service).Store(&p.sender); err != nil {
		return 0, ErrLost
	}
	return p.wait(ctx, events, c.Signals)
}

func (s Sandbox) start(ctx context.Context, helper dbus.BusObject, environ []string, c Command) (pid uint32, err error) {
	argv := make([][]byte, len(c.Argv))
	for i, arg := range c.Argv {
		argv[i] = append([]byte(arg), 0)
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	env := s.hostEnviron(environ)
	maps.Insert(env, pairs(c.Env))
	// One descriptor a call of the map's encoding, in the order of its entries: the helper of Flatpak 1.14 goes by that order.
	fds := map[uint32]dbus.UnixFD{}
	for i, file := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		fds[uint32(i)] = dbus.UnixFD(file.Fd())
	}
	const flags = uint32(0)
	err = helper.CallWithContext(ctx, development+".HostCommand", 0, append([]byte(dir), 0), argv, fds, env, flags).Store(&pid)
	runtime.KeepAlive(c)
	if err != nil {
		return 0, s.explain(ctx, helper, c.Argv[0], err)
	}
	return pid, nil
}

func pairs(environ []string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, variable := range environ {
			if name, value, ok := strings.Cut(variable, "="); ok && !yield(name, value) {
				return
			}
		}
	}
}

// explain tells apart who refused: the proxy between sandbox and bus, which hides the service or denies it, or the helper,
// which could not start the program.
func (s Sandbox) explain(ctx context.Context, helper dbus.BusObject, program string, err error) error {
	var answer dbus.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
		return &PermissionError{s.AppID, err}
	case "org.freedesktop.DBus.Error.AccessDenied":
		if helper.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, development, "version").Err != nil {
			return &PermissionError{s.AppID, err}
		}
		return &ProgramError{program, fs.ErrPermission}
	case "org.freedesktop.DBus.Error.FileNotFound":
		return &ProgramError{program, fs.ErrNotExist}
	}
	return &ProgramError{program, err}
}

// process is a running program on the host.
type process struct {
	helper dbus.BusObject
	sender string // its unique name on the bus
	pid    uint32
}

func (p process) wait(ctx context.Context, events <-chan *dbus.Signal, signals <-chan os.Signal) (status int, err error) {
	for {
		select {
		case event := <-events: // nil: the bus has ended
			if event == nil || helperGone(event) {
				return 0, ErrLost
			}
			if status, ok := p.exit(event); ok {
				return status, nil
			}
		case sig := <-signals:
			p.signal(sig)
		case <-ctx.Done():
			p.signal(syscall.SIGTERM)
			return 0, context.Cause(ctx)
		}
	}
}

// signal waits for no answer: a program that has just ended is no error.
func (p process) signal(sig os.Signal) {
	if number, ok := sig.(syscall.Signal); ok {
		p.helper.Go(development+".HostCommandSignal", dbus.FlagNoReplyExpected, nil, p.pid, uint32(number), number == syscall.SIGINT)
	}
}

func (p process) exit(event *dbus.Signal) (status int, ok bool) {
	var pid, raw uint32
	if event.Sender != p.sender || event.Name != development+".HostCommandExited" || dbus.Store(event.Body, &pid, &raw) != nil || pid != p.pid {
		return 0, false
	}
	return exitStatus(syscall.WaitStatus(raw)), true
}

// exitStatus turns a status of wait(2) into what a shell would call it.
func exitStatus(raw syscall.WaitStatus) int {
	if raw.Signaled() {
		return 128 + int(raw.Signal())
	}
	return raw.ExitStatus()
}

func helperGone(event *dbus.Signal) bool {
	var name, before, now string
	return event.Sender == theBus && event.Name == theBus+".NameOwnerChanged" && dbus.Store(event.Body, &name, &before, &now) == nil &&
		name == service && before != "" && now == ""
}
