package doctor

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// anywhere stands for the listen address where none is known.
var anywhere = netip.MustParseAddrPort("127.0.0.1:1")

func (e *exam) routes(context.Context) []Remark {
	config := e.config()
	var all []Remark
	count := 0
	for _, w := range e.wanted() {
		r, err := config.Route(w.route)
		named := e.Route == "" && w.by == w.route
		switch {
		case errors.As(err, new(*tunnel.ConfigError)), err != nil && named: // the check of the configuration tells it, with its line
			continue
		case err != nil:
			all = append(all, bad(Fault{err}))
			continue
		}
		if _, err := r.Environ(anywhere, e.Hook.Self, tunnel.Getenv(e.Hook.Environ, "HOME")); err != nil {
			all = append(all, bad(Fault{err}))
			continue
		}
		count++
		if w.by == e.Route {
			all = append(all, well(Leads{w.route, r.Text, r.Provider.Name()}))
		}
	}
	return orWell(distinct(all), Routes{count}, count)
}

// distinct leaves out what was said before.
func distinct(all []Remark) []Remark {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(r Remark) bool {
		fault, ok := r.Fact.(Fault)
		if !ok {
			return false
		}
		again := seen[fault.Err.Error()]
		seen[fault.Err.Error()] = true
		return again
	})
}

// orWell gives what there is to say, and otherwise that so many things are well.
func orWell(all []Remark, fact any, count int) []Remark {
	switch {
	case len(all) > 0:
		return all
	case count == 0:
		return []Remark{well(Nothing{})}
	}
	return []Remark{well(fact)}
}

// usualRoute is one of the provider that a route has which names none.
const usualRoute = "desk.example.com:3389"

// usedProgram is a program that somebody needs.
type usedProgram struct {
	name, path string
	err        *tunnel.ProgramError
	offDesktop bool // not found on the desktop's PATH
	by         []string
}

func (e *exam) programs(ctx context.Context) []Remark {
	config := e.config()
	used := e.usedPrograms(config)
	if e.Route == "" && e.Profile == nil {
		usual := find(config, wanted{route: usualRoute, path: tunnel.Getenv(e.Hook.Environ, "PATH")}, e.Hook)
		if usual != nil && !slices.ContainsFunc(used, func(u *usedProgram) bool { return u.name == usual.name }) {
			used = append(used, usual)
		}
	}
	remarks := make([]chan []Remark, len(used))
	for i, u := range used {
		remarks[i] = make(chan []Remark, 1)
		go func() { remarks[i] <- e.program(ctx, u) }()
	}
	var all []Remark
	for _, r := range remarks {
		all = append(all, <-r...)
	}
	return orWell(all, Nothing{}, 0)
}

// usedPrograms gives the programs of the routes in question, each once.
func (e *exam) usedPrograms(config *tunnel.Config) []*usedProgram {
	var used []*usedProgram
	for _, w := range slices.Concat(e.wanted(), e.byHand()) {
		u := find(config, w, e.Hook)
		if u == nil {
			continue
		}
		if manages, err := e.manages(); w.hooked && err == nil && manages.path != "" && u.err == nil {
			_, err := tunnel.FindProgram(u.name, manages.path)
			u.offDesktop = err != nil
		}
		same := func(o *usedProgram) bool { return o.name == u.name && o.path == u.path && o.offDesktop == u.offDesktop }
		if i := slices.IndexFunc(used, same); i >= 0 {
			if !slices.Contains(used[i].by, w.by) {
				used[i].by = append(used[i].by, w.by)
			}
			continue
		}
		u.by = []string{w.by}
		used = append(used, u)
	}
	return used
}

// byHand gives the routes of the profiles whose own commands start a tunnel: once they are enabled, and today mostly, they need its program.
func (e *exam) byHand() []wanted {
	var all []wanted
	entries, _ := e.listed() // the check of profiles tells the error
	for _, p := range entries {
		if old, ok := p.Old(); p.Err == nil && !p.Enabled && ok {
			all = append(all, wanted{route: old.Route, path: tunnel.Getenv(e.Hook.Environ, "PATH"), by: p.Name})
		}
	}
	return all
}

// find finds the program of a route; nil where the route is none.
func find(config *tunnel.Config, w wanted, h *hook.Env) *usedProgram {
	r, err := config.Route(w.route)
	if err != nil {
		return nil
	}
	path := w.path
	if env, err := r.Environ(anywhere, h.Self, tunnel.Getenv(h.Environ, "HOME")); err == nil && tunnel.Getenv(env, "PATH") != "" {
		path = tunnel.Getenv(env, "PATH")
	}
	argv, name, err := r.FindCommand(anywhere, h.Self, r.Args(nil), path)
	var lacking *tunnel.ProgramError
	if errors.As(err, &lacking) {
		return &usedProgram{name: filepath.Base(lacking.Program), err: lacking}
	}
	at := slices.IndexFunc(argv, func(arg string) bool { return filepath.IsAbs(arg) && filepath.Base(arg) == name })
	if err != nil || at < 0 {
		return nil
	}
	return &usedProgram{name: name, path: argv[at]}
}

func (e *exam) program(ctx context.Context, u *usedProgram) []Remark {
	switch {
	case u.err != nil && len(u.by) == 0:
		return []Remark{note(NoProgram{u.err, nil})}
	case u.err != nil:
		return []Remark{bad(NoProgram{u.err, u.by})}
	case u.offDesktop:
		return []Remark{bad(NotOnDesktop{u.name, u.path, u.by})}
	case u.path == e.Hook.Self:
		return []Remark{well(Program{Name: u.name, Path: u.path})}
	}
	asks := versions()[u.name]
	version, answered := e.version(ctx, u.path, asks.args)
	least := asks.least
	switch {
	case !answered && least != "":
		return []Remark{bad(Silent{u.name, u.path, e.Patience})}
	case !answered:
		return []Remark{note(Silent{u.name, u.path, e.Patience})}
	case least != "" && older(version, least):
		return []Remark{bad(Old{u.name, u.path, version, least})}
	}
	return []Remark{well(Program{u.name, u.path, version})}
}

func (e *exam) addresses(context.Context) []Remark {
	config := e.config()
	if e.Unset != nil {
		return []Remark{note(Skipped{})}
	}
	var all []Remark
	looked := map[netip.AddrPort]bool{}
	elsewhere := slices.ContainsFunc(e.wanted(), func(w wanted) bool { return w.listen != "" })
	for _, w := range e.wanted() {
		if e.Route != "" && w.listen == "" && elsewhere {
			continue // it is enabled, on another address than it would have otherwise
		}
		remark, address := e.address(config, w)
		if looked[address] && address.IsValid() || remark.Fact == nil {
			continue
		}
		looked[address] = true
		if remark.Level != Well || e.Route != "" || e.Profile != nil {
			all = append(all, remark)
		}
	}
	if e.Route == "" && e.Profile == nil {
		all = append(all, wildcards(looked)...)
	}
	return orWell(all, Addresses{len(looked)}, len(looked))
}

// address looks at the listen address of a route; there is no remark where the route is none, or where it has none that stays.
func (e *exam) address(config *tunnel.Config, w wanted) (Remark, netip.AddrPort) {
	r, err := config.Route(w.route)
	if err != nil {
		return Remark{}, netip.AddrPort{}
	}
	parse := r.ParseListen
	if w.by == e.Route {
		parse = r.ParseFront
	}
	listen, err := parse(w.listen)
	switch {
	case w.by == e.Route && (err != nil || listen.Auto()):
		return well(Picks{w.route}), netip.AddrPort{}
	case err != nil:
		return bad(Fault{err}), netip.AddrPort{}
	case listen.Auto():
		return Remark{}, netip.AddrPort{}
	}
	address := listen.Addr
	err = e.Hook.Taken(address)
	var taken *hook.TakenError
	var enabled *hook.EnabledError
	same := func(route string) bool {
		other, err := config.Route(route)
		return route == w.route || err == nil && other.Text == r.Text
	}
	switch {
	case err == nil:
		return well(Free{address}), address
	case errors.As(err, &taken) && taken.Route != "" && taken.Holder.On == address && same(taken.Route):
		return well(Serves{taken.Route, taken.Holder.Program, taken.Holder.PID, address}), address
	case errors.As(err, &enabled) && same(enabled.Route):
		return well(Awaits{enabled.Entry}), address
	case taken != nil:
		stable, stableErr := r.ParseListen("stable")
		taken.Stable = stableErr == nil && stable.Addr == address
	}
	return bad(Fault{err}), address
}

// wildcards tells of programs that listen on every address with a port that most tunnels would have.
func wildcards(looked map[netip.AddrPort]bool) []Remark {
	var all []Remark
	for _, kind := range []string{tunnel.ReadyRDP, tunnel.ReadyVNC} {
		port := tunnel.UsualPort(kind)
		address := netip.AddrPortFrom(farLoopback.Addr(), port)
		holder, held := tunnel.Holder(address)
		known := false
		for a := range looked {
			known = known || a.Port() == port
		}
		if held && !known && holder.On.Addr().IsUnspecified() {
			all = append(all, note(Wildcard{port, holder}))
		}
	}
	return all
}

func (e *exam) records(context.Context) []Remark {
	if e.Unset != nil {
		return []Remark{note(Skipped{})}
	}
	tunnels, problems, err := e.Hook.Status("", "")
	if err != nil {
		if errors.As(err, new(*pidfile.DirError)) { // which the check of the directories tells
			return []Remark{note(Skipped{})}
		}
		return []Remark{bad(Fault{err})}
	}
	var all []Remark
	count := 0
	for _, t := range tunnels {
		switch {
		case t.State == hook.Waiting || e.Route != "" && t.Record.Route != e.Route && t.Record.Target != e.Route:
		case t.State == hook.Dead && e.Hook.Stale(t.Record):
			all = append(all, e.stale(t.Record))
		case e.Route != "":
			rec := t.Record
			all = append(all, well(Serves{rec.Route, rec.Program, rec.Tunnel.PID, rec.Public()}))
		default:
			count++
		}
	}
	for _, problem := range problems {
		var damaged *pidfile.BadRecordError
		switch {
		case e.Route != "":
		case errors.As(problem, &damaged):
			all = append(all, e.damaged(damaged))
		case errors.As(problem, new(*pidfile.ElsewhereError)):
			all = append(all, note(Fault{problem}))
		}
	}
	return orWell(all, Records{count}, count)
}

func (e *exam) stale(rec pidfile.Record) Remark {
	remark := bad(Stale{rec})
	remark.fix = func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*e.Patience)
		defer cancel()
		_, err := e.Hook.ClearStale(ctx, rec)
		return Cleared{}, err
	}
	return remark
}

func (e *exam) damaged(err *pidfile.BadRecordError) Remark {
	remark := bad(Fault{err})
	if !err.Newer {
		remark.fix = func(context.Context) (any, error) {
			aside, err := e.Hook.SetAsideRecord(err.Path)
			return SetAside{aside}, err
		}
	}
	return remark
}
