package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"
	"github.com/google/renameio/v2"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/scripts"
	"github.com/urfave/cli/v2"
)

func (c *command) remminaEnable(ctx *cli.Context) error {
	asked := remmina.Way(ctx.String("by"))
	if ctx.IsSet("by") && asked != remmina.ByHook && asked != remmina.ByConnection {
		return usagef("--by is %q: give connection or hook", asked)
	}
	if err := checkReady(ctx.String("ready")); err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	if ctx.Bool("all") {
		return c.enableAll(ctx, h)
	}
	profile, err := c.findProfile(ctx)
	if err != nil {
		return err
	}
	e, err := c.newEnabling(ctx, h, profile)
	if err != nil {
		return err
	}
	if server := profile.Server.Original; e.tunnel.Route != profile.Route && ctx.String("route") == "" && strings.TrimSpace(server) != server {
		c.ui.say("the server of %s has a space before or behind it, which is left out: %q", profile.Name, server)
	}
	if ctx.Bool("dry-run") {
		if err := e.check(); err != nil {
			return err
		}
		return c.ui.plan([]remmina.Profile{profile}, []remmina.Tunnel{e.tunnel})
	}
	return e.do(ctx.Context)
}

// enableAll enables every profile whose own commands start a tunnel, after it has shown which. One that cannot be keeps no other from
// it.
func (c *command) enableAll(ctx *cli.Context, h *hook.Env) error {
	switch {
	case ctx.Args().Present():
		return usagef("--all takes every profile that calls a script for its tunnel: leave out %q", ctx.Args().First())
	case ctx.String("route") != "" || ctx.String("listen") != "":
		return usagef("--all takes the routes from the profiles, and gives each an address of its own: leave out --route and --listen")
	}
	if err := c.nothingAfterDashes(ctx); err != nil {
		return err
	}
	dirs, err := c.profileDirs()
	if err != nil {
		return err
	}
	entries, err := remmina.List(dirs)
	if err != nil {
		return err
	}
	var all []*enabling
	var profiles []remmina.Profile
	var tunnels []remmina.Tunnel
	var errs []error
	for _, entry := range entries {
		if _, calls := entry.Old(); entry.Err != nil || entry.Enabled || !calls {
			continue
		}
		e, err := c.newEnabling(ctx, h, entry.Profile)
		if err == nil {
			err = e.check()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", entry.Name, err))
			continue
		}
		all, profiles, tunnels = append(all, e), append(profiles, entry.Profile), append(tunnels, e.tunnel)
	}
	if err := c.ui.plan(profiles, tunnels); err != nil || ctx.Bool("dry-run") {
		return errors.Join(append(errs, err)...)
	}
	for _, e := range all {
		if err := e.do(ctx.Context); err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", e.profile.Name, err))
		}
	}
	return errors.Join(errs...)
}

// newEnabling finds out what a profile shall use.
func (c *command) newEnabling(ctx *cli.Context, h *hook.Env, profile remmina.Profile) (*enabling, error) {
	e := &enabling{command: c, hook: h, profile: profile, force: ctx.Bool("force")}
	e.tunnel.Ready = ctx.String("ready")
	var err error
	if e.tunnel.Route, err = e.route(ctx.String("route")); err != nil {
		return nil, err
	}
	old, calls := profile.Old()
	if calls && old.Route == e.tunnel.Route {
		e.tunnel.Args = old.Args
	}
	e.tunnel.Listen, err = h.ListenAddress(e.tunnel.Route, enableListen(h, profile, ctx.String("listen")))
	if err != nil && calls && ctx.String("listen") == "" { // it listened somewhere, such as above the port of the route that is root's
		e.tunnel.Listen, err = h.ListenAddress(e.tunnel.Route, profile.OwnPort())
	}
	if err != nil {
		return nil, err
	}
	e.choice = c.choice(ctx.Context, profile, remmina.Way(ctx.String("by")))
	return e, nil
}

// check fails where enabling would, as far as that can be told without doing it.
func (e *enabling) check() error {
	t := e.tunnel
	t.By = remmina.ByConnection
	if e.choice.asked == remmina.ByHook {
		t.By = remmina.ByHook
		t.Before, t.After = e.commands(e.hook.Self)
	}
	return remmina.Check(e.profile.Path, t, e.force)
}

func (e *enabling) do(ctx context.Context) error {
	result, err := e.enable(ctx)
	if err == nil {
		e.ui.enabled(result, e.choice)
	}
	return err
}

// choice is the way that is taken, and what it is chosen by.
type choice struct {
	asked      remmina.Way         // "" where it was left to tunhook
	here       []remmina.Installed // the Remminas of this machine
	serving    remmina.Installed   // that which opens the profile, where one was found
	found      bool
	noListener error        // why it is not by connection although nobody asked for another way
	listener   hook.Enabled // by connection
}

func (c *command) choice(ctx context.Context, profile remmina.Profile, asked remmina.Way) choice {
	here := c.remminas(ctx)
	serving, found := serving(here, profile)
	return choice{asked: asked, here: here, serving: serving, found: found}
}

// remminas finds the Remminas of this machine.
func (c *command) remminas(ctx context.Context) []remmina.Installed {
	return remmina.Machine{Root: "/", DataHome: xdg.DataHome, Path: c.variable("PATH"), Environ: c.environ}.Look(ctx)
}

// serving gives the Remmina that opens the profile.
func serving(here []remmina.Installed, profile remmina.Profile) (serving remmina.Installed, found bool) {
	i := slices.IndexFunc(here, func(r remmina.Installed) bool { return r.Kind == profile.Kind })
	if i < 0 {
		return remmina.Installed{}, false
	}
	return here[i], true
}

// enabling is one "remmina enable".
type enabling struct {
	*command
	hook    *hook.Env
	profile remmina.Profile
	tunnel  remmina.Tunnel
	force   bool
	choice  choice
}

// enable takes the way that was asked for. Where none was, that is by connection: it goes on working after an update of Remmina.
func (e *enabling) enable(ctx context.Context) (remmina.Result, error) {
	if e.choice.asked == remmina.ByHook {
		return e.byHook(ctx)
	}
	result, err := e.byConnection(ctx)
	var none *remmina.NoListenerError
	if e.choice.asked == "" && errors.As(err, &none) && e.choice.found && e.choice.serving.RunsHooks() {
		e.choice.noListener = none
		return e.byHook(ctx)
	}
	return result, err
}

func (e *enabling) byConnection(ctx context.Context) (remmina.Result, error) {
	listeners := &listeners{hook: e.hook}
	profiles, err := e.profiles(listeners)
	if err != nil {
		return remmina.Result{}, err
	}
	e.tunnel.By = remmina.ByConnection
	result, err := profiles.Enable(ctx, e.profile.Path, e.tunnel, e.force)
	e.choice.listener = listeners.enabled
	return result, err
}

func (e *enabling) byHook(ctx context.Context) (remmina.Result, error) {
	program, err := e.hookProgram(e.hook, e.profile)
	if err != nil {
		return remmina.Result{}, err
	}
	profiles, err := e.profiles(&listeners{hook: e.hook})
	if err != nil {
		return remmina.Result{}, err
	}
	e.tunnel.By = remmina.ByHook
	e.tunnel.Before, e.tunnel.After = e.commands(program)
	return profiles.Enable(ctx, e.profile.Path, e.tunnel, e.force)
}

// commands are what Remmina runs before and after connecting.
func (e *enabling) commands(program string) (before, after []string) {
	t := e.tunnel
	before = []string{program, "start", t.Route, t.Listen, "--ready", cmp.Or(t.Ready, e.profile.Ready()), "--end-with", "parent", "--keep-alive"}
	if len(t.Args) > 0 {
		before = slices.Concat(before, []string{"--"}, t.Args)
	}
	return before, []string{program, "stop", t.Route, t.Listen}
}

func (c *command) profiles(l *listeners) (remmina.Profiles, error) {
	dirs, err := c.profileDirs()
	return remmina.Profiles{Dirs: dirs, Listeners: l}, err
}

// listeners is what is enabled, as profiles need it.
type listeners struct {
	hook    *hook.Env
	enabled hook.Enabled // what Enable did
}

func (l *listeners) Enable(ctx context.Context, wanted remmina.Listener) (err error) {
	l.enabled, err = l.hook.Enable(ctx, hook.EnableRequest{Route: wanted.Route, Listen: wanted.Address, Ready: wanted.Ready, Args: wanted.Args, For: wanted.For})
	if errors.As(err, new(*autostart.SystemdError)) || errors.As(err, new(*autostart.FileError)) {
		return &remmina.NoListenerError{Err: err}
	}
	return err
}

func (l *listeners) Disable(ctx context.Context, unneeded remmina.Listener) (inUse bool, err error) {
	_, err = l.hook.Disable(ctx, unneeded.Route, unneeded.Address, false)
	if errors.As(err, new(*hook.InUseError)) {
		return true, nil
	}
	return false, err
}

func (l *listeners) Enabled() ([]remmina.Listener, error) {
	entries, err := l.hook.Enabled()
	all := make([]remmina.Listener, len(entries))
	for i, e := range entries {
		all[i] = remmina.Listener{Route: e.Route, Address: e.Address.String(), For: e.For}
	}
	return all, err
}

func (l *listeners) Alone(ctx context.Context, f func() error) error {
	return l.hook.Alone(ctx, "remmina", f)
}

// route is the route that was given, or that of the last enable, or where the profile's own server is. A gateway may list that by
// another route: it counts where exactly one of those listed has the server's name or, where the server tells nothing, the profile's.
func (e *enabling) route(given string) (string, error) {
	p := e.profile
	switch {
	case given != "":
		return given, nil
	case p.Enabled && p.Server.Ours:
		return p.Route, nil
	}
	target, err := p.Target()
	name, port := p.Name, p.OwnPort()
	if err == nil {
		name, port, _ = net.SplitHostPort(target)
	} else if !errors.As(err, new(*remmina.RouteError)) {
		return "", err
	}
	listed, cacheErr := e.hook.CachedRoutes("")
	if cacheErr != nil || slices.ContainsFunc(listed, func(l hook.ListedRoute) bool { return l.Route == target }) {
		return target, err // whatever ails the cache, the profile says what it says
	}
	named := slices.DeleteFunc(listed, func(l hook.ListedRoute) bool { return !strings.EqualFold(l.Name, name) })
	if len(named) != 1 {
		return target, err
	}
	route := named[0].Route
	if _, err := e.hook.ListenAddress(route, "stable"); err != nil { // it may lack a port, such as boundary://ID does
		if _, err := e.hook.ListenAddress(route+":"+port, "stable"); err == nil {
			route += ":" + port
		}
	}
	e.ui.say("%s lists %q: the route is %s; --route names another", named[0].Provider, named[0].Name, route)
	return route, nil
}

// enableListen is the listen address that was given, or that of the last enable, or "stable". A route's own stable address is not
// kept: it would not be that of another route.
func enableListen(h *hook.Env, profile remmina.Profile, given string) string {
	switch {
	case given != "":
		return given
	case !profile.Enabled || !profile.Server.Ours:
		return "stable"
	}
	if own, err := h.ListenAddress(profile.Route, "stable"); err == nil && own == profile.Server.Now {
		return "stable"
	}
	return profile.Server.Now
}

// hookProgram is the program that the profile's commands name: tunhook, or for a Remmina in a Flatpak sandbox, which does not see
// the host's programs, a script in the one directory that host and sandbox have under the same path.
func (c *command) hookProgram(h *hook.Env, profile remmina.Profile) (string, error) {
	if profile.Kind != remmina.Flatpak {
		return h.Self, nil
	}
	dir := filepath.Join(c.variable("HOME"), ".var/app/org.remmina.Remmina/data/tunhook")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	script := filepath.Join(dir, "tunhook")
	return script, renameio.WriteFile(script, []byte(scripts.FlatpakHook(h.Self)), 0o755)
}
