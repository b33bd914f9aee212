package main

import (
	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

func (c *command) stopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Usage:     "end a tunnel; stopping what does not run succeeds",
		UsageText: "tunhook stop [flags] ROUTE [LISTEN]\ntunhook stop [flags] --all",
		Description: `Returns when the tunnel program and its children are gone and the listen address
is free. It signals the process that start has started and no other.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "end every tunnel that tunhook has started for you"},
			&cli.DurationFlag{Name: "grace", Usage: "kill the tunnel program when it has not ended by itself after `D`", Value: hook.DefaultGrace},
		},
		Action: c.stop,
	}
}

func (c *command) stop(ctx *cli.Context) error {
	route, listen, err := positionals(ctx, !ctx.Bool("all"))
	if err != nil {
		return err
	}
	if err := c.nothingAfterDashes(ctx); err != nil {
		return err
	}
	grace, err := positive(ctx, "grace")
	if err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	if ctx.Bool("all") {
		if route != "" {
			return usagef("--all stops every tunnel: leave %q out, or leave --all out", route)
		}
		stopped, err := h.StopAll(ctx.Context, grace)
		c.ui.stoppedAll(stopped)
		return err
	}
	stopped, err := h.Stop(ctx.Context, hook.StopRequest{Route: route, Listen: listen, Grace: grace})
	if err == nil {
		c.ui.stopped(route, stopped)
	}
	return err
}
