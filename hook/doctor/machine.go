package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/notify"
	"github.com/tunhook/tunhook/hook/sessionbus"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/sys/unix"
)

func (e *exam) itself(context.Context) []Remark {
	return []Remark{well(Itself{e.Version, e.Hook.Self})}
}

func (e *exam) directories(context.Context) []Remark {
	if e.Unset != nil {
		return []Remark{bad(Fault{e.Unset})}
	}
	var all []Remark
	found := func(path string, err error) {
		if err == nil {
			err = writable(path)
		}
		if err != nil {
			all = append(all, bad(Fault{err}))
		}
	}
	_, err := pidfile.PrivateDir(e.Hook.RunDir, e.Hook.RunParent, false)
	found(e.Hook.RunDir, err)
	_, err = pidfile.PrivateDir(e.Hook.LogDir, false, false)
	found(e.Hook.LogDir, err)
	if len(all) == 0 {
		all = append(all, well(Directories{e.Hook.RunDir, e.Hook.LogDir}))
	}
	return all
}

// UnwritableError says that a directory can take no files.
type UnwritableError struct {
	Path string
	Err  error
}

func (e *UnwritableError) Error() string {
	return e.Path + " cannot be written to (" + e.Err.Error() + ")"
}

func (e *UnwritableError) Unwrap() error { return e.Err }

// writable tells what keeps a directory, or what of its path is there, from taking files.
func writable(path string) error {
	for {
		_, err := os.Stat(path)
		if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		if err == nil {
			err = unix.Access(path, unix.W_OK|unix.X_OK)
		}
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		if err != nil {
			return &UnwritableError{path, err}
		}
		return nil
	}
}

// farLoopback is an address of the loopback as stable ones are, with any free port.
var farLoopback = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 253, 252, 251}), 0)

func (e *exam) kernel(context.Context) []Remark {
	var all []Remark
	if err := e.Kernel.Handles(); err != nil {
		all = append(all, bad(NoHandles{err}))
	}
	if fast, err := e.Kernel.Sockets(); err != nil {
		all = append(all, bad(Blind{err}))
	} else if !fast && runtime.GOOS == "linux" {
		all = append(all, note(SlowSockets{}))
	}
	if err := e.Kernel.Loopback(farLoopback); err != nil {
		remark := bad(NoLoopback{farLoopback.Addr(), err})
		if runtime.GOOS != "linux" { // where that is usual
			remark.Level = Note
		}
		all = append(all, remark)
	}
	if len(all) == 0 {
		all = append(all, well(Kernel{}))
	}
	return all
}

// onDesktop tells whether there is a display on which something could be shown.
func (e *exam) onDesktop() bool {
	return tunnel.Getenv(e.Hook.Environ, "DISPLAY") != "" || tunnel.Getenv(e.Hook.Environ, "WAYLAND_DISPLAY") != ""
}

// ifDesktop is a finding on a desktop, and no more than a note elsewhere.
func (e *exam) ifDesktop(fact any) Remark {
	if e.onDesktop() {
		return bad(fact)
	}
	return note(fact)
}

func (e *exam) bus(ctx context.Context) []Remark {
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	address := sessionbus.Address(e.Hook.Environ)
	conn, err := sessionbus.Dial(ctx, e.Hook.Environ)
	if address == "" {
		return []Remark{e.ifDesktop(NoBus{Address: tunnel.Getenv(e.Hook.Environ, "DBUS_SESSION_BUS_ADDRESS"), Err: err})}
	}
	if err != nil {
		return []Remark{bad(NoBus{address, err})}
	}
	conn.Close()
	return []Remark{well(Bus{address})}
}

func (e *exam) notifications(ctx context.Context) []Remark {
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	if conn, err := sessionbus.Dial(ctx, e.Hook.Environ); err != nil {
		return []Remark{note(NoNotifier{sessionbus.ErrNone})} // which the check of the bus explains
	} else {
		conn.Close()
	}
	server, err := notify.Look(ctx, e.Hook.Environ)
	switch {
	case errors.Is(err, notify.ErrNoServer):
		return []Remark{e.ifDesktop(NoNotifier{err})}
	case err != nil:
		return []Remark{bad(NoNotifier{err})}
	}
	return []Remark{well(Notifier{server.Name, server.Version})}
}

func (e *exam) manager(context.Context) []Remark {
	entries, _ := e.entries()
	needed := slices.ContainsFunc(entries, func(entry autostart.Entry) bool { return entry.By == autostart.BySystemd })
	manages, err := e.manages()
	if err != nil && (needed || errors.Is(err, context.DeadlineExceeded)) {
		return []Remark{bad(NoManager{needed, err})}
	}
	if err != nil {
		return []Remark{note(NoManager{needed, err})}
	}
	lacks := e.Hook.Lacks(manages.names)
	switch {
	case len(lacks) > 0 && needed:
		return []Remark{bad(ManagerLacks{lacks})}
	case len(lacks) > 0:
		return []Remark{note(ManagerLacks{lacks})}
	}
	return []Remark{well(Manager{})}
}

func (e *exam) configuration(context.Context) []Remark {
	config := tunnel.LoadConfig(e.Config...)
	all := faultsOf(config)
	switch files := config.Files(); {
	case len(all) > 0:
		return all
	case len(files) == 0:
		return []Remark{well(Nothing{})}
	default:
		return []Remark{well(Configured{files, config.Names()})}
	}
}

// CheckFile gives every fault in a file of the configuration, as tunnel.CheckFile has them, and notes of what it leaves to others.
func CheckFile(path string, paths []string) (remarks []Remark) {
	faults, left := tunnel.CheckFile(path, paths)
	for _, fault := range faults {
		remarks = append(remarks, bad(Fault{fault}))
	}
	for _, err := range left {
		remarks = append(remarks, note(Left{err}))
	}
	return remarks
}

func faultsOf(config *tunnel.Config) (faults []Remark) {
	for _, fault := range config.Faults() {
		faults = append(faults, bad(Fault{fault}))
	}
	return faults
}

// OfFile is the report on one file of the configuration, of which CheckFile has given the remarks.
func OfFile(remarks []Remark) Report {
	i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == "configuration" })
	return Report{Checks()[i], remarks}
}
