package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/adrg/xdg"
	"github.com/google/renameio/v2"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/scripts"
	"github.com/urfave/cli/v2"
)

func (c *command) remminaCommand() *cli.Command {
	return &cli.Command{
		Name:      "remmina",
		Usage:     "make Remmina profiles use a tunnel, and give them back as they were",
		UsageText: "tunhook remmina enable|disable|show PROFILE\ntunhook remmina list",
		Description: "PROFILE is the name that Remmina shows, or a file. Close the profile's settings in Remmina first: " +
			"what it holds in memory it writes back.",
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name:      "enable",
				Usage:     "make a profile start its tunnel before connecting, and end it after",
				UsageText: "tunhook remmina enable [flags] PROFILE",
				Description: "Points the profile's server at the listen address and fills in its two commands; everything else stays as it is, " +
					"and disable gives back what was there.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "route", Usage: "where the tunnel leads: `ROUTE`", DefaultText: "that of the last enable, or the profile's server, through Pomerium"},
					&cli.StringFlag{Name: "listen", Usage: "where Remmina connects to: `LISTEN`", DefaultText: "that of the last enable, or stable"},
					&cli.BoolFlag{Name: "force", Usage: "set commands of your own in the profile aside, until disable"},
				},
				Action: c.remminaEnable,
			},
			{
				Name:      "disable",
				Usage:     "give a profile back as it was",
				UsageText: "tunhook remmina disable PROFILE",
				Action:    c.remminaDisable,
			},
			{
				Name:      "show",
				Usage:     "show what a profile connects to and runs",
				UsageText: "tunhook remmina show PROFILE",
				Action:    c.remminaShow,
			},
			{
				Name:      "list",
				Usage:     "show all profiles",
				UsageText: "tunhook remmina list",
				Action:    c.remminaList,
			},
		},
	}
}

// findProfile looks up the one PROFILE that the command line names.
func (c *command) findProfile(ctx *cli.Context) (remmina.Profile, error) {
	if ctx.Args().Len() != 1 || ctx.Args().First() == "" {
		return remmina.Profile{}, usagef("one profile is needed: usage: %s", usageOf(ctx))
	}
	if err := c.nothingAfterDashes(ctx); err != nil {
		return remmina.Profile{}, err
	}
	dirs, err := c.profileDirs()
	if err != nil {
		return remmina.Profile{}, err
	}
	work, err := os.Getwd()
	if err != nil {
		return remmina.Profile{}, err
	}
	return remmina.Find(ctx.Args().First(), work, dirs)
}

func (c *command) profileDirs() ([]remmina.Dir, error) {
	if err := c.absoluteOrUnset("XDG_DATA_HOME"); err != nil {
		return nil, err
	}
	home := c.variable("HOME")
	if !filepath.IsAbs(home) {
		return nil, usagef("HOME is %q, which is not an absolute path: set it to your home directory", home)
	}
	return remmina.Dirs(home, xdg.DataHome), nil
}

func (c *command) remminaEnable(ctx *cli.Context) error {
	profile, err := c.findProfile(ctx)
	if err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	route, err := enableRoute(profile, ctx.String("route"))
	if err != nil {
		return err
	}
	address, err := h.ListenAddress(route, enableListen(h, profile, ctx.String("listen")))
	if err != nil {
		return err
	}
	program, err := c.hookProgram(h, profile)
	if err != nil {
		return err
	}
	result, err := remmina.Enable(profile.Path, remmina.Tunnel{
		Route: route, Listen: address, By: remmina.ByHook,
		Before: []string{program, "start", route, address, "--ready", profile.Ready(), "--end-with", "parent", "--keep-alive"},
		After:  []string{program, "stop", route, address},
	}, ctx.Bool("force"))
	if err != nil {
		return err
	}
	c.ui.enabled(result)
	return nil
}

// enableRoute is the route that was given, or that of the last enable, or the profile's own server.
func enableRoute(profile remmina.Profile, given string) (string, error) {
	switch {
	case given != "":
		return given, nil
	case profile.Enabled && profile.Server.Ours:
		return profile.Route, nil
	}
	return profile.Target()
}

// enableListen is the listen address that was given, or that of the last enable, or "stable". A route's own stable address is not
// kept: it would not be that of another route.
func enableListen(h *hook.Hook, profile remmina.Profile, given string) string {
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
func (c *command) hookProgram(h *hook.Hook, profile remmina.Profile) (string, error) {
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

func (c *command) remminaDisable(ctx *cli.Context) error {
	profile, err := c.findProfile(ctx)
	if err != nil {
		return err
	}
	result, err := remmina.Disable(profile.Path)
	if err == nil {
		c.ui.disabled(profile, result)
	}
	return err
}

func (c *command) remminaShow(ctx *cli.Context) error {
	profile, err := c.findProfile(ctx)
	if err != nil {
		return err
	}
	return c.ui.profile(profile)
}

func (c *command) remminaList(ctx *cli.Context) error {
	if ctx.Args().Present() {
		return usagef("too many arguments from %q on: usage: %s", ctx.Args().First(), usageOf(ctx))
	}
	if err := c.nothingAfterDashes(ctx); err != nil {
		return err
	}
	dirs, err := c.profileDirs()
	if err != nil {
		return err
	}
	profiles, err := remmina.List(dirs)
	if err != nil {
		return fmt.Errorf("reading the profiles: %w", err)
	}
	return c.ui.profiles(profiles)
}
