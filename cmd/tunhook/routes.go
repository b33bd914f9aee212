package main

import (
	"context"
	"errors"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

func (c *command) routesCommand() *cli.Command {
	return &cli.Command{
		Name:      "routes",
		Usage:     "list the routes that a gateway has",
		UsageText: "tunhook routes [flags] [PROVIDER [-- ARG...]]",
		Description: "Without PROVIDER it asks all whose program is here. It may be that somebody has to sign in. What was listed is " +
			"offered by the shell's completion from then on, and \"remmina enable\" finds the route of a profile's server there.\n\n" +
			example + "  tunhook routes pomerium -- https://pomerium.corp.example.com",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "cached", Usage: "show what was listed last, and run nothing"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up after `TIME`", Value: hook.DefaultSignInTimeout, DefaultText: "3m"},
		},
		Action: c.routes,
	}
}

func (c *command) routes(ctx *cli.Context) error {
	provider := ctx.Args().First()
	switch {
	case ctx.Args().Len() > 1:
		return usagef("too many arguments from %q on: usage: %s", ctx.Args().Get(1), usageOf(ctx))
	case len(c.afterDashes) > 0 && (provider == "" || ctx.Bool("cached")):
		return usagef("which provider gets %q? Usage: %s", c.afterDashes[0], usageOf(ctx))
	case ctx.Duration("timeout") <= 0:
		return usagef("--timeout is %s: give a time span, such as 30s or 2m", ctx.Duration("timeout"))
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	if ctx.Bool("cached") {
		routes, err := h.CachedRoutes(provider)
		if err != nil {
			return err
		}
		return c.ui.routes(routes)
	}
	limited, cancel := context.WithTimeout(ctx.Context, ctx.Duration("timeout"))
	defer cancel()
	if provider != "" {
		routes, err := h.Routes(limited, provider, c.afterDashes, c.ui.stderr)
		if err != nil {
			return err
		}
		return c.ui.routes(routes)
	}
	return c.allRoutes(limited, h)
}

// allRoutes asks every gateway whose program is here. One that does not answer keeps no other from it.
func (c *command) allRoutes(ctx context.Context, h *hook.Env) error {
	var all []hook.ListedRoute
	var errs []error
	asked := false
	for _, provider := range h.Config().Lists() {
		routes, err := h.Routes(ctx, provider, nil, c.ui.stderr)
		if errors.As(err, new(*tunnel.ProgramError)) {
			continue
		}
		asked = true
		all, errs = append(all, routes...), append(errs, err)
	}
	if !asked {
		return usagef("no program is here that lists routes: they are those of %v", h.Config().Lists())
	}
	if err := c.ui.routes(all); err != nil {
		return err
	}
	return errors.Join(errs...)
}
