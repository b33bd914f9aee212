package main

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/doctor"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

func (c *command) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "say what keeps tunnels from working here, and what to do",
		UsageText: "tunhook doctor [flags] [PROFILE|ROUTE]\ntunhook doctor [--json] --config FILE",
		Description: "Looks at this machine, its configuration, programs and Remminas, and at all that is enabled and recorded; or at one profile " +
			"of Remmina's; or at one route: its provider, its program, its listen address and who has it. It starts no tunnel and opens no page. " +
			"The exit status is 0 where all is well, and 1 where something was found.\n\n" +
			example + "  tunhook doctor",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "fix", Usage: "do what is safe: set aside records that cannot be read, remove those of tunnels that are gone, " +
				"and write what is enabled anew where tunhook has moved, or a socket or a link is missing"},
			&cli.BoolFlag{Name: "try", Usage: "have Remmina open a profile of its own for a moment, to see whether it runs commands, which else its version tells; " +
				"a window of it shows"},
			&cli.StringFlag{Name: "config", Usage: "look at the configuration `FILE` and at nothing else, and tell every fault with its line"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON, in the form that tunhook(1) describes"},
		},
		Action: c.doctor,
	}
}

// errFindings says that doctor has found something, and has told it.
var errFindings = errors.New("something was found")

func (c *command) doctor(ctx *cli.Context) error {
	subject, more, err := c.onlyPositionals(ctx, false)
	if err != nil {
		return err
	}
	if more != "" {
		return usagef("too many arguments from %q on: usage: %s", more, usageOf(ctx))
	}
	if ctx.IsSet("config") {
		if subject != "" || ctx.Bool("fix") || ctx.Bool("try") {
			return usagef("--config looks at one file, and changes nothing: leave out what else there is")
		}
		return c.doctorOfFile(ctx.String("config"), ctx.Bool("json"))
	}
	m := c.machine()
	scope, err := c.scope(m, subject)
	if err != nil {
		return err
	}
	if m.Try = ctx.Bool("try"); m.Try && scope.Route != "" && scope.Profile == nil {
		return usagef("--try is about Remmina, which a look at one route is not: leave it out")
	}
	reports := m.Examine(ctx.Context, scope)
	if err := ctx.Context.Err(); err != nil {
		return err
	}
	if ctx.Bool("fix") {
		doctor.Fix(ctx.Context, reports)
	}
	if ctx.Bool("json") {
		err = c.ui.reportsJSON(reports)
	} else {
		err = c.ui.reports(reports)
	}
	if err == nil && !doctor.AllWell(reports) {
		err = errFindings
	}
	return err
}

func (c *command) doctorOfFile(path string, asJSON bool) error {
	switch info, err := os.Stat(path); {
	case err != nil:
		return &tunnel.ConfigError{Path: cmp.Or(path, `""`), Err: errors.New("cannot be read: name a file that is there")}
	case info.IsDir():
		return &tunnel.ConfigError{Path: path, Err: errors.New("is a directory: name a file in it, such as " + anyConfig(path))}
	}
	d, _ := c.findDirs() // without a home there is no other file that counts
	report := doctor.OfFile(doctor.CheckFile(path, d.config))
	var err error
	if asJSON {
		err = c.ui.reportsJSON([]doctor.Report{report})
	} else {
		err = c.ui.faults(path, report)
	}
	if err == nil && !doctor.AllWell([]doctor.Report{report}) {
		err = errFindings
	}
	return err
}

// anyConfig is a file of the configuration in a directory, or what the main one would be called.
func anyConfig(dir string) string {
	usual := filepath.Join(dir, "config.toml")
	if _, err := os.Stat(usual); err == nil {
		return usual
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.toml"))
	return append(files, usual)[0]
}

// machine is this machine as far as the environment tells.
func (c *command) machine() doctor.Machine {
	m := doctor.Machine{Version: version(), Remmina: remmina.Machine{Root: "/", DataHome: xdg.DataHome, Path: c.variable("PATH"), Environ: c.environ}}
	d, unset := c.findDirs()
	m.Config = d.config
	if m.Hook, m.Unset = c.hook(); m.Unset == nil {
		m.Unset = unset
	}
	if m.Hook == nil { // what can be told without directories is told
		self, _ := os.Executable()
		m.Hook = &hook.Env{Self: self, Environ: c.environ, Now: now}
	}
	m.Hook.Notice, m.Hook.Waiting = nil, nil // it tells itself what it does
	m.Profiles, _ = c.profileDirs()
	return m
}

// scope tells whether a person means a profile, a route, or one of each that have the same name.
func (c *command) scope(m doctor.Machine, subject string) (doctor.Scope, error) {
	var scope doctor.Scope
	if subject == "" {
		return scope, nil
	}
	work, err := os.Getwd()
	if err != nil {
		work = "/"
	}
	isURL := strings.Contains(subject, "://")
	if !isURL {
		profile, err := remmina.Find(subject, work, m.Profiles)
		var ambiguous *remmina.AmbiguousError
		if errors.As(err, &ambiguous) {
			return scope, err
		}
		isFile := strings.HasSuffix(subject, ".remmina") || profile.Path != "" && !strings.Contains(subject, "/")
		if err == nil || isFile && !errors.As(err, new(*remmina.NotFoundError)) {
			scope.Profile = &remmina.Entry{Profile: profile, Err: err}
		}
	}
	names := namesOf(m)
	looksLikeOne := strings.ContainsAny(subject, ":/") && scope.Profile == nil
	if slices.Contains(names, subject) || looksLikeOne {
		scope.Route = subject
	}
	if scope.Route == "" && scope.Profile == nil {
		return scope, unknownSubject(subject, names, m.Profiles)
	}
	return scope, nil
}

// namesOf gives the names of the configuration, those that cannot be used too.
func namesOf(m doctor.Machine) []string {
	if m.Unset != nil {
		return nil
	}
	config := m.Hook.Config()
	names := config.Names()
	for _, fault := range config.Faults() {
		if name, ok := strings.CutPrefix(fault.Table, "tunnel."); ok {
			names = append(names, name)
		}
	}
	return names
}

func unknownSubject(subject string, names []string, dirs []remmina.Dir) error {
	entries, _ := remmina.List(dirs)
	known := slices.Clone(names)
	for _, e := range entries {
		if e.Err == nil {
			known = append(known, e.Name)
		}
	}
	if meant := nearest(subject, known); meant != "" {
		return usagef("there is no profile and no route %q: did you mean %q?", subject, meant)
	}
	return usagef("there is no profile and no route %q: tunhook remmina list shows the profiles; a route is HOST:PORT, SCHEME://... or a name from the configuration", subject)
}
