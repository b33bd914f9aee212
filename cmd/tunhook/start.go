package main

import (
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

func (c *command) startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "start a tunnel, or find it running, and print its listen address",
		UsageText: "tunhook start [flags] ROUTE [LISTEN] [-- TUNNEL-ARG...]",
		Description: `Returns when the tunnel's own process listens, and not before. Starting what runs
already changes nothing. What stands behind "--" is handed to the tunnel program.`,
		Flags:  startFlags(),
		Action: c.start,
	}
}

// startFlags are the flags of start and run alike.
func startFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "timeout", Usage: "give up, and end the tunnel, when it is not ready after `D`", Value: hook.DefaultTimeout},
		&cli.BoolFlag{Name: "reuse", Usage: "where another program serves LISTEN already, take that as it is"},
	}
}

func startRequest(ctx *cli.Context) (hook.StartRequest, error) {
	route, listen, err := positionals(ctx, true)
	if err != nil {
		return hook.StartRequest{}, err
	}
	timeout, err := positive(ctx, "timeout")
	return hook.StartRequest{Route: route, Listen: listen, Timeout: timeout, Reuse: ctx.Bool("reuse")}, err
}

// positive gives the value of a flag that takes a time span above 0.
func positive(ctx *cli.Context, name string) (time.Duration, error) {
	d := ctx.Duration(name)
	if d <= 0 {
		return 0, usagef("--%s is %s: give a time span above 0, such as 30s or 2m", name, d)
	}
	return d, nil
}

func (c *command) start(ctx *cli.Context) error {
	req, err := startRequest(ctx)
	if err != nil {
		return err
	}
	req.Args = c.afterDashes
	h, err := c.hook()
	if err != nil {
		return err
	}
	started, err := h.Start(ctx.Context, req)
	if err != nil {
		return err
	}
	c.ui.started(started)
	return c.ui.result(started.Address.String())
}
