package main

import (
	"net/netip"

	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

func (c *command) waitCommand() *cli.Command {
	return &cli.Command{
		Name:      "wait",
		Usage:     "wait until a tunnel that something else starts is ready",
		UsageText: "tunhook wait [flags] ROUTE [LISTEN]\ntunhook wait [flags] --listen ADDR",
		Description: `Prints the listen address when the tunnel is ready. With --listen it waits for
anything at all to listen there. It never connects to find out.

` + example + `  tunhook wait desk.corp.example.com:3389 stable`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "wait until anything listens on `ADDR` (PORT or IP:PORT)"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up after `TIME`", Value: hook.DefaultTimeout},
		},
		Action: c.wait,
	}
}

func (c *command) wait(ctx *cli.Context) error {
	any := ctx.IsSet("listen")
	route, listen, err := c.onlyPositionals(ctx, !any)
	if err != nil {
		return err
	}
	if any && route != "" {
		return usagef("--listen waits for an address and %q is a route: give one of them", route)
	}
	timeout, err := positive(ctx, "timeout")
	if err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	var address netip.AddrPort
	if any {
		address, err = h.WaitListen(ctx.Context, ctx.String("listen"), timeout)
	} else {
		address, err = h.Wait(ctx.Context, route, listen, timeout)
	}
	if err != nil {
		return err
	}
	return c.ui.result(address.String())
}
