package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/tunnel"
)

// The messages of the remmina commands; see ui.go for the rules.

func (u *ui) enabled(r remmina.Result) {
	p := r.Profile
	if !r.Changed {
		u.say("%q is enabled already: it connects to %s", p.Name, p.Server.Now)
		return
	}
	u.say("%q now starts its tunnel for %s itself and connects to %s", p.Name, p.Route, p.Server.Now)
}

func (u *ui) disabled(before remmina.Profile, r remmina.Result) {
	switch {
	case !before.Enabled:
		u.say("%q is not enabled: nothing was changed", before.Name)
	case len(r.Kept) > 0:
		u.say("%q is as it was, except for what was changed since: %s", before.Name, strings.Join(r.Kept, ", "))
	default:
		u.say("%q is as it was before tunhook: it connects to %s", before.Name, r.Profile.Server.Now)
	}
}

// profile prints what there is to know about one profile.
func (u *ui) profile(p remmina.Profile) error {
	table := tabwriter.NewWriter(u.stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, tunnel.Printable(value))
		}
	}
	line("name", p.Name)
	line("file", p.Path)
	line("protocol", p.Protocol)
	line("enabled", yesNo(p.Enabled))
	line("route", p.Route)
	line("server", p.Server.Now)
	line("before", p.Before.Now)
	line("after", p.After.Now)
	if p.Enabled {
		line("server without tunhook", p.Server.Original)
		line("before without tunhook", p.Before.Original)
		line("after without tunhook", p.After.Original)
	}
	return table.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// profiles prints a line for each profile.
func (u *ui) profiles(entries []remmina.Entry) error {
	if len(entries) == 0 {
		u.say("no Remmina profile was found")
		return nil
	}
	table := tabwriter.NewWriter(u.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPROTOCOL\tENABLED\tSERVER\tROUTE")
	for _, e := range entries {
		if e.Err != nil {
			u.say("%v", e.Err)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", tunnel.Printable(e.Name), e.Protocol, yesNo(e.Enabled), tunnel.Printable(e.Server.Now), dash(e.Route))
	}
	return table.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return tunnel.Printable(s)
}
