package main

import (
	"strings"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
)

// The messages of enable and disable; see ui.go for the rules.

func (u *ui) nowListens(e hook.Enabled) {
	switch {
	case !e.Changed:
		u.say("%s is enabled for %s already", e.Address, e.Route)
	case e.By == autostart.BySystemd:
		u.say("a connection to %s now starts the tunnel for %s, after every login too (%s)", e.Address, e.Route, e.Socket())
	default:
		u.say("a connection to %s now starts the tunnel for %s, and does so after every login to the desktop, by an autostart entry: "+
			"no systemd user manager answers (%v)", e.Address, e.Route, e.NoManager)
	}
	u.listenerWarnings(e)
}

// listenerWarnings says what would keep a listener from doing its work.
func (u *ui) listenerWarnings(e hook.Enabled) {
	if len(e.Lacks) > 0 {
		names := strings.Join(e.Lacks, " ")
		u.say("warning: no sign-in page and no notification can be shown, since the systemd user manager has no %s: "+
			"run \"systemctl --user import-environment %s\" now, and in what starts your session", strings.ReplaceAll(names, " ", ", "), names)
	}
	if e.Fleeting {
		u.say("warning: %s is in a temporary directory: install tunhook, and enable it again from there", e.Program)
	}
}

func (u *ui) listensNoMore(d hook.Disabled) {
	switch {
	case d.Found && d.StillListens != nil:
		u.say("%s does not listen at the next login any more; until you log out %s still does", d.Address, program(*d.StillListens))
	case d.Found:
		u.say("%s no longer listens for %s", d.Address, d.Route)
	case len(d.Others) > 0:
		o := d.Others[0]
		u.say("%s is not enabled for %s; it is on %s: tunhook disable %s %s", d.Address, d.Route, o.Address, o.Route, o.Address)
	default:
		u.say("%s is not enabled for %s", d.Address, d.Route)
	}
}

func (u *ui) allListenNoMore(all []hook.Disabled) {
	for _, d := range all {
		u.listensNoMore(d)
	}
	if len(all) == 0 {
		u.say("nothing is enabled")
	}
}
