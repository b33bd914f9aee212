package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/adrg/xdg"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

func (c *command) remminaCommand() *cli.Command {
	return &cli.Command{
		Name:      "remmina",
		Usage:     "make Remmina profiles use a tunnel, and give them back as they were",
		UsageText: "tunhook remmina enable|disable|show PROFILE\ntunhook remmina enable --all\ntunhook remmina list",
		Description: "PROFILE is the name that Remmina shows, or a file. Close the profile's settings in Remmina first: " +
			"what it holds in memory it writes back.\n\n" +
			example + "  tunhook remmina enable \"My desk\"",
		Action: noSubcommand,
		Subcommands: []*cli.Command{
			{
				Name:      "enable",
				Usage:     "make a profile use a tunnel",
				UsageText: "tunhook remmina enable [flags] PROFILE\ntunhook remmina enable [flags] --all",
				Description: "By connection, it points the profile's server at a listen address and listens there, as tunhook enable does: the " +
					"connection starts the tunnel. That works with every Remmina. By hook, it fills in the profile's two commands as well, which " +
					"Remmina 1.4.42 and later do not run. A profile that asks a proxy does so no more. Everything else stays as it is, and disable gives back what was there. Where the profile's own command starts a tunnel, " +
					"a script, ssh or pomerium-cli, its route is taken, and the command is set aside.\n\n" +
					example + "  tunhook remmina enable \"My desk\"",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "by", Usage: "what starts the tunnel: `WAY` is connection or hook", DefaultText: "connection, unless nothing here can listen at every login"},
					&cli.StringFlag{Name: "route", Usage: "where the tunnel leads: `ROUTE`", DefaultText: "that of the last enable, or the profile's server, through Pomerium"},
					&cli.StringFlag{Name: "listen", Usage: "where Remmina connects to: `LISTEN`", DefaultText: "that of the last enable, or stable"},
					&cli.StringFlag{Name: "ready", Usage: "what the server behind the tunnel speaks: `KIND` is " + tunnel.OneOf(tunnel.ReadyKinds()[1:]) + ", or listen for anything else", DefaultText: "what fits the profile's protocol"},
					&cli.BoolFlag{Name: "all", Usage: "enable every profile whose own command starts a tunnel; their list is shown first"},
					&cli.BoolFlag{Name: "dry-run", Usage: "only show what would change"},
					&cli.BoolFlag{Name: "force", Usage: "set commands of your own in the profile aside, until disable"},
				},
				Action: c.remminaEnable,
			},
			{
				Name:      "disable",
				Usage:     "give a profile back as it was",
				UsageText: "tunhook remmina disable PROFILE",
				Description: "Its address is listened on no more, unless another profile needs that. " +
					"What you have changed in the profile since stays, and is named.\n\n" +
					example + "  tunhook remmina disable \"My desk\"",
				Action: c.remminaDisable,
			},
			{
				Name:      "show",
				Usage:     "show what a profile connects to and runs",
				UsageText: "tunhook remmina show PROFILE",
				Description: "It also shows what it would be without tunhook, and warns where nothing would start the tunnel.\n\n" +
					example + "  tunhook remmina show \"My desk\"",
				Action: c.remminaShow,
			},
			{
				Name:      "list",
				Usage:     "show all profiles",
				UsageText: "tunhook remmina list",
				Description: "Those of Remmina's Flatpak and Snap, too.\n\n" +
					example + "  tunhook remmina list",
				Action: c.remminaList,
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

func (c *command) remminaDisable(ctx *cli.Context) error {
	profile, err := c.findProfile(ctx)
	if err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	profiles, err := c.profiles(&listeners{hook: h})
	if err != nil {
		return err
	}
	result, err := profiles.Disable(ctx.Context, profile.Path)
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
	if err := c.ui.profile(profile); err != nil {
		return err
	}
	return c.warnOfUnserved(ctx.Context, []remmina.Profile{profile})
}

// warnOfUnserved says which of the profiles find no tunnel when Remmina opens them.
func (c *command) warnOfUnserved(ctx context.Context, profiles []remmina.Profile) error {
	if by(profiles, remmina.ByHook) {
		c.ui.withoutHooks(profiles, c.remminas(ctx))
	}
	if !by(profiles, remmina.ByConnection) {
		return nil
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	entries, err := h.Enabled()
	if err == nil {
		c.ui.withoutListener(profiles, entries)
	}
	return err
}

func by(profiles []remmina.Profile, way remmina.Way) bool {
	return slices.ContainsFunc(profiles, func(p remmina.Profile) bool { return p.By == way })
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
	entries, err := remmina.List(dirs)
	if err != nil {
		return fmt.Errorf("reading the profiles: %w", err)
	}
	if err := c.ui.profiles(entries); err != nil {
		return err
	}
	profiles := make([]remmina.Profile, len(entries))
	for i, e := range entries {
		profiles[i] = e.Profile
	}
	return c.warnOfUnserved(ctx.Context, profiles)
}
