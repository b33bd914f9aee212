package main

import (
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

// namesCommand prints what the completions offer behind config and routes, one name a line. It is not for people, whom
// config tells more.
func (c *command) namesCommand() *cli.Command {
	return &cli.Command{
		Name:      "names",
		Usage:     "print the names of tunnels and providers: used by the shell's completion",
		UsageText: "tunhook names [--lists]",
		Hidden:    true,
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "lists", Usage: "only those of providers that list their routes"}},
		Action:    c.names,
	}
}

func (c *command) names(ctx *cli.Context) error {
	d, err := c.findDirs()
	if err != nil {
		return err
	}
	config := tunnel.LoadConfig(d.config...)
	names := config.Lists
	if !ctx.Bool("lists") {
		names = config.TableNames
	}
	for _, name := range names() {
		if err := c.ui.result(name); err != nil {
			return err
		}
	}
	return nil
}
