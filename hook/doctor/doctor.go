// Package doctor looks for what keeps tunhook from working on a machine: for one route or profile, or for all there is. It connects to
// nothing but local buses, asks programs for no more than their version (but see Machine.Try), and every look is bounded in time. What
// it finds comes back as facts; the sentences are made elsewhere.
package doctor

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// Machine is what is looked at.
type Machine struct {
	// Hook is what the use cases would work with. Where Unset is not nil it knows no directories.
	Hook *hook.Env
	// Version is that of this program.
	Version string
	// Unset says why the environment does not tell where the directories are.
	Unset error
	// Config are the files of the configuration, the most important last.
	Config []string
	// Profiles are where Remmina's are; none where that is not known.
	Profiles []remmina.Dir
	// Remmina is where Remminas may be.
	Remmina remmina.Machine
	// Try has the native Remmina run for a moment, to see whether it runs commands. It shows a window of it.
	Try bool
	// Kernel is what is asked of it; the zero value asks the real one.
	Kernel System
	// Patience is for one question, to a program or on a bus; 0 stands for 15 s. A check has twice that.
	Patience time.Duration
}

// System is what the kernel gives, each of which may lack on a machine.
type System struct {
	Handles  func() error                       // on processes
	Sockets  func() (fast bool, err error)      // which there are
	Loopback func(address netip.AddrPort) error // an address of it can be listened on
}

func (s *System) complete() {
	if s.Handles == nil {
		s.Handles = process.Supported
	}
	if s.Sockets == nil {
		s.Sockets = tunnel.SeeSockets
	}
	if s.Loopback == nil {
		s.Loopback = func(address netip.AddrPort) error {
			_, err := tunnel.Listen{Addr: address}.Reserve()
			return err
		}
	}
}

// Scope narrows the look down to one route, one profile, or both where they have the same name; the zero value is all.
type Scope struct {
	Route   string
	Profile *remmina.Entry
}

// Check is one look at something.
type Check struct {
	Name  string
	About string // one line of documentation
	scope reach
	look  func(*exam, context.Context) []Remark
}

// reach says what a check is a part of.
type reach int

const (
	machine reach = 1 << iota // the look at all there is
	route                     // that at a route
	profile                   // that at a profile
	always  = machine | route | profile
)

// Checks is the table of all that is looked at, in the order in which it is told.
func Checks() []Check {
	return []Check{
		{"tunhook", "which one this is", machine, (*exam).itself},
		{"directories", "records and logs have a place, which is yours alone", machine | route, (*exam).directories},
		{"kernel", "processes have handles, sockets can be asked for, 127.0.0.0/8 is there", machine | route, (*exam).kernel},
		{"bus", "the session bus answers", machine, (*exam).bus},
		{"notifications", "somebody shows what fails and where to sign in", machine, (*exam).notifications},
		{"manager", "the systemd user manager answers, and knows the display", machine, (*exam).manager},
		{"configuration", "the files can be read, and every key of theirs is known", machine | route, (*exam).configuration},
		{"routes", "what is enabled, configured or in a profile is a route", always, (*exam).routes},
		{"programs", "the tunnel programs are there, and new enough", always, (*exam).programs},
		{"addresses", "the listen addresses are not taken by others", always, (*exam).addresses},
		{"remmina", "which Remmina there is, and whether it runs commands", machine | profile, (*exam).remminas},
		{"profiles", "the commands of Remmina's profiles can run, and their tunnels start", machine | profile, (*exam).profiles},
		{"enabled", "what is enabled listens, and its files are whole", always, (*exam).enabled},
		{"records", "the records can be read, and are of tunnels that there are", machine | route, (*exam).records},
	}
}

// Level says what a remark is.
type Level string

// The levels.
const (
	Well    Level = "ok"
	Note    Level = "note"    // worth knowing, and no fault
	Finding Level = "finding" // keeps something from working
)

// Remark is one thing that a check has seen.
type Remark struct {
	Level Level
	Fact  any // one of those in facts.go

	fix func(context.Context) (done any, err error)

	Done   any   // what Fix has done about it: one of the deeds in facts.go
	Failed error // why Fix could not
}

// Fixable tells whether Fix would do something about it.
func (r Remark) Fixable() bool { return r.fix != nil }

func well(fact any) Remark { return Remark{Level: Well, Fact: fact} }
func note(fact any) Remark { return Remark{Level: Note, Fact: fact} }
func bad(fact any) Remark  { return Remark{Level: Finding, Fact: fact} }

// Report is what one check has seen, at least one remark.
type Report struct {
	Check
	Remarks []Remark
}

// Examine runs the checks of a scope, all at the same time.
func (m Machine) Examine(ctx context.Context, scope Scope) []Report {
	e := newExam(ctx, m, scope)
	var checks []Check
	for _, c := range Checks() {
		if c.scope&scope.reach() != 0 {
			checks = append(checks, c)
		}
	}
	reports := make([]Report, len(checks))
	if m.Try && (scope.Profile == nil || scope.Profile.Kind == remmina.Native) {
		go func() { _, _ = e.tried() }() // while it is asked for its version: each may take all of the patience
	}
	answers := make([]chan []Remark, len(checks))
	for i, c := range checks {
		answers[i] = make(chan []Remark, 1)
		go func() { answers[i] <- c.look(e, ctx) }() // may hang in a system call, and is left behind then
	}
	deadline := time.After(2 * e.Patience)
	late := false
	for i, c := range checks {
		reports[i].Check = c
		if !late {
			select {
			case reports[i].Remarks = <-answers[i]:
				continue
			case <-deadline:
				late = true
			}
		}
		select {
		case reports[i].Remarks = <-answers[i]:
		default:
			reports[i].Remarks = []Remark{bad(Hangs{2 * e.Patience})}
		}
	}
	return reports
}

func (s Scope) reach() reach {
	var r reach
	if s.Route != "" {
		r |= route
	}
	if s.Profile != nil {
		r |= profile
	}
	if r == 0 {
		return machine
	}
	return r
}

// Fix does what is safe about the findings, one after the other, and notes in them what it has done. What it leaves is for a person.
func Fix(ctx context.Context, reports []Report) {
	for _, report := range reports {
		for i := range report.Remarks {
			r := &report.Remarks[i]
			if r.fix != nil {
				r.Done, r.Failed = r.fix(ctx)
			}
		}
	}
}

// AllWell tells whether no finding is left.
func AllWell(reports []Report) bool {
	return !slices.ContainsFunc(reports, func(r Report) bool {
		return slices.ContainsFunc(r.Remarks, func(r Remark) bool { return r.Level == Finding && (r.Done == nil || r.Failed != nil) })
	})
}
