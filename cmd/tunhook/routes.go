package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

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

// allRoutes asks every gateway whose program is here. One that does not answer keeps no other from it, and gets a line.
func (c *command) allRoutes(ctx context.Context, h *hook.Env) error {
	var all []hook.ListedRoute
	var errs []error
	asked := false
	for _, provider := range h.Config().Lists() {
		messages := &patientWriter{to: c.ui.stderr, patience: c.patience}
		routes, err := h.Routes(ctx, provider, nil, messages)
		if errors.As(err, new(*tunnel.ProgramError)) {
			continue
		}
		asked = true
		held := messages.end(err == nil)
		var failed *hook.ListError
		if errors.As(err, &failed) && held != "" && ctx.Err() == nil {
			failed.Err = errors.New(held)
		}
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, routes...)
	}
	switch {
	case !asked:
		return usagef("no program is here that lists routes: they are those of %v", h.Config().Lists())
	case len(all) == 0 || ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.Join(errs...)
	}
	for _, err := range errs {
		text, _ := explain(err)
		c.ui.say("%s", text)
	}
	return c.ui.routes(all)
}

// promptPatience is how long messages are held back, where they may be of a program that fails: one that asks somebody to sign in waits
// for that.
const promptPatience = time.Second

// patientWriter holds back what is written to it, until what writes there goes on after it, or has ended well.
type patientWriter struct {
	to       io.Writer
	patience time.Duration

	mu    sync.Mutex
	held  []byte
	timer *time.Timer
	open  bool
}

func (w *patientWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		return w.to.Write(p)
	}
	w.held = append(w.held, p...)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.patience, w.pass)
	}
	return len(p), nil
}

// pass lets through what is held back, and all that follows.
func (w *patientWriter) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		w.open = true
		_, _ = w.to.Write(w.held)
	}
}

// end lets what is still held back through where all is well, or else gives the line of it that tells most, and drops the rest.
func (w *patientWriter) end(well bool) (telling string) {
	if well {
		w.pass()
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.open {
		return ""
	}
	w.open = true
	return strings.TrimSpace(tunnel.Telling(strings.Split(strings.TrimSpace(string(w.held)), "\n")))
}
