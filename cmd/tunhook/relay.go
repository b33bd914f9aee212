package main

import (
	"context"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

// relayCommand is the tunnel program of relay:// routes, and of those whose program speaks on its standard input and
// output. It is not for people.
func (c *command) relayCommand() *cli.Command {
	return &cli.Command{
		Name:  "relay",
		Usage: "carry connections to a TCP address, or run a program for each: the tunnel program of relay:// routes",
		UsageText: "tunhook relay --listen IP:PORT HOST:PORT\n" +
			"tunhook relay --listen IP:PORT -- PROGRAM [ARG...]\n" +
			"tunhook relay --listen IP:PORT --ssh HOST:PORT -- PROGRAM [ARG...]",
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "listen on `IP:PORT`"},
			&cli.BoolFlag{Name: "ssh", Usage: "PROGRAM is ssh with its arguments: have it forward to HOST:PORT"},
			&cli.StringFlag{
				Name:  "control",
				Usage: "have the ssh whose child this is forward to HOST:PORT, and share its connection at `SOCKET` no more",
			},
			&cli.StringFlag{Name: "signal", Usage: "end PROGRAM by `SIGNAL`", Value: "TERM"},
			&cli.IntFlag{Name: "end-with", Usage: "end when process `PID` has ended"},
		},
		Action: c.relay,
	}
}

func (c *command) relay(ctx *cli.Context) error {
	listen, target := ctx.String("listen"), ctx.Args().First()
	switch sig, known := tunnel.Signal(ctx.String("signal")); {
	case !known:
		return usagef("--signal is %q, which is no signal that a provider may name", ctx.String("signal"))
	case listen == "": // a flag that is required would bring the library's own help
		return usagef("where to listen? Usage: %s", usageOf(ctx))
	case target == "" && len(c.afterDashes) > 0:
		return tunnel.Stdio{Argv: c.afterDashes, Signal: sig, Log: c.ui.stderr}.Relay(ctx.Context, listen)
	case ctx.Args().Len() != 1:
		return usagef("one target is needed: usage: %s", usageOf(ctx))
	case ctx.Bool("ssh") && len(c.afterDashes) > 1:
		h, err := c.hook()
		if err != nil {
			return err
		}
		return h.SSH(ctx.Context, tunnel.SSH{Argv: c.afterDashes, Listen: listen, Target: target, Log: c.ui.stderr})
	case ctx.String("control") != "":
		return tunnel.ForwardSSH(ctx.Context, ctx.String("control"), listen, target)
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
	return tunnel.Relay(until, listen, target, c.ui.stderr)
}
