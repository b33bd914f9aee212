package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

func (c *command) startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "start a tunnel, or find it running, and print its listen address",
		UsageText: "tunhook start [flags] ROUTE [LISTEN] [-- TUNNEL-ARG...]",
		Description: "Returns when the tunnel's own process listens, and not before; with --ready when a server answers through it, " +
			"however long you take to sign in. A tunnel that runs already is found, and left as it is. What stands behind \"--\" is handed to the tunnel program.\n\n" +
			example + "  tunhook start desk.corp.example.com:3389 stable",
		Flags:  startFlags(),
		Action: c.start,
	}
}

// startFlags are the flags of start and run alike.
func startFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ready", Usage: "wait until the tunnel is ready: `KIND` is listen (it listens), or " +
			tunnel.OneOf(tunnel.ReadyKinds()[1:]) + " (such a server answers through it)", DefaultText: "the configuration's, or " + tunnel.ReadyListen},
		&cli.DurationFlag{Name: "timeout", Usage: "give up, and end the tunnel, when it is not ready after `TIME`", DefaultText: fmt.Sprintf(
			"the configuration's, or 3m where a server shall answer or commands run before, or %s; 3m to sign in", hook.DefaultTimeout)},
		&cli.StringSliceFlag{Name: "end-with", Usage: "end the tunnel when the process `PID` is gone and nobody is connected; \"parent\" is the process that called tunhook"},
		&cli.DurationFlag{Name: "idle-stop", Usage: "end the tunnel when nobody was connected for `TIME`, such as 30m", DefaultText: "never"},
		&cli.BoolFlag{Name: "keep-alive", Usage: "start the tunnel program again when it dies while its client is still there"},
		notifyFlag("auto"),
		&cli.BoolFlag{Name: "reuse", Usage: "where another program serves LISTEN already, take that as it is"},
	}
}

func (c *command) startRequest(ctx *cli.Context) (hook.StartRequest, error) {
	if err := c.openNotifier(ctx.String("notify")); err != nil {
		return hook.StartRequest{}, err
	}
	route, listen, err := positionals(ctx, true)
	if err != nil {
		return hook.StartRequest{}, err
	}
	c.ui.route = route
	req := hook.StartRequest{Route: route, Listen: listen, Ready: ctx.String("ready"), Reuse: ctx.Bool("reuse"), KeepAlive: ctx.Bool("keep-alive")}
	if err := checkReady(req.Ready); err != nil {
		return req, err
	}
	if req.Timeout, err = positive(ctx, "timeout"); err != nil {
		return req, err
	}
	if req.IdleStop, err = positive(ctx, "idle-stop"); err != nil {
		return req, err
	}
	err = c.endWith(&req, ctx.StringSlice("end-with"))
	return req, err
}

// endWith finds the processes that --end-with names.
func (c *command) endWith(req *hook.StartRequest, values []string) error {
	for _, v := range values {
		find := func() (process.Identity, error) { return c.parent(c.args) }
		if v != "parent" {
			pid, err := strconv.Atoi(v)
			if err != nil || pid <= 1 {
				return usagef("--end-with is %q: give the PID of a process, or \"parent\"", v)
			}
			find = func() (process.Identity, error) { return process.Identify(pid) }
		}
		id, err := find()
		if err != nil {
			return usagef("--end-with %s: %v, so there is nothing to end with", v, err)
		}
		req.EndWith = append(req.EndWith, id)
		if v == "parent" && id.PID == os.Getppid() && hook.IsInBetween(id.PID) {
			req.Caller = id
		}
	}
	return nil
}

// positive gives the value of a flag that takes a time span above 0; 0 where it was not given.
func positive(ctx *cli.Context, name string) (time.Duration, error) {
	d := ctx.Duration(name)
	if d <= 0 && ctx.IsSet(name) {
		return 0, usagef("--%s is %s: give a time span above 0, such as 30s or 2m", name, d)
	}
	return d, nil
}

func (c *command) start(ctx *cli.Context) error {
	req, err := c.startRequest(ctx)
	if err != nil {
		return err
	}
	req.Args = c.afterDashes
	h, err := c.hook()
	if err != nil {
		return err
	}
	h.Ask = c.asker()
	started, err := h.Start(ctx.Context, req)
	if err != nil {
		return err
	}
	c.ui.started(started)
	return c.ui.result(started.Address.String())
}
