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
	"strconv"
	"strings"

	"github.com/adrg/xdg"
	"github.com/google/renameio/v2"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/scripts"
	"github.com/tunhook/tunhook/tunnel"
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
	if server := profile.Server.Original; e.plan.Tunnel.Route != profile.Route && ctx.String("route") == "" && strings.TrimSpace(server) != server {
		c.ui.say("the server of %s has a space before or behind it, which is left out: %q", profile.Name, server)
	}
	if err := e.check(nil); err != nil {
		return err
	}
	if ctx.Bool("dry-run") {
		return c.ui.plan([]remmina.Plan{e.plan})
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
	var plans []remmina.Plan
	var errs []error
	for _, entry := range entries {
		if _, calls := entry.Old(); entry.Err != nil || entry.Enabled || !calls {
			continue
		}
		e, err := c.newEnabling(ctx, h, entry.Profile)
		if err == nil {
			err = e.check(plans)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", entry.Name, err))
			continue
		}
		all, plans = append(all, e), append(plans, e.plan)
	}
	if err := c.ui.plan(plans); err != nil || ctx.Bool("dry-run") {
		return errors.Join(append(errs, err)...)
	}
	for _, e := range all {
		if err := e.do(ctx.Context); err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", e.plan.Profile.Name, err))
		}
	}
	return errors.Join(errs...)
}

// newEnabling finds out what a profile shall use.
func (c *command) newEnabling(ctx *cli.Context, h *hook.Env, profile remmina.Profile) (*enabling, error) {
	e := &enabling{command: c, hook: h, plan: remmina.Plan{Profile: profile}, listen: ctx.String("listen"), force: ctx.Bool("force")}
	e.plan.Tunnel.Ready = ctx.String("ready")
	err := remmina.CheckReach(profile.Path) // no route would help
	if err != nil {
		return nil, err
	}
	if e.plan.Tunnel.Route, err = e.route(ctx.String("route")); err != nil {
		return nil, err
	}
	t := &e.plan.Tunnel
	t.Args = oldArgs(profile, t.Route)
	t.Listen, err = h.ListenAddress(t.Route, enableListen(h, profile, t.Route, e.listen))
	if _, calls := profile.Old(); err != nil && calls && e.listen == "" { // it listened somewhere, such as above the port of the route that is root's
		t.Listen, err = h.ListenAddress(t.Route, profile.OwnPort())
	}
	if err != nil {
		return nil, err
	}
	e.choice = c.choice(ctx.Context, profile, remmina.Way(ctx.String("by")))
	return e, nil
}

// check completes the plan, and fails where enabling would, as far as that can be told without doing it. The profiles of other
// plans count as enabled. An address that others use with other arguments is changed for another, if nobody has given it.
func (e *enabling) check(others []remmina.Plan) error {
	err := e.checkWay(others)
	var used *remmina.UsedError
	if !errors.As(err, &used) || e.listen != "" {
		return err
	}
	own, ownErr := e.hook.ListenAddress(e.plan.Tunnel.Route, ownAddress(e.plan.Tunnel))
	if ownErr != nil {
		return err
	}
	e.plan.Tunnel.Listen = own
	if err := e.checkWay(others); err != nil {
		return err
	}
	e.ui.ownAddress(e.plan, used)
	return nil
}

// checkWay is check for the way that would be taken.
func (e *enabling) checkWay(others []remmina.Plan) error {
	listeners := &listeners{hook: e.hook}
	profiles, err := e.profiles(listeners)
	if err != nil {
		return err
	}
	if e.choice.asked != remmina.ByHook {
		e.plan.Tunnel.By = remmina.ByConnection
		if err := profiles.Check(&e.plan, e.force, others); err != nil {
			return err
		}
		t := e.plan.Tunnel
		err := listenerError(e.hook.CheckEnable(hook.EnableRequest{
			Route: t.Route, Listen: t.Listen, Ready: cmp.Or(t.Ready, e.plan.Profile.Ready(remmina.ByConnection)), Args: t.Args, For: e.plan.Profile.Path,
		}))
		if !e.mayGoByHook(err) {
			return err
		}
	}
	e.byCommands(e.hookPath())
	return profiles.Check(&e.plan, e.force, others)
}

// ownAddress is a loopback address for a route with just these arguments, with the port of the address that it has: the same every
// time, as that of the route alone is.
func ownAddress(t remmina.Tunnel) string {
	_, port, _ := net.SplitHostPort(t.Listen)
	return net.JoinHostPort(tunnel.LoopbackOf(strings.Join(append([]string{t.Route}, t.Args...), "\x00")).String(), port)
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
	hook   *hook.Env
	plan   remmina.Plan
	listen string // the address that was given
	force  bool
	choice choice
}

// enable takes the way that was asked for. Where none was, that is by connection: it goes on working after an update of Remmina.
func (e *enabling) enable(ctx context.Context) (remmina.Result, error) {
	if e.choice.asked == remmina.ByHook {
		return e.byHook(ctx)
	}
	e.choice.noListener = nil // whatever the check has found
	result, err := e.byConnection(ctx)
	if e.mayGoByHook(err) {
		return e.byHook(ctx)
	}
	return result, err
}

// mayGoByHook tells of an error that it only keeps from the connection, which nobody has asked for.
func (e *enabling) mayGoByHook(err error) bool {
	var none *remmina.NoListenerError
	if e.choice.asked != "" || !errors.As(err, &none) || !e.choice.found || !e.choice.serving.RunsHooks() {
		return false
	}
	e.choice.noListener = none
	return true
}

func (e *enabling) byConnection(ctx context.Context) (remmina.Result, error) {
	listeners := &listeners{hook: e.hook}
	profiles, err := e.profiles(listeners)
	if err != nil {
		return remmina.Result{}, err
	}
	e.plan.Tunnel.By = remmina.ByConnection
	result, err := profiles.Enable(ctx, e.plan.Profile.Path, e.plan.Tunnel, e.force)
	e.choice.listener = listeners.enabled
	return result, err
}

func (e *enabling) byHook(ctx context.Context) (remmina.Result, error) {
	if err := e.writeHook(); err != nil {
		return remmina.Result{}, err
	}
	profiles, err := e.profiles(&listeners{hook: e.hook})
	if err != nil {
		return remmina.Result{}, err
	}
	e.byCommands(e.hookPath())
	return profiles.Enable(ctx, e.plan.Profile.Path, e.plan.Tunnel, e.force)
}

// byCommands plans what Remmina runs before and after connecting.
func (e *enabling) byCommands(program string) {
	t := &e.plan.Tunnel
	t.By = remmina.ByHook
	ready := cmp.Or(t.Ready, e.plan.Profile.Ready(remmina.ByHook))
	t.Before = []string{program, "start", t.Route, t.Listen, "--ready", ready, "--end-with", "parent", "--keep-alive"}
	if len(t.Args) > 0 {
		t.Before = slices.Concat(t.Before, []string{"--"}, t.Args)
	}
	t.After = []string{program, "stop", t.Route, t.Listen}
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
	return listenerError(err)
}

// listenerError tells of an error of the systemd user manager or the user's files that there can be no listener.
func listenerError(err error) error {
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
		whole, _ := l.hook.Store().Read(e)
		if behind := slices.Index(whole.Args, "--"); behind >= 0 && behind+1 < len(whole.Args) {
			all[i].Args = whole.Args[behind+1:]
		}
	}
	return all, err
}

func (l *listeners) Alone(ctx context.Context, f func() error) error {
	return l.hook.Alone(ctx, "remmina", f)
}

// route is the route that was given, or that of the last enable, or where the profile's own server is. A gateway may list that by
// another route: it counts where exactly one of those listed has the server's name or, where the server tells nothing, the profile's.
func (e *enabling) route(given string) (string, error) {
	p := e.plan.Profile
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
	_, own := p.Old()
	listed, cacheErr := e.hook.CachedRoutes("")
	if own || cacheErr != nil || port == "0" {
		return target, err // whatever ails the cache, the profile says what it says
	}
	config := e.hook.Config()
	var named []hook.ListedRoute
	for _, l := range listed {
		r, err := config.Route(l.Route)
		if err != nil {
			continue
		}
		at := strconv.Itoa(int(r.Port()))
		if net.JoinHostPort(r.Host(), at) == target && strings.EqualFold(r.Host(), name) {
			return target, nil
		}
		if strings.EqualFold(l.Name, name) && (at == "0" || at == port) {
			named = append(named, l)
		}
	}
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

// enableListen is the listen address that was given, or that of the last enable, or "stable". What is a route's own is not kept for
// another route.
func enableListen(h *hook.Env, profile remmina.Profile, route, given string) string {
	switch {
	case given != "":
		return given
	case !profile.Enabled || !profile.Server.Ours:
		return "stable"
	case route == profile.Route:
		return profile.Server.Now
	}
	own, err := h.ListenAddress(profile.Route, "stable")
	withArgs := ownAddress(remmina.Tunnel{Route: profile.Route, Listen: own, Args: oldArgs(profile, profile.Route)})
	if err == nil && slices.Contains([]string{own, withArgs}, profile.Server.Now) {
		return "stable"
	}
	return profile.Server.Now
}

// oldArgs are the arguments of the tunnel program in the profile's own command, where that leads along the route.
func oldArgs(profile remmina.Profile, route string) []string {
	if old, calls := profile.Old(); calls && old.Route == route {
		return old.Args
	}
	return nil
}

// hookPath is the program that the profile's commands name: tunhook, or for a Remmina in a Flatpak sandbox, which does not see
// the host's programs, a script in the one directory that host and sandbox have under the same path.
func (e *enabling) hookPath() string {
	if e.plan.Profile.Kind != remmina.Flatpak {
		return e.hook.Self
	}
	return filepath.Join(e.variable("HOME"), ".var/app/org.remmina.Remmina/data/tunhook/tunhook")
}

// writeHook writes that script.
func (e *enabling) writeHook() error {
	if e.plan.Profile.Kind != remmina.Flatpak {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(e.hookPath()), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(e.hookPath(), []byte(scripts.FlatpakHook(e.hook.Self)), 0o755)
}
