package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// cutDashes cuts the command line at the first "--".
func cutDashes(args []string) (before, after []string, found bool) {
	for i, a := range args {
		if a == "--" {
			return args[:i:i], args[i+1:], true
		}
	}
	return args, nil, false
}

// flagsFirst moves the flags of a command before its positional arguments, where the cli package looks for them: people, and
// command lines put together by programs, have them in any order.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	head := []string{args[0]}
	rest := args[1:]
	commands, known := app.Commands, app.Flags
	for len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		sub := named(commands, rest[0])
		if sub == nil {
			break
		}
		commands, known = sub.Subcommands, sub.Flags
		head, rest = append(head, rest[0]), rest[1:]
	}
	if len(head) == 1 {
		return args // no command: nothing to sort
	}
	var flags, others []string
	for i := 0; i < len(rest); i++ {
		if len(rest[i]) < 2 || rest[i][0] != '-' {
			others = append(others, rest[i])
			continue
		}
		flags = append(flags, rest[i])
		if asksForHelp(rest[i]) {
			return append(head, rest[i]) // whatever else stands there
		}
		if !takesValue(known, rest[i]) {
			continue
		}
		if i++; i == len(rest) {
			return append(head, flags...) // without its value, which the cli package says
		}
		flags = append(flags, rest[i])
	}
	return append(append(append(head, flags...), "--"), others...)
}

// asksForHelp: behind the positional arguments too, where the cli package would take them for the name of a topic.
func asksForHelp(arg string) bool {
	return arg == "-h" || arg == "-help" || arg == "--help"
}

// helpTopic is the command that people type for help: "tunhook help start", and "tunhook remmina help enable" too. It is none of the
// cli package's, which has commands of that name everywhere, where a tunnel may have it.
const helpTopic = "help"

// topicFirst makes "help COMMAND" into "COMMAND --help", where help stands in the place of a command.
func topicFirst(app *cli.App, args []string) []string {
	commands := app.Commands
	for i := 1; i < len(args) && len(commands) > 0; i++ {
		if args[i] == helpTopic {
			return withHelp(slices.Clone(args[:i]), commands, args[i+1:])
		}
		sub := named(commands, args[i])
		if sub == nil {
			break
		}
		commands = sub.Subcommands
	}
	return args
}

// withHelp gives path with the commands that topic names, and --help; or with the word that is no command, which is an error then.
func withHelp(path []string, commands []*cli.Command, topic []string) []string {
	for _, word := range topic {
		if strings.HasPrefix(word, "-") || word == helpTopic || word == "version" || len(commands) == 0 {
			break
		}
		sub := named(commands, word)
		if sub == nil {
			return append(path, word)
		}
		path, commands = append(path, word), sub.Subcommands
	}
	return append(path, "--help")
}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, sub := range commands {
		if sub.HasName(name) {
			return sub
		}
	}
	return nil
}

func flagNamed(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// takesValue tells whether the next argument belongs to the flag.
func takesValue(flags []cli.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	doc, ok := flagNamed(flags, name).(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}
