package main

import (
	"errors"

	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

func (c *command) runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a client over a tunnel that ends with the client",
		UsageText: "tunhook run [flags] ROUTE [LISTEN] -- CLIENT [ARG...]",
		Description: "Starts the tunnel, or finds it running, runs CLIENT, and ends the tunnel when CLIENT has ended and nobody else uses it.\n\n" +
			"In CLIENT's arguments {address}, {host} and {port} stand for the listen address and its parts, {route_host} and {route_port} " +
			"for where the route leads. The client finds the first three in its environment too: TUNHOOK_ADDRESS, TUNHOOK_HOST and TUNHOOK_PORT.\n\n" +
			"A client that exits with 0 before anything has connected has handed over, to one that ran before or to a child: " +
			"the tunnel stays for that one, which has 30 seconds to connect, and ends after it.\n\n" +
			"The exit status is the client's; 125, 126 and 127 say that tunhook failed, that the client cannot be executed, and that it was " +
			"not found. Arguments for the tunnel program come from the configuration.\n\n" +
			example + "  tunhook run --ready rdp desk.corp.example.com:3389 stable -- \\\n      xfreerdp /v:{address} /u:alice",
		Flags:  startFlags(),
		Action: c.run,
	}
}

func (c *command) run(ctx *cli.Context) error {
	start, err := c.startRequest(ctx)
	if err != nil {
		return err
	}
	if len(c.afterDashes) == 0 || c.afterDashes[0] == "" {
		return usagef("which client? Usage: %s", usageOf(ctx))
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	h.Ask = c.asker()
	status, err := h.Run(ctx.Context, hook.RunRequest{
		Start: start, Client: c.afterDashes,
		Stdin: c.stdin, Stdout: c.ui.stdout, Stderr: c.ui.stderr,
		Ready: c.ui.started,
	})
	var left *hook.LetGoError
	if errors.As(err, &left) {
		c.ui.failure(left)
	} else if err != nil {
		return err
	}
	return clientStatus(status)
}
