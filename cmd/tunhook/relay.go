package main

import (
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

// relayCommand is the tunnel program of relay:// routes. It is not for people.
func (c *command) relayCommand() *cli.Command {
	return &cli.Command{
		Name:      "relay",
		Usage:     "carry connections to a TCP address: the tunnel program of relay:// routes",
		UsageText: "tunhook relay --listen IP:PORT HOST:PORT",
		Hidden:    true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "listen on `IP:PORT`", Required: true},
		},
		Action: c.relay,
	}
}

func (c *command) relay(ctx *cli.Context) error {
	if ctx.Args().Len() != 1 {
		return usagef("one target is needed: usage: %s", usageOf(ctx))
	}
	return tunnel.Relay(ctx.Context, ctx.String("listen"), ctx.Args().First(), c.ui.stderr)
}
