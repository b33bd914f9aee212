package main

import (
	"errors"

	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

func (c *command) configCommand() *cli.Command {
	return &cli.Command{
		Name:      "config",
		Usage:     "show what the configuration comes to, and where each value is from",
		UsageText: "tunhook config [NAME|PROVIDER]",
		Description: "Without an argument it shows all that the files say, with one the whole of that tunnel or provider, built-in values too. " +
			"What is wrong with the configuration is told, with file and line. Values of environment variables are not shown.\n\n" +
			example + "  tunhook config desk",
		Action: c.config,
	}
}

func (c *command) config(ctx *cli.Context) error {
	if ctx.Args().Len() > 1 {
		return usagef("too many arguments from %q on: usage: %s", ctx.Args().Get(1), usageOf(ctx))
	}
	if err := c.nothingAfterDashes(ctx); err != nil {
		return err
	}
	d, err := c.findDirs()
	if err != nil {
		return err
	}
	config, name := tunnel.LoadConfig(d.config...), ctx.Args().First()
	tables, faults := config.Tables(name), config.Faults()
	if name != "" {
		faults = config.Unread()
		for _, t := range tables {
			faults = append(faults, t.Faults...)
		}
	}
	errs := make([]error, len(faults))
	for i, fault := range faults {
		errs[i] = fault
	}
	if name != "" && len(tables) == 0 {
		return errors.Join(append(errs, usagef("there is neither a [tunnel.%s] nor a [provider.%[1]s]: tunhook config shows what there is%s",
			name, didYouMean(nearest(name, config.TableNames()))))...)
	}
	if err := c.ui.configuration(config.Files(), tables, name != ""); err != nil {
		return err
	}
	return errors.Join(errs...)
}
