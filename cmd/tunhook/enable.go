package main

import (
	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

func (c *command) enableCommand() *cli.Command {
	return &cli.Command{
		Name:      "enable",
		Usage:     "listen at every login: the first connection starts the tunnel",
		UsageText: "tunhook enable [flags] ROUTE [LISTEN] [-- TUNNEL-ARG...]",
		Description: "Listens on LISTEN, where it is left out on the configuration's or else \"stable\", from now on and at every login, " +
			"and prints the address. A connection there starts the tunnel, and the last one ends it. It is a socket of the systemd user manager, with no process " +
			"of tunhook's until somebody connects, or where there is no such manager an autostart entry of the desktop.\n\n" +
			example + "  tunhook enable desk.corp.example.com:3389",
		Flags:  listenFlags("always"),
		Action: c.enable,
	}
}

func (c *command) enableRequest(ctx *cli.Context) (hook.EnableRequest, error) {
	route, listen, err := positionals(ctx, true)
	if err != nil {
		return hook.EnableRequest{}, err
	}
	req := hook.EnableRequest{Route: route, Listen: listen, Ready: ctx.String("ready"), Notify: ctx.String("notify"), Args: c.afterDashes}
	if err := checkReady(req.Ready); err != nil {
		return req, err
	}
	if err := checkNotify(req.Notify); err != nil {
		return req, err
	}
	if req.Linger, err = positive(ctx, "linger"); err != nil {
		return req, err
	}
	req.Timeout, err = positive(ctx, "timeout")
	return req, err
}

func (c *command) enable(ctx *cli.Context) error {
	req, err := c.enableRequest(ctx)
	if err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	enabled, err := h.Enable(ctx.Context, req)
	if err != nil {
		return err
	}
	c.ui.nowListens(enabled)
	return c.ui.result(enabled.Address.String())
}

func (c *command) disableCommand() *cli.Command {
	return &cli.Command{
		Name:      "disable",
		Usage:     "take an enable back; disabling what is not enabled succeeds",
		UsageText: "tunhook disable [flags] ROUTE [LISTEN]\ntunhook disable [flags] --all",
		Description: "Nothing listens there any more, now and at the next login, the tunnel behind it is ended, and no file is left. " +
			"LISTEN can be left out where the route is enabled on one address.\n\n" +
			example + "  tunhook disable desk.corp.example.com:3389",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "disable all that is enabled"},
			&cli.BoolFlag{Name: "now", Usage: "also where clients are connected, and cut them off"},
		},
		Action: c.disable,
	}
}

func (c *command) disable(ctx *cli.Context) error {
	all := ctx.Bool("all")
	route, listen, err := c.onlyPositionals(ctx, !all)
	if err != nil {
		return err
	}
	if all && route != "" {
		return usagef("--all disables all that is enabled: leave %q out, or leave --all out", route)
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	if all {
		disabled, err := h.DisableAll(ctx.Context, ctx.Bool("now"))
		if err == nil || len(disabled) > 0 { // otherwise it is not known that nothing was
			c.ui.allListenNoMore(disabled)
		}
		return err
	}
	disabled, err := h.Disable(ctx.Context, route, listen, ctx.Bool("now"))
	if err == nil {
		c.ui.listensNoMore(disabled)
	}
	return err
}
