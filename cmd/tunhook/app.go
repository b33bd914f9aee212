package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/urfave/cli/v2"
)

// command is one call of tunhook.
type command struct {
	environ []string
	stdin   *os.File
	ui      *ui
	signals signals

	args        []string // as tunhook was called
	afterDashes []string // what stands behind "--", which is for another program
	dashes      bool     // there was a "--"
	helps       bool     // somebody asks for help

	quiet    bool          // nobody shall be told on the desktop
	patience time.Duration // how long messages that may be of a failure are held back
	sockets  []*os.File    // the service manager's; none before they were taken
}

// main runs the command line and returns the exit status.
func (c *command) main(ctx context.Context, args []string) int {
	if status, left := c.onHost(ctx, args); left {
		return status
	}
	if !calls(args, "start") { // which waits before it changes anything, and has enough to do until then
		c.signals.await()
	}
	c.args = args
	args, c.afterDashes, c.dashes = cutDashes(args)
	c.helps = slices.ContainsFunc(args, asksForHelp) || slices.Contains(args, helpTopic)
	app := c.app()
	args = flagsFirst(app, topicFirst(app, args))
	activated := calls(args, "listen") && c.activated()
	err := app.RunContext(ctx, args)
	defer func() { c.ui.notifier.Close() }()
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errFindings) {
		return exitFindings
	}
	var status clientStatus
	if errors.As(err, &status) {
		return int(status)
	}
	if errors.As(err, new(endedError)) {
		return exitStatus(err, false)
	}
	if activated && ctx.Err() != nil {
		return exitDone // the service manager has ended it
	}
	c.ui.failure(err)
	if activated {
		hook.TurnAway(ctx, c.takeSockets())
		return exitDone
	}
	return exitStatus(err, calls(args, "run"))
}

// calls tells whether a command line calls that command.
func calls(args []string, command string) bool { return len(args) > 1 && args[1] == command }

func (c *command) app() *cli.App {
	app := &cli.App{
		Name:  "tunhook",
		Usage: "a tunnel for exactly as long as a remote-desktop client needs it",
		Description: strings.TrimSpace(`
Remmina:       tunhook remmina enable PROFILE, then connect as ever
Other clients: tunhook enable ROUTE, then connect to the address it prints
Terminals:     tunhook run ROUTE -- CLIENT ...
Scripts:       tunhook start ROUTE LISTEN, later tunhook stop ROUTE LISTEN

ROUTE is HOST:PORT (through Pomerium), ssh://[USER@]GATEWAY/HOST:PORT,
relay://HOST:PORT, another SCHEME://..., or a NAME from the configuration.
LISTEN is PORT, IP:PORT, "stable" (an address of its own for every route), or
left out (any free port).

Example:
  tunhook start desk.corp.example.com:3389 stable

The manual pages tunhook(1) and tunhook.toml(5) have it all.`),
		UsageText:              "tunhook COMMAND [flags] ROUTE [LISTEN] ...",
		Version:                version(),
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		Writer:                 c.ui.stdout,
		ErrWriter:              c.ui.stderr,
		ExitErrHandler:         func(*cli.Context, error) {}, // errors are mapped in one place: main
		OnUsageError:           usageFailed,
		Action:                 noCommand,
		Commands: []*cli.Command{
			c.startCommand(), c.stopCommand(), c.runCommand(), c.listenCommand(), c.enableCommand(), c.disableCommand(),
			c.statusCommand(), c.waitCommand(), c.logsCommand(), c.remminaCommand(), c.configCommand(), c.routesCommand(), c.doctorCommand(),
			c.relayCommand(), c.frontCommand(), c.beforeCommand(), c.keeperCommand(), c.namesCommand(),
		},
		DisableSliceFlagSeparator: true,
	}
	if c.helps {
		app.CustomAppHelpTemplate = appHelp(app, c.ui.width())
	}
	c.finish(app.Name, app.Commands)
	return app
}

// finish sets what every command shall have.
func (c *command) finish(path string, commands []*cli.Command) {
	for _, sub := range commands {
		sub.HideHelpCommand = true
		sub.OnUsageError = usageFailed
		if flagNamed(sub.Flags, "notify") != nil {
			sub.OnUsageError = c.usageFailedUnseen
		}
		if c.helps { // making all the texts would be a good part of the time that a start takes
			sub.CustomHelpTemplate = commandHelp(path+" "+sub.Name, sub, c.ui.width())
		}
		c.finish(path+" "+sub.Name, sub.Subcommands)
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func usageFailed(ctx *cli.Context, err error, _ bool) error {
	name, flags := "tunhook", ctx.App.VisibleFlags()
	if ctx.Command != nil && ctx.Command.Name != "" && ctx.Command.Name != "tunhook" {
		name, flags = ctx.Command.HelpName, ctx.Command.VisibleFlags()
	}
	text := plainFlagError(err.Error())
	if unknown, ok := strings.CutPrefix(text, unknownFlag); ok {
		var known []string
		for _, flag := range flags {
			known = append(known, flag.Names()...)
		}
		if meant := nearest(unknown, known); meant != "" {
			return usagef("%s: did you mean --%s? See %s --help", text, meant, name)
		}
	}
	return usagef("%s: see %s --help", text, name)
}

const unknownFlag = "unknown flag --"

// plainFlagError says what the flag package says, in the words of this program.
func plainFlagError(text string) string {
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return unknownFlag + name
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: "); ok {
		return "--" + strings.TrimLeft(name, "-") + " needs a value"
	}
	badValue := regexp.MustCompile(`^invalid (?:boolean )?value "(.*)" for (?:flag )?-(\S+): .*$`)
	if m := badValue.FindStringSubmatch(text); m != nil {
		kind := "a time span, such as 30s or 2m"
		if strings.Contains(text, "boolean") {
			kind = "true or false"
		}
		text = fmt.Sprintf("--%s is %q, which is not %s", m[2], m[1], kind)
	}
	return text
}

func noCommand(ctx *cli.Context) error {
	if ctx.Args().First() == "version" { // what people type
		cli.ShowVersion(ctx)
		return nil
	}
	return whichCommand(ctx, "tunhook", ctx.App.VisibleCommands())
}

func noSubcommand(ctx *cli.Context) error {
	return whichCommand(ctx, ctx.Command.HelpName, ctx.Command.VisibleCommands())
}

func whichCommand(ctx *cli.Context, name string, commands []*cli.Command) error {
	var names []string
	for _, sub := range commands {
		names = append(names, sub.Name)
	}
	known := strings.Join(names, ", ")
	if meant := nearest(ctx.Args().First(), names); meant != "" {
		return usagef("unknown command %q: did you mean %q? The commands are %s; see %s --help", ctx.Args().First(), meant, known, name)
	}
	if ctx.Args().Present() {
		return usagef("unknown command %q: the commands are %s; see %s --help", ctx.Args().First(), known, name)
	}
	return usagef("which command? The commands are %s; see %s --help", known, name)
}

// positionals gives ROUTE and LISTEN, and refuses more.
func positionals(ctx *cli.Context, needRoute bool) (route, listen string, err error) {
	args := ctx.Args()
	switch {
	case needRoute && !args.Present():
		return "", "", usagef("which route? Usage: %s", usageOf(ctx))
	case args.Present() && args.First() == "":
		return "", "", usagef(`route "" is empty: give HOST:PORT, SCHEME://... or a name from the configuration`)
	case args.Len() > 2:
		return "", "", usagef("too many arguments from %q on: usage: %s", args.Get(2), usageOf(ctx))
	case args.Len() == 2 && args.Get(1) == "":
		return "", "", usagef("the listen address is empty: give PORT or IP:PORT, \"stable\", or leave it out")
	}
	return args.Get(0), args.Get(1), nil
}

func usageOf(ctx *cli.Context) string { return strings.SplitN(ctx.Command.UsageText, "\n", 2)[0] }

// onlyPositionals is positionals for commands that have no other program to hand arguments to.
func (c *command) onlyPositionals(ctx *cli.Context, needRoute bool) (route, listen string, err error) {
	if route, listen, err = positionals(ctx, needRoute); err != nil {
		return "", "", err
	}
	return route, listen, c.nothingAfterDashes(ctx)
}

// nothingAfterDashes is for commands that have no other program to hand arguments to.
func (c *command) nothingAfterDashes(ctx *cli.Context) error {
	if c.dashes && len(c.afterDashes) > 0 {
		return usagef("too many arguments from %q on: %s takes none after \"--\"", c.afterDashes[0], ctx.Command.Name)
	}
	return nil
}
