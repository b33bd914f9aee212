package main

import (
	"github.com/tunhook/tunhook/hook/notify"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func notifyFlag() cli.Flag {
	return &cli.StringFlag{
		Name:  "notify",
		Value: "auto",
		Usage: "say on the desktop, `WHEN`, what fails and where to sign in: auto (where no terminal shows it), always or never",
	}
}

// openNotifier makes the ui tell the desktop, if --notify says so.
func (c *command) openNotifier(ctx *cli.Context) error {
	switch when := ctx.String("notify"); when {
	case "auto":
		if term.IsTerminal(int(c.ui.stderr.Fd())) {
			return nil
		}
	case "always":
	case "never":
		return nil
	default:
		return usagef("--notify is %q: give auto, always or never", when)
	}
	c.ui.notifier = notify.Open(c.environ)
	return nil
}
