package main

import "github.com/urfave/cli/v2"

// beforeCommand is what a tunnel program is launched by that has commands before it. It is not for people.
func (c *command) beforeCommand() *cli.Command {
	return &cli.Command{
		Name:      "before",
		Usage:     "run the commands before a tunnel program, and then that",
		UsageText: "tunhook before -- PROGRAM [ARG...]",
		Hidden:    true,
		Action: func(ctx *cli.Context) error {
			if ctx.Args().Present() || len(c.afterDashes) == 0 {
				return usagef("which program? Usage: %s", usageOf(ctx))
			}
			h, err := c.hook()
			if err != nil {
				return err
			}
			return h.Before(ctx.Context, c.afterDashes, c.ui.stdout)
		},
	}
}
