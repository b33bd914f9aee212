package doctor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/tunnel"
)

// exam is one look at a machine. What several checks need is found out once.
type exam struct {
	Machine
	Scope

	entries   func() ([]autostart.Entry, error)
	listed    func() ([]remmina.Entry, error)
	installed func() []remmina.Installed
	tried     func() (runs bool, err error)
	manages   func() (managed, error)
	wanted    func() []wanted
}

// managed is what the systemd user manager hands to what it starts.
type managed struct {
	names []string
	path  string // its PATH, which is the desktop's; "" where it does not tell
}

func newExam(ctx context.Context, m Machine, s Scope) *exam {
	m.Patience = cmp.Or(m.Patience, 15*time.Second)
	m.Remmina.Patience = m.Patience
	m.Kernel.complete()
	e := &exam{Machine: m, Scope: s}
	e.entries = sync.OnceValues(e.findEntries)
	e.listed = sync.OnceValues(e.findProfiles)
	e.installed = sync.OnceValue(func() []remmina.Installed { return m.Remmina.Look(ctx) })
	e.tried = sync.OnceValues(func() (runs bool, err error) { return e.tryRemmina(ctx) })
	e.manages = sync.OnceValues(func() (managed, error) { return e.askManager(ctx) })
	e.wanted = sync.OnceValue(e.findWanted)
	return e
}

// ErrNoDisplay says that there is no display, which a Remmina needs to be tried.
var ErrNoDisplay = errors.New("there is no display")

func (e *exam) tryRemmina(ctx context.Context) (runs bool, err error) {
	if !e.onDesktop() {
		return false, ErrNoDisplay
	}
	return e.Machine.Remmina.Try(ctx)
}

// config reads the configuration, for one check: it is not to be used by two at the same time.
func (e *exam) config() *tunnel.Config {
	if e.Unset != nil {
		return tunnel.LoadConfig()
	}
	return e.Hook.Config()
}

func (e *exam) askManager(ctx context.Context) (managed, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	variables, err := e.Hook.Manager().Variables(ctx)
	m := managed{path: tunnel.Getenv(variables, "PATH")}
	for _, v := range variables {
		name, _, _ := strings.Cut(v, "=")
		m.names = append(m.names, name)
	}
	if strings.HasPrefix(m.path, "$'") { // quoted for a shell
		m.path = ""
	}
	return m, err
}

// findProfiles gives those in question.
func (e *exam) findProfiles() ([]remmina.Entry, error) {
	if e.Profile != nil {
		return []remmina.Entry{*e.Profile}, nil
	}
	if e.Route != "" {
		return nil, nil
	}
	return remmina.List(e.Profiles)
}

// enabledProfiles gives those in question that use a tunnel.
func (e *exam) enabledProfiles() []remmina.Profile {
	var all []remmina.Profile
	entries, _ := e.listed() // the check of profiles tells the error
	for _, p := range entries {
		if p.Err == nil && p.Enabled {
			all = append(all, p.Profile)
		}
	}
	return all
}

// findEntries gives the entries in question of what is enabled.
func (e *exam) findEntries() ([]autostart.Entry, error) {
	all, err := e.Hook.Enabled()
	if e.Route == "" && e.Profile == nil {
		return all, err
	}
	config := e.config()
	return slices.DeleteFunc(all, func(entry autostart.Entry) bool {
		if e.Profile != nil && e.Profile.Enabled && entry.Address.String() == e.Profile.Server.Now {
			return false
		}
		if e.Route == "" || entry.Route == e.Route {
			return e.Route == ""
		}
		mine, err1 := config.Route(e.Route)
		theirs, err2 := config.Route(entry.Route)
		return err1 != nil || err2 != nil || mine.Text != theirs.Text
	}), err
}

// wanted is a route that somebody means to use.
type wanted struct {
	route  string
	listen string // as it was given; "" for what the configuration says
	path   string // the PATH on which its program is looked for
	by     string // who wants it: a name of the configuration, an address that is enabled, a profile
	hooked bool   // Remmina runs its commands, on the desktop's PATH
}

// findWanted gives the routes in question.
func (e *exam) findWanted() []wanted {
	var all []wanted
	path := tunnel.Getenv(e.Hook.Environ, "PATH")
	if e.Route != "" {
		all = append(all, wanted{route: e.Route, path: path, by: e.Route})
	} else if e.Profile == nil {
		for _, name := range e.config().Names() {
			all = append(all, wanted{route: name, path: path, by: name})
		}
	}
	entries, _ := e.entries() // the check of what is enabled tells the error
	for _, entry := range entries {
		w := wanted{route: entry.Route, listen: entry.Address.String(), path: path, by: entry.Address.String()}
		if whole, ok := e.Hook.Store().Read(entry); ok {
			w.path = cmp.Or(tunnel.Getenv(whole.Environ, "PATH"), path)
		}
		all = append(all, w)
	}
	for _, p := range e.enabledProfiles() {
		served := slices.ContainsFunc(entries, func(entry autostart.Entry) bool { return entry.Address.String() == p.Server.Now })
		if p.By == remmina.ByHook || !served {
			all = append(all, wanted{route: p.Route, listen: p.Server.Now, path: path, by: p.Name, hooked: p.By == remmina.ByHook})
		}
	}
	return all
}
