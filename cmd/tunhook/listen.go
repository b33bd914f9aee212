package main

import (
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

func (c *command) listenCommand() *cli.Command {
	return &cli.Command{
		Name:      "listen",
		Usage:     "wait for connections: the first starts the tunnel, the last ends it",
		UsageText: "tunhook listen [flags] ROUTE [LISTEN] [-- TUNNEL-ARG...]",
		Description: "For clients that run no commands: they connect to LISTEN (\"stable\" if left out), which is printed, and wait there " +
			"while you sign in. A port check starts nothing. Processes of other users are refused. \"tunhook enable\" does this at every login.",
		Flags:  listenFlags("auto"),
		Action: c.listen,
	}
}

// listenFlags are the flags of listen and enable alike.
func listenFlags(notify string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ready", Usage: "what the clients speak, `KIND`: rdp, vnc or ssh; listen for anything else", DefaultText: "by the route's port"},
		&cli.DurationFlag{Name: "linger", Usage: "end the tunnel `D` after its last connection has ended", DefaultText: hook.DefaultLinger.String()},
		&cli.DurationFlag{Name: "timeout", Usage: "close a connection that was not answered after `D`: nobody has signed in, say", DefaultText: "3m"},
		notifyFlag(notify),
	}
}

func (c *command) listen(ctx *cli.Context) error {
	err := c.openNotifier(ctx.String("notify"))
	if err != nil {
		return err
	}
	req := hook.ListenRequest{Ready: ctx.String("ready"), Args: c.afterDashes, Failed: c.ui.failure}
	if req.Route, req.Listen, err = positionals(ctx, true); err != nil {
		return err
	}
	c.ui.route = req.Route
	if err := checkReady(req.Ready); err != nil {
		return err
	}
	if req.Linger, err = positive(ctx, "linger"); err != nil {
		return err
	}
	if req.Timeout, err = positive(ctx, "timeout"); err != nil {
		return err
	}
	if req.Socket, err = c.handedOver(); err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	req.Listening = c.ui.listening
	return h.Listen(ctx.Context, req)
}

func checkReady(ready string) error {
	if err := tunnel.CheckReady(ready); err != nil {
		return usagef("--ready is %q: give listen, rdp, vnc or ssh", ready)
	}
	return nil
}

// activated tells whether a service manager has started this process with sockets, sd_listen_fds(3).
func (c *command) activated() bool { return c.variable("LISTEN_PID") == strconv.Itoa(os.Getpid()) }

// handedOver gives the one listening socket of the service manager; nil where there is no such thing. It is asked for once: from
// then on the variables that tell of it are gone, which other programs would misunderstand.
func (c *command) handedOver() (*net.TCPListener, error) {
	if !c.activated() {
		return nil, nil
	}
	files := activation.Files(true)
	c.environ = slices.DeleteFunc(slices.Clone(c.environ), func(v string) bool { return strings.HasPrefix(v, "LISTEN_") })
	if len(files) != 1 {
		return nil, usagef("the service manager has handed over %d sockets: the unit must have one ListenStream=, with an address and a port", len(files))
	}
	defer files[0].Close()
	listener, err := net.FileListener(files[0])
	if socket, ok := listener.(*net.TCPListener); ok {
		c.socket = socket
		return socket, nil
	}
	if err == nil {
		listener.Close()
	}
	return nil, usagef("the service manager has handed over a socket that does not listen for TCP: the unit must have ListenStream= with an address and a port")
}

// activatedFailed takes the connections that wait at the service manager's socket and closes them. Otherwise they would start the
// next process at once, which would fail as well, until the service manager gives up the socket for good.
func (c *command) activatedFailed(ctx context.Context) {
	if socket, _ := c.handedOver(); socket != nil {
		c.socket = socket
	}
	if c.socket != nil {
		hook.TurnAway(ctx, c.socket)
	}
}
