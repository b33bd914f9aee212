package main

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/doctor"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/hook/sessionbus"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// TestEveryFindingHasARemedy, and is said in words of its own.
func TestEveryFindingHasARemedy(t *testing.T) {
	t.Parallel()
	why := errors.New("operation not permitted")
	entry := autostart.Entry{Route: nowhere, Address: netip.MustParseAddrPort("127.0.0.1:3389"), Program: "/gone/tunhook", By: autostart.BySystemd}
	profile := remmina.Profile{Path: "/home/a/desk.remmina", Name: "desk"}
	findings := []any{
		doctor.Hangs{After: time.Second},
		doctor.NoHandles{Err: why},
		doctor.Blind{Err: why},
		doctor.NoLoopback{Address: entry.Address.Addr(), Err: why},
		doctor.NoBus{},
		doctor.NoBus{Address: "unix:path=/gone", Err: why},
		doctor.NoBus{Address: "tcp:host=a", Err: sessionbus.ErrNone},
		doctor.NoNotifier{Err: why},
		doctor.NoManager{Needed: true, Err: why},
		doctor.ManagerLacks{Names: []string{"DISPLAY"}},
		doctor.NoProgram{Err: &tunnel.ProgramError{Program: "x", Reason: "was not found on PATH"}, For: []string{"x://a"}},
		doctor.NoProgram{Err: &tunnel.ProgramError{Program: "x", Reason: "was not found on PATH", Install: "see x.example"}},
		doctor.NotOnDesktop{Name: "x", Path: "/home/a/bin/x", For: []string{"x://a"}},
		doctor.Old{Name: "x", Version: "1", Least: "2"},
		doctor.Silent{Name: "x", After: time.Second},
		doctor.Wildcard{Port: 3389},
		doctor.Unserved{Profile: profile},
		doctor.Unheard{Profile: profile},
		doctor.Strayed{Profile: profile},
		doctor.Proxied{Profile: profile},
		doctor.Moved{Entry: entry},
		doctor.Halfway{Entry: entry, Missing: []string{"a.service"}},
		doctor.Changed{Entry: entry, Files: []string{"a.service"}},
		doctor.Stale{Record: pidfile.Record{Route: nowhere, Address: entry.Address}},
	}
	for _, trouble := range []remmina.Trouble{remmina.StartsTunnel, remmina.Misquoted, remmina.NeedsShell, remmina.ProgramGone} {
		findings = append(findings, doctor.Command{Profile: profile, Fault: remmina.Fault{Trouble: trouble, Command: "x"}})
	}
	for _, fact := range findings {
		words := sayRemark("check", doctor.Remark{Level: doctor.Finding, Fact: fact})
		if words.remedy == "" || words.text == "" || words.text == fmt.Sprint(fact) {
			t.Errorf("%T: %+v", fact, words)
		}
	}
}
