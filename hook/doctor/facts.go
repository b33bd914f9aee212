package doctor

import (
	"net/netip"
	"time"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// Fault is a finding that some other part of tunhook has a typed error for.
type Fault struct{ Err error }

// Left is what a file of the configuration leaves to another one, which is not known.
type Left struct{ Err *tunnel.ConfigError }

// Hangs says that a check had no answer in time.
type Hangs struct{ After time.Duration }

// Nothing says that there is nothing to look at: no configuration, no profile, no record.
type Nothing struct{}

// Skipped says that nothing could be looked at, for a reason that another check tells.
type Skipped struct{}

// Itself is this program.
type Itself struct{ Version, Path string }

// Directories are where records and logs are.
type Directories struct{ Records, Logs string }

// Kernel says that it gives all that is needed.
type Kernel struct{}

// NoHandles says why there are no handles on processes.
type NoHandles struct{ Err error }

// SlowSockets says that sockets are read from tables.
type SlowSockets struct{}

// Blind says why sockets cannot be asked for at all.
type Blind struct{ Err error }

// NoLoopback says that addresses of 127.0.0.0/8 cannot be listened on.
type NoLoopback struct {
	Address netip.Addr
	Err     error
}

// Bus is the session bus that answers.
type Bus struct{ Address string }

// NoBus says that there is none; Address is the one that does not answer, "" where none is named.
type NoBus struct {
	Address string
	Err     error
}

// Notifier is who shows notifications.
type Notifier struct{ Name, Version string }

// NoNotifier says that nobody does.
type NoNotifier struct{ Err error }

// Manager is a systemd user manager that answers.
type Manager struct{}

// NoManager says that none does; Needed, that something is enabled by its units.
type NoManager struct {
	Needed bool
	Err    error
}

// ManagerLacks are variables without which what it starts can show nothing.
type ManagerLacks struct{ Names []string }

// Configured are the files of the configuration that are there, and the names in it.
type Configured struct{ Files, Names []string }

// Leads says where a route leads: by which provider.
type Leads struct {
	Route, Text, Provider string
}

// Routes is how many are as they should be.
type Routes struct{ Count int }

// Program is a tunnel program that is there.
type Program struct{ Name, Path, Version string }

// NoProgram is one that is not, and the routes that need it; none where it is the one of the usual routes.
type NoProgram struct {
	Err *tunnel.ProgramError
	For []string
}

// NotOnDesktop is one that is on the caller's PATH, and not on the desktop's, which Remmina has.
type NotOnDesktop struct {
	Name, Path string
	For        []string
}

// Old is one that lacks something for its age.
type Old struct{ Name, Path, Version, Least string }

// Silent is one that does not tell its version in time.
type Silent struct {
	Name, Path string
	After      time.Duration
}

// Free is a listen address that nobody has.
type Free struct{ Address netip.AddrPort }

// Serves is a tunnel of ours that has its address.
type Serves struct {
	Route, Program string
	PID            int
	Address        netip.AddrPort
}

// Awaits is an address that is enabled, and waits for a connection.
type Awaits struct{ autostart.Entry }

// Picks says that each start of a route finds a port of its own.
type Picks struct{ Route string }

// Addresses is how many are as they should be.
type Addresses struct{ Count int }

// Wildcard is a program that listens on every address, with a port of which tunnels would need one.
type Wildcard struct {
	Port   uint16
	Holder tunnel.Held
}

// Here is a Remmina, and whether it runs commands: by its version or, where it was tried, by what it has done.
type Here struct {
	remmina.Installed
	Runs, Tried bool
	Untried     error // why it could not be tried, though that was asked for: ErrNoDisplay, or one of remmina.Machine's Try
}

// NoRemmina says that none was found.
type NoRemmina struct{}

// Profiles is how many are as they should be, and how many of them are enabled.
type Profiles struct{ Count, Enabled int }

// Enabling is what enabling a profile takes, so that it is not refused.
type Enabling struct {
	Route   string // to be named: that which the profile had; "" where none has to be
	NoRoute bool   // it has to be named, and is not known
	Force   bool   // its own commands have to be set aside
	Refused error  // why it cannot be enabled as it is
	ByFile  bool   // another profile has its name, too, so that it is named by its file
}

// Command is what is wrong with a command of a profile.
type Command struct {
	Profile remmina.Profile
	remmina.Fault
	Enabling Enabling
}

// Unserved is a profile whose commands its Remmina does not run.
type Unserved struct {
	Profile  remmina.Profile
	By       remmina.Installed
	Enabling Enabling
}

// Unheard is a profile by connection that connects to where nothing is enabled.
type Unheard struct {
	Profile  remmina.Profile
	Enabling Enabling
}

// Strayed is an enabled profile that connects elsewhere: somebody has changed its server since.
type Strayed struct {
	Profile  remmina.Profile
	Enabling Enabling
}

// Proxied is an enabled profile that asks a proxy for its listen address.
type Proxied struct{ Profile remmina.Profile }

// ByProxy says that the environment has clients ask a proxy for what is enabled, such as this.
type ByProxy struct{ autostart.Entry }

// Enabled is how many entries are as they should be.
type Enabled struct{ Count int }

// Moved is an entry whose program is not there any more.
type Moved struct{ autostart.Entry }

// Halfway is an entry of which files are missing.
type Halfway struct {
	autostart.Entry
	Missing []string
}

// Changed is an entry whose files are not as this tunhook writes them.
type Changed struct {
	autostart.Entry
	Files []string
}

// Records is how many tunnels are recorded, and are there.
type Records struct{ Count int }

// Stale is the record of a tunnel that is gone.
type Stale struct{ pidfile.Record }

// The deeds of Fix.

// Rewrote says that the files of an entry name this program now.
type Rewrote struct{ Program string }

// SetAside says where a file is now that was no record; "" where somebody has seen to it before.
type SetAside struct{ Path string }

// Cleared says that a record was removed.
type Cleared struct{}
