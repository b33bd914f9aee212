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
	for _, fault := range remmina.Examine(p, e.runsFor(p)) {
		all = append(all, bad(Command{p, fault}))
	}
	entries, _ := e.entries()
	listens := slices.ContainsFunc(entries, func(entry autostart.Entry) bool { return entry.Address.String() == p.Server.Now })
	serving := slices.IndexFunc(e.installed(), func(here remmina.Installed) bool { return here.Kind == p.Kind })
	switch {
	case p.Enabled && !p.Server.Ours:
		all = append(all, bad(Strayed{p}))
	case p.By == remmina.ByConnection && !listens:
		all = append(all, bad(Unheard{p}))
	case p.By != remmina.ByConnection && (p.By == remmina.ByHook || p.CallsTunhook()) && serving >= 0 && !e.runsHooks(e.installed()[serving]):
		all = append(all, bad(Unserved{p, e.installed()[serving]}))
	}
	if p.Enabled && p.ByProxy && e.asksProxy() {
		all = append(all, bad(Proxied{p}))
	}
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
	return orWell(all, Enabled{len(entries)}, len(entries))
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
