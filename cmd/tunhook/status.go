package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
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
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on, and show each change: on a terminal in its place, otherwise a line for each"},
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
	if ctx.Bool("watch") {
		return c.watchStatus(ctx, h, hook.WatchRequest{Route: route, Listen: listen, All: ctx.Bool("all")})
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
		c.ui.say(noneConfigured)
		return nil
	}
	return c.ui.statusTable(tunnels)
}

// watchStatus shows each change until the user has enough, or nobody reads it any more: both are how it shall end, so nothing is said.
func (c *command) watchStatus(ctx *cli.Context, h *hook.Env, req hook.WatchRequest) error {
	watching, cancel := context.WithCancelCause(ctx.Context)
	defer cancel(nil)
	go func() {
		if hangsUp(c.ui.stdout) {
			cancel(signalError{syscall.SIGPIPE})
		}
	}()
	show := c.ui.eachChange(ctx.Bool("json"))
	if !ctx.Bool("json") && term.IsTerminal(int(c.ui.stdout.Fd())) {
		screen := c.ui.newScreen(c.variable("TERM"), req.Route, req.All)
		defer screen.close()
		defer onSignal(screen.resized, syscall.SIGWINCH)()
		defer onSignal(screen.resumed, syscall.SIGCONT)()
		show = screen.show
	}
	err := h.Watch(watching, req, show)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return endedError{signalError{syscall.SIGPIPE}}
	case errors.Is(err, context.Canceled):
		return endedError{context.Cause(watching)}
	}
	return err
}
