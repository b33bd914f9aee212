package main

import (
	"strings"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/notify"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func notifyFlag(value string) cli.Flag {
	return &cli.StringFlag{
		Name:  "notify",
		Value: value,
		Usage: "show a notification of what fails and of where to sign in: `WHEN` is auto (where no terminal shows it), always or never",
	}
}

// usageFailedUnseen is usageFailed for the commands that clients call: a mistyped flag in one of a client's fields is told to the
// desktop. The flags have not been understood then, so --notify is looked for among the arguments.
func (c *command) usageFailedUnseen(ctx *cli.Context, err error, isSubcommand bool) error {
	when := "auto"
	args, _, _ := cutDashes(c.args)
	for i, arg := range args {
		switch name, value, ok := strings.Cut(strings.TrimLeft(arg, "-"), "="); {
		case name != "notify" || arg[0] != '-':
		case ok:
			when = value
		case i+1 < len(args):
			when = args[i+1]
		}
	}
	_ = c.openNotifier(when) // what is wrong with that as well is not what was found first
	return usageFailed(ctx, err, isSubcommand)
}

// openNotifier makes the ui tell the desktop, if --notify says so.
func (c *command) openNotifier(when string) error {
	switch when {
	case "auto":
		if term.IsTerminal(int(c.ui.stderr.Fd())) {
			return nil
		}
	case "always":
	case "never":
		c.quiet = true
		return nil
	default:
		_ = c.openNotifier("auto")
		return checkNotify(when)
	}
	c.ui.notifier = notify.Open(hook.PageEnviron(c.environ))
	return nil
}

func checkNotify(when string) error {
	switch when {
	case "auto", "always", "never":
		return nil
	}
	return usagef("--notify is %q: give auto, always or never", when)
}
