package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/remmina"
)

// The messages of the remmina commands; see ui.go for the rules.

func (u *ui) enabled(r remmina.Result, ch choice) {
	p := r.Profile
	switch {
	case !r.Changed:
		u.say("%q is enabled already, by %s: it connects to %s", p.Name, p.By, p.Server.Now)
	case p.By == remmina.ByHook:
		u.say("%q now starts its tunnel for %s itself and connects to %s", p.Name, p.Route, p.Server.Now)
	default:
		u.say("%q now connects to %s, and the connection starts its tunnel for %s", p.Name, p.Server.Now, p.Route)
	}
	u.setAside(r)
	u.chosen(r, ch)
	if len(ch.here) > 1 && slices.ContainsFunc(ch.here, func(r remmina.Installed) bool { return r.Version != ch.here[0].Version }) {
		u.say("there are %s; %q is opened by %s", remminas(ch.here), p.Name, opener(ch))
	}
	if p.By == remmina.ByConnection && (p.Before.Now != "" || p.After.Now != "") {
		u.say("%q keeps its own commands (--force sets them aside)", p.Name)
	}
	if p.By == remmina.ByConnection {
		if ch.listener.Changed && ch.listener.By == autostart.ByDesktop {
			u.say("it listens after every login to the desktop, by an autostart entry: no systemd user manager answers (%v)",
				ch.listener.NoManager)
		}
		u.listenerWarnings(ch.listener)
	}
	if r.Changed && p.Proxy.Ours {
		u.say("%q does not ask the proxy that Remmina's environment names for %s, until tunhook remmina disable %q", p.Name, p.Server.Now, p.Name)
	}
	u.stillUsed(r.Stays)
}

// setAside says which commands of the profile's own tunhook takes the place of.
func (u *ui) setAside(r remmina.Result) {
	p := r.Profile
	old, calls := p.Old()
	if !calls || !r.Changed {
		return
	}
	u.say("its server was %s, until tunhook remmina disable %q", p.Server.Original, p.Name)
	for _, c := range []struct {
		when, command string
		aside         bool
	}{{"before", p.Before.Original, old.Before}, {"after", p.After.Original, old.After}} {
		if c.aside && c.command != "" {
			u.say("its command %s connecting is set aside until then: %s", c.when, c.command)
		}
	}
}

// ownAddress says why a profile does not get the address that its route has.
func (u *ui) ownAddress(p remmina.Plan, used *remmina.UsedError) {
	u.say("%s %s: %q gets %s", used.Address, used.Why(), p.Profile.Name, p.Tunnel.Listen)
}

// plan prints what changes in profiles: a block for each.
func (u *ui) plan(plans []remmina.Plan) error {
	if len(plans) == 0 {
		u.say("no profile that is not enabled yet calls a script, ssh or pomerium-cli for its tunnel")
		return nil
	}
	var b strings.Builder
	width := u.width()
	for i, p := range plans {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(safe(fmt.Sprintf("%q", p.Profile.Name)) + "\n")
		route := p.Tunnel.Route
		if len(p.Tunnel.Args) > 0 {
			route += " -- " + remmina.Words(p.Tunnel.Args)
		}
		b.WriteString(planLine(width, "by", string(p.Tunnel.By)))
		b.WriteString(planLine(width, "route", route))
		b.WriteString(planLine(width, "listen", p.Tunnel.Listen))
		for _, c := range p.Changes {
			b.WriteString(planLine(width, planWords()[c.Key], orNone(c.Old), "-> "+orNone(c.New)))
		}
		if len(p.Changes) == 0 {
			b.WriteString(planLine(width, "changes", "none"))
		}
	}
	_, err := u.stdout.WriteString(b.String())
	return err
}

// planWords are the names that "remmina show" has for the keys of a profile.
func planWords() map[string]string {
	return map[string]string{"server": "server", "precommand": "before", "postcommand": "after"}
}

// planLine puts the parts of a line behind its name, each on a line of its own where they are too wide for one.
func planLine(width int, name string, parts ...string) string {
	const indent = "           "
	lines := wrapSafe(strings.Join(parts, " "), indent, width)
	if strings.Count(lines, "\n") > 1 {
		lines = ""
		for _, part := range parts {
			lines += wrapSafe(part, indent, width)
		}
	}
	return fmt.Sprintf("  %-*s", len(indent)-2, name) + lines[len(indent):]
}

func orNone(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

// chosen says why it is this way, and how to have the other.
func (u *ui) chosen(r remmina.Result, ch choice) {
	p := r.Profile
	other := fmt.Sprintf("tunhook remmina enable --by hook %q", p.Name)
	switch {
	case ch.noListener != nil:
		u.say("by hook, since nothing can listen for the connection: %v", ch.noListener)
	case p.By == remmina.ByHook && !ch.found:
		u.say("no Remmina was found that opens %q; 1.4.42 and later run no commands", p.Name)
	case p.By == remmina.ByHook && !ch.serving.RunsHooks():
		u.say("warning: %s, so that nothing starts this tunnel: tunhook remmina enable --by connection %q",
			runsNone(ch.serving), p.Name)
	case ch.asked != "" || !r.Changed:
	case !ch.found:
		u.say("by connection, which works with every Remmina (none was found here that opens it); to have it run commands: %s", other)
	case ch.serving.RunsHooks():
		u.say("by connection, which goes on working when %s is updated: 1.4.42 and later run no commands; "+
			"to have it run them until then: %s", ch.serving, other)
	default:
		u.say("by connection, since %s", runsNone(ch.serving))
	}
}

func runsNone(r remmina.Installed) string {
	switch {
	case r.Kind == remmina.Snap:
		return r.String() + " cannot run programs of this machine"
	case r.Version == "":
		return r.String() + " may run no commands"
	}
	return r.String() + " runs no commands"
}

func remminas(here []remmina.Installed) string {
	names := make([]string, len(here))
	for i, r := range here {
		names[i] = r.String()
	}
	return strings.Join(names, " and ")
}

func opener(ch choice) string {
	if !ch.found {
		return "none of them"
	}
	return ch.serving.String()
}

// stillUsed says which listeners are left for now.
func (u *ui) stillUsed(stays []remmina.Listener) {
	for _, l := range stays {
		u.say("somebody is connected to %s, which listens until the next tunhook remmina disable, or: tunhook disable %s %s",
			l.Address, l.Route, l.Address)
	}
}

func (u *ui) disabled(before remmina.Profile, r remmina.Result) {
	server := "it connects to " + r.Profile.Server.Now
	if r.Profile.Server.Now == "" {
		server = "it has no server"
	}
	switch {
	case !before.Enabled:
		u.say("%q is not enabled: nothing was changed", before.Name)
	case len(r.Kept) > 0:
		u.say("%q is as it was, except for what was changed since: %s", before.Name, strings.Join(r.Kept, ", "))
	default:
		u.say("%q is as it was before tunhook: %s", before.Name, server)
	}
	u.stillUsed(r.Stays)
}

// withoutHooks warns of profiles by hook whose Remmina runs no commands.
func (u *ui) withoutHooks(profiles []remmina.Profile, here []remmina.Installed) {
	for _, p := range profiles {
		if r, found := serving(here, p); p.By == remmina.ByHook && found && !r.RunsHooks() {
			u.say("warning: %s, so that nothing starts the tunnel of %q: tunhook remmina enable %q", runsNone(r), p.Name, p.Name)
		}
	}
}

// withoutListener warns of profiles by connection that connect to nothing.
func (u *ui) withoutListener(profiles []remmina.Profile, entries []autostart.Entry) {
	for _, p := range profiles {
		listens := slices.ContainsFunc(entries, func(e autostart.Entry) bool { return e.Address.String() == p.Server.Now })
		if p.By == remmina.ByConnection && p.Server.Ours && !listens {
			u.say("warning: nothing listens on %s for %q: tunhook remmina enable %q", p.Server.Now, p.Name, p.Name)
		}
	}
}

// profile prints what there is to know about one profile.
func (u *ui) profile(p remmina.Profile) error {
	table := newTable(u.stdout)
	line := func(name, value string) {
		if value != "" {
			row(table, name, value)
		}
	}
	line("name", p.Name)
	line("file", p.Path)
	line("protocol", p.Protocol)
	line("enabled", yesNo(p.Enabled))
	line("by", string(p.By))
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
	table := newTable(u.stdout)
	row(table, "NAME", "PROTOCOL", "ENABLED", "BY", "SERVER", "ROUTE")
	for _, e := range entries {
		if e.Err != nil {
			u.say("%v", e.Err)
			continue
		}
		row(table, e.Name, e.Protocol, yesNo(e.Enabled), dash(string(e.By)), e.Server.Now, dash(e.Route))
	}
	return table.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
