package main

import (
	"errors"

	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

func (c *command) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show the tunnels and the clients connected to them",
		UsageText: "tunhook status [flags] [ROUTE [LISTEN]]",
		Description: "Without ROUTE it shows every tunnel that was started, and every address that is enabled. It changes nothing.\n\n" +
			example + "  tunhook status",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "show the tunnels too that do not run and that the configuration has a name for"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON, in the form that tunhook(1) describes"},
		},
		Action: c.status,
	}
}

func (c *command) status(ctx *cli.Context) error {
	route, listen, err := c.onlyPositionals(ctx, false)
	if err != nil {
		return err
	}
	if ctx.Bool("all") && route != "" {
		return usagef("--all shows all of them: leave out %q", route)
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	var tunnels []hook.Tunnel
	var bad []error
	if ctx.Bool("all") {
		tunnels, bad, err = h.StatusAll()
	} else {
		tunnels, bad, err = h.Status(route, listen)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(bad...); err != nil {
		c.ui.badRecords(bad)
	}
	if ctx.Bool("json") {
		return c.ui.statusJSON(tunnels)
	}
	if len(tunnels) == 0 && ctx.Bool("all") {
		c.ui.noneConfigured()
		return nil
	}
	return c.ui.statusTable(tunnels)
}
