// Package hook holds the use cases behind tunhook's commands: starting, stopping, running, waiting for and looking at tunnels.
// It prints nothing; what people shall know comes back as values and typed errors, or through the functions in Env.
package hook

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// Env is what all use cases need of the world around them.
type Env struct {
	// Config loads the configuration; it is asked for only where it is needed.
	Config func() *tunnel.Config
	// RunDir holds records and locks, LogDir the tunnels' logs: absolute paths. RunDir's parent must be private too where
	// RunParent says so: it is the user's runtime directory then.
	RunDir, LogDir string
	RunParent      bool
	// OtherRunDirs are where the records are of tunnels that were started in another environment, by cron perhaps.
	OtherRunDirs []string
	// ConfigHome is $XDG_CONFIG_HOME, an absolute path, below which the entries are of what starts at login.
	ConfigHome string
	// Self is the absolute path of tunhook.
	Self string
	// Environ is the caller's environment, which the tunnel program gets.
	Environ []string
	Now     func() time.Time
	// Slept is for how long the machine has slept since it was booted; nil for what the system says.
	Slept func() time.Duration
	// Notice is told what a person should know though nothing failed.
	Notice func(Notice)
	// Waiting is told that a wait begins, and for what; the function it returns, that it is over.
	Waiting func(what string) (done func())
	// SignIn is told that the program of a tunnel waits for somebody to sign in at url; the function it returns, that the wait is
	// over.
	SignIn func(rec pidfile.Record, url string) (done func())
	// Ask asks whoever has called what the tunnel program wants to know; ok is false where there is no answer, or ctx
	// is done. May be nil, where nobody can be asked.
	Ask func(ctx context.Context, q Question) (answer string, ok bool)
	// Quiet says that keepers shall tell nobody on the desktop.
	Quiet bool
	// Guard returns when a signal no longer ends this process, but the contexts that the use cases are given. No record is locked
	// before: what has begun is finished or undone. May be nil, where it is so from the beginning.
	Guard func()

	launching sync.Mutex
}

// launchProgram is tunnel.Launch, one at a time.
func (h *Env) launchProgram(argv, environ []string, log *os.File) (*tunnel.Launched, error) {
	h.launching.Lock()
	defer h.launching.Unlock()
	return tunnel.Launch(argv, environ, log)
}

// Notice is something that a person should know though the use case goes on.
type Notice interface{ notice() }

// SetAside says that a file in the place of a record was renamed.
type SetAside struct {
	Problem *pidfile.BadRecordError
	NewPath string
	Holder  *tunnel.Peer // who serves the record's address: the tunnel that the record was of, perhaps
}

// OtherArgs says that the running tunnel was started with other arguments, and was kept.
type OtherArgs struct {
	Record  pidfile.Record
	NotKept bool // it was to be started again when it dies, which only a start with its own arguments can ask for
}

// Exposed says that other machines can reach the listen address.
type Exposed struct{ Address netip.AddrPort }

// NotAsked says that a start does not ask for the answer that it was to wait for, since a connection costs something.
type NotAsked struct{ Route, Provider, Ready string }

// HandedOver says that a run's client has ended well and left the tunnel to another one, for which the tunnel stays.
type HandedOver struct {
	Client string // as it was called
	Record pidfile.Record
	To     []tunnel.Peer // those that are connected already; none where somebody is still to connect
}

// NoEffect says what of the configuration has none, since it could not be read: what it was to say may concern any route.
type NoEffect struct{ Faults []*tunnel.ConfigError }

func (SetAside) notice()   {}
func (OtherArgs) notice()  {}
func (Exposed) notice()    {}
func (NotAsked) notice()   {}
func (HandedOver) notice() {}
func (NoEffect) notice()   {}

// records opens the directory of the records.
func (h *Env) records(create bool) (pidfile.Dir, error) {
	dir, err := pidfile.PrivateDir(h.RunDir, h.RunParent, create)
	return dir.Beside(h.OtherRunDirs...), err
}

// target is what a command's ROUTE and LISTEN mean.
type target struct {
	route  tunnel.Route
	listen tunnel.Listen
}

// isStable tells whether the listen address is the one that "stable" gives the route, however it was named.
func (t target) isStable() bool {
	stable, err := t.route.ParseListen("stable")
	return err == nil && stable.Addr == t.listen.Addr
}

func (t target) key() pidfile.Key {
	return pidfile.Key{Route: t.route.Given, Listen: t.listen.String()}
}

func (h *Env) target(route, listen string) (target, error) {
	return targetOf(h.Config(), route, listen)
}

// toStart is the target of what somebody wants to be started: targetOf, or frontOf where its connection does that.
func (h *Env) toStart(targets func(*tunnel.Config, string, string) (target, error), route, listen string) (target, error) {
	config := h.Config()
	t, err := targets(config, route, listen)
	if faults := config.Unread(); err == nil && len(faults) > 0 {
		h.notice(NoEffect{faults})
	}
	return t, err
}

func targetOf(config *tunnel.Config, route, listen string) (target, error) {
	r, err := config.Route(route)
	if err != nil {
		return target{}, err
	}
	l, err := r.ParseListen(listen)
	return target{r, l}, err
}

// ListenAddress gives the one address that ROUTE and LISTEN stand for, as IP:PORT, if the user may listen there. The error is a
// *tunnel.ListenError where LISTEN leaves it to each start, and those of routes, listen addresses and configuration.
func (h *Env) ListenAddress(route, listen string) (string, error) {
	t, err := h.target(route, listen)
	if err != nil {
		return "", err
	}
	if _, err := t.listen.Reserve(); err != nil && !errors.Is(err, tunnel.ErrTaken) {
		return "", err
	}
	if t.listen.Auto() {
		return "", &tunnel.ListenError{Listen: listen, Reason: "is another one each time: give PORT, IP:PORT or \"stable\""}
	}
	return t.listen.String(), nil
}

// find gives the record that ROUTE and LISTEN mean to a command that starts nothing. Where the key has none, a tunnel of the
// same route counts, by whichever name it was started, that listens on the very address, or on whatever port it found where no
// address was given. So a tunnel is still found after the configuration changed, or when it cannot be read. The error is a
// *NoTunnelError where there is none.
func (h *Env) find(dir pidfile.Dir, route, listen string) (pidfile.Record, error) {
	config := h.Config()
	t, inputErr := targetOf(config, route, listen)
	var dead *pidfile.Record // of the key, where the route may have a tunnel that lives under another name
	if inputErr == nil {
		rec, err := dir.Read(t.key())
		if err == nil && phaseOf(rec) == isDead {
			dead = &rec
		} else if !errors.Is(err, fs.ErrNotExist) {
			return rec, err
		}
	}
	asked := t.listen
	if inputErr != nil {
		asked = h.guessListen(route, listen)
	}
	own, others, err := ofRoute(dir, config, route)
	if err != nil {
		return pidfile.Record{}, err
	}
	for _, rec := range slices.Concat(own, others) {
		switch {
		case dead != nil && rec.Key() == dead.Key():
		case !asked.Auto() && rec.Public() == asked.Addr, listen != "" && rec.Listen == listen:
			return rec, nil
		case listen == "" && asked.Auto() && rec.Listen == tunnel.Auto:
			return rec, nil
		}
	}
	if dead != nil {
		return *dead, nil
	}
	if inputErr != nil {
		return pidfile.Record{}, inputErr
	}
	if len(own) == 0 {
		own = others
	}
	return pidfile.Record{}, &NoTunnelError{route, listen, own}
}

// ofRoute gives the records of a route: those that were started as it is called here, and those by another of its names.
func ofRoute(dir pidfile.Dir, config *tunnel.Config, route string) (own, others []pidfile.Record, err error) {
	if own, err = dir.ListRoute(route); err != nil {
		return own, nil, err
	}
	r, err := config.Route(route)
	if err != nil {
		return own, nil, nil
	}
	for _, name := range config.Aliases(r) {
		if name == route {
			continue
		}
		records, err := dir.ListRoute(name)
		if err != nil {
			return nil, nil, err
		}
		others = append(others, records...)
	}
	return own, others, nil
}

// guessListen gives what a listen address means where the configuration cannot tell what the route does: most addresses need no
// route, and the embedded providers know most routes.
func (h *Env) guessListen(route, listen string) tunnel.Listen {
	if t, err := targetOf(tunnel.LoadConfig(), route, listen); err == nil {
		return t.listen
	}
	asked, _ := tunnel.ParseAddress(listen) // none: no record has that
	return asked
}

// logPath is the log of the tunnel with that key.
func (h *Env) logPath(key pidfile.Key) string { return filepath.Join(h.LogDir, key.Name()+".log") }

func (h *Env) waiting(what string) (done func()) {
	if h.Waiting == nil {
		return func() {}
	}
	return h.Waiting(what)
}

func (h *Env) notice(n Notice) {
	if h.Notice != nil {
		h.Notice(n)
	}
}
