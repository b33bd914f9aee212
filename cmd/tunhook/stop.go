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
		Description: "Returns when the tunnel program and its children are gone and the listen address is free. " +
			"A tunnel that clients are connected to ends when the last of them has left; stop says who they are, and returns.\n\n" +
			example + "  tunhook stop desk.corp.example.com:3389 stable",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "end every tunnel that tunhook has started for you"},
			&cli.BoolFlag{Name: "now", Usage: "end the tunnel also where clients are connected, and cut them off"},
			&cli.BoolFlag{Name: "wait", Usage: "where clients are connected, return only when the last has left and the tunnel is gone"},
			&cli.DurationFlag{Name: "grace", Usage: "kill the tunnel program when it has not ended by itself after `TIME`", Value: hook.DefaultGrace},
		},
		Action: c.stop,
	}
}

func (c *command) stop(ctx *cli.Context) error {
	route, listen, err := c.onlyPositionals(ctx, !ctx.Bool("all"))
	if err != nil {
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
	req := hook.StopRequest{Route: route, Listen: listen, Grace: grace, Now: ctx.Bool("now"), Wait: ctx.Bool("wait")}
	if ctx.Bool("all") {
		if route != "" {
			return usagef("--all stops every tunnel: leave %q out, or leave --all out", route)
		}
		stopped, err := h.StopAll(ctx.Context, req)
		if err == nil || len(stopped) > 0 { // otherwise it is not known that there were none
			c.ui.stoppedAll(stopped)
		}
		return err
	}
	stopped, err := h.Stop(ctx.Context, req)
	if err == nil {
		c.ui.stopped(route, stopped)
	}
	return err
}
