package doctor

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/tunnel"
)

func (e *exam) remminas(context.Context) []Remark {
	var all []Remark
	for _, here := range e.installed() {
		if e.Profile == nil || here.Kind == e.Profile.Kind {
			all = append(all, e.remmina(here))
		}
	}
	if len(all) == 0 {
		return []Remark{note(NoRemmina{})}
	}
	return all
}

// remmina tells what a Remmina does with commands, as tried where that was asked for.
func (e *exam) remmina(here remmina.Installed) Remark {
	fact := Here{Installed: here, Runs: e.runsHooks(here)}
	if !e.Try || here.Kind != remmina.Native {
		return well(fact)
	}
	if _, fact.Untried = e.tried(); fact.Untried != nil {
		return note(fact)
	}
	fact.Tried = true
	return well(fact)
}

// runsHooks tells it by a trial, or else by the version.
func (e *exam) runsHooks(here remmina.Installed) bool {
	if e.Try && here.Kind == remmina.Native {
		if runs, err := e.tried(); err == nil {
			return runs
		}
	}
	return here.RunsHooks()
}

func (e *exam) profiles(context.Context) []Remark {
	listed, err := e.listed()
	if err != nil {
		return []Remark{bad(Fault{err})}
	}
	var all []Remark
	enabled := 0
	for _, p := range listed {
		if p.Err != nil {
			all = append(all, bad(Fault{p.Err}))
			continue
		}
		if p.Enabled {
			enabled++
		}
		all = append(all, e.profile(p.Profile)...)
	}
	return orWell(all, Profiles{len(listed), enabled}, len(listed))
}

func (e *exam) profile(p remmina.Profile) []Remark {
	var all []Remark
	faults := remmina.Examine(p, e.runsFor(p))
	if starts := slices.IndexFunc(faults, func(f remmina.Fault) bool { return f.Trouble == remmina.StartsTunnel }); starts >= 0 {
		faults = faults[starts : starts+1] // what else ails its commands goes with them
	}
	for _, fault := range faults {
		all = append(all, bad(Command{p, fault, e.enabling(p, fault.Command)}))
	}
	entries, _ := e.entries()
	listens := slices.ContainsFunc(entries, func(entry autostart.Entry) bool { return entry.Address.String() == p.Server.Now })
	serving := slices.IndexFunc(e.installed(), func(here remmina.Installed) bool { return here.Kind == p.Kind })
	switch {
	case p.Enabled && !p.Server.Ours:
		all = append(all, bad(Strayed{p, e.enabling(p, "")}))
	case p.By == remmina.ByConnection && !listens:
		all = append(all, bad(Unheard{p, e.enabling(p, "")}))
	case p.By != remmina.ByConnection && (p.By == remmina.ByHook || p.CallsTunhook()) && serving >= 0 && !e.runsHooks(e.installed()[serving]):
		all = append(all, bad(Unserved{p, e.installed()[serving], e.enabling(p, p.Before.Now)}))
	}
	if p.Enabled && p.ByProxy && e.asksProxy() {
		all = append(all, bad(Proxied{p}))
	}
	return all
}

// enabling tells what enabling a profile takes, by connection, so that a command of its own is not run beside it; "" for none.
func (e *exam) enabling(p remmina.Profile, command string) Enabling {
	named := func(o remmina.Entry) bool {
		base := filepath.Base(o.Path)
		return o.Path != p.Path && (o.Name == p.Name || base == p.Name || base == p.Name+".remmina")
	}
	needs := Enabling{ByFile: strings.Contains(p.Name, "/") || slices.ContainsFunc(e.called(), named)}
	if e.Unset != nil {
		return needs
	}
	old, takes := p.Old()
	route := p.Route
	if !p.Enabled || !p.Server.Ours {
		target, err := p.Target()
		if err == nil {
			_, err = e.config().Route(target)
		}
		if err != nil && p.Enabled {
			needs.Route = p.Route
		} else if route = target; err != nil {
			needs.NoRoute, route = true, usualRoute
		}
	}
	listen, err := e.Hook.ListenAddress(route, "stable")
	if err != nil && takes {
		listen, err = e.Hook.ListenAddress(route, p.OwnPort())
	}
	if err == nil {
		err = remmina.Check(p.Path, remmina.Tunnel{Route: route, Listen: listen, By: remmina.ByConnection}, true)
	}
	if needs.Refused = err; err != nil {
		return needs
	}
	foreign := remmina.Check(p.Path, remmina.Tunnel{Route: route, Listen: listen, By: remmina.ByConnection}, false)
	stays := func(value remmina.Value, taken bool) bool {
		return command != "" && value.Now == command && !value.Ours && !taken
	}
	needs.Force = foreign != nil || stays(p.Before, takes && old.Before) || stays(p.After, takes && old.After)
	return needs
}

// called are all profiles, also those that are not in question.
func (e *exam) called() []remmina.Entry {
	if e.Profile == nil {
		all, _ := e.listed()
		return all
	}
	all, _ := remmina.List(e.Profiles)
	return all
}

// runsFor tells whether a profile's Remmina can run a program: a path, or a name on the desktop's PATH. Of what a sandbox holds nothing
// is known.
func (e *exam) runsFor(p remmina.Profile) func(program string) bool {
	path := tunnel.Getenv(e.Hook.Environ, "PATH")
	if manages, err := e.manages(); err == nil && manages.path != "" {
		path = manages.path
	}
	return func(program string) bool {
		if p.Kind != remmina.Native && !strings.Contains(program, "/.var/app/") {
			return true
		}
		if strings.Contains(program, "/") && !filepath.IsAbs(program) {
			return true // it depends on where Remmina was started
		}
		_, err := tunnel.FindProgram(program, path)
		return err == nil
	}
}

// asksProxy tells whether the environment names a proxy, and not that the loopback is to be reached without it.
func (e *exam) asksProxy() bool {
	named := false
	for _, v := range e.Hook.Environ {
		name, value, _ := strings.Cut(strings.ToLower(v), "=")
		switch {
		case name == "no_proxy" && (strings.Contains(value, "127.0.0.0/8") || value == "*"):
			return false
		case strings.HasSuffix(name, "_proxy") && name != "no_proxy" && value != "":
			named = true
		}
	}
	return named
}

func (e *exam) enabled(context.Context) []Remark {
	entries, err := e.entries()
	if err != nil {
		return []Remark{bad(Fault{err})}
	}
	var all []Remark
	for _, entry := range entries {
		if remark, amiss := e.entry(entry); amiss {
			all = append(all, remark)
		}
	}
	all = orWell(all, Enabled{len(entries)}, len(entries))
	if len(entries) > 0 && e.asksProxy() { // what starts the clients has the same environment perhaps
		all = append(all, note(ByProxy{entries[0]}))
	}
	return all
}

// entry tells what is amiss with what is enabled on one address.
func (e *exam) entry(entry autostart.Entry) (remark Remark, amiss bool) {
	store := e.Hook.Store()
	whole, readable := store.Read(entry)
	missing, changed := store.Amiss(whole)
	_, gone := tunnel.FindProgram(entry.Program, "")
	switch {
	case gone != nil:
		remark = bad(Moved{entry})
	case len(missing) > 0:
		remark = bad(Halfway{entry, missing})
	case len(changed) > 0:
		return bad(Changed{entry, changed}), true
	default:
		err := e.Hook.EntryProblem(entry)
		return bad(Fault{err}), err != nil
	}
	if readable {
		remark.fix = func(ctx context.Context) (any, error) {
			return Rewrote{e.Hook.Self}, e.Hook.Rewrite(ctx, whole)
		}
	}
	return remark, true
}
