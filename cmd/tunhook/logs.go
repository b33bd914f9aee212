package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

func (c *command) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "show what a tunnel program has logged",
		UsageText: "tunhook logs [flags] ROUTE [LISTEN]",
		Description: "What the program has written to its standard output and standard error, also of a tunnel that has ended. " +
			"Each start begins with a line of dashes, its time, and what was started.\n\n" +
			example + "  tunhook logs desk.corp.example.com:3389 stable",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "show what comes, too, until the tunnel ends"},
		},
		Action: c.logs,
	}
}

func (c *command) logs(ctx *cli.Context) error {
	route, listen, err := c.onlyPositionals(ctx, true)
	if err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	out := c.ui.log()
	return errors.Join(h.Logs(ctx.Context, route, listen, ctx.Bool("follow"), out), out.Close())
}
