package main

import (
	"context"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
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
			&cli.IntFlag{Name: "end-with", Usage: "end when process `PID` has ended"},
		},
		Action: c.relay,
	}
}

func (c *command) relay(ctx *cli.Context) error {
	if ctx.Args().Len() != 1 {
		return usagef("one target is needed: usage: %s", usageOf(ctx))
	}
	until, cancel := context.WithCancel(ctx.Context)
	defer cancel()
	if pid := ctx.Int("end-with"); pid > 0 {
		id, err := process.Identify(pid)
		if err != nil {
			return err
		}
		other, err := process.Open(id)
		if err != nil {
			return err
		}
		defer other.Close()
		go func() {
			for !other.Wait(time.Hour) {
			}
			cancel()
		}()
	}
	return tunnel.Relay(until, ctx.String("listen"), ctx.Args().First(), c.ui.stderr)
}
