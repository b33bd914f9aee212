package remmina

import (
	"fmt"
	"strings"
)

// FileError tells that a file is no profile that can be read, or none that could be given back as it was.
type FileError struct {
	Path string
	Hint string // the way out
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Path, e.Err, e.Hint) }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// WriteError tells that a profile could not be written. It is as it was.
type WriteError struct {
	Path string
	Err  error
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("%s: cannot be written: %v: make the file and its directory writable; nothing was changed", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// DamagedError tells that a profile was enabled, but that its keys which say how to undo that were changed since.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: %v, so what was there before tunhook is not known: set server, precommand and "+
		"postcommand as they should be, and delete the lines that begin with %s", e.Path, e.Err, undoPrefix)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// ForeignError tells that a profile already runs commands of its user's.
type ForeignError struct {
	Path          string
	Before, After string // as Remmina reads them; "" where that one is free or tunhook's
}

func (e *ForeignError) Error() string {
	var fields []string
	if e.Before != "" {
		fields = append(fields, fmt.Sprintf("before connecting: %q", e.Before))
	}
	if e.After != "" {
		fields = append(fields, fmt.Sprintf("after connecting: %q", e.After))
	}
	return fmt.Sprintf("%s: already runs a command %s: remove it in Remmina, or set it aside until disable with --force",
		e.Path, strings.Join(fields, ", "))
}

// DetourError tells that Remmina reaches a profile's server through something else, which would look for the
// listen address of the tunnel on its own machine instead of this one.
type DetourError struct {
	Path  string
	Key   string // the profile's key that says so
	Value string
	Route string // leads the same way; "" where no route is known that does
}

func (e *DetourError) Error() string {
	hint := "turn that off in Remmina first"
	if e.Route != "" {
		hint = "turn that off in Remmina, and go the same way with --route " + e.Route
	}
	return fmt.Sprintf("%s: Remmina connects through %s=%q, from where a tunnel on this machine cannot be reached: %s",
		e.Path, e.Key, e.Value, hint)
}

// ServerlessError tells that a profile connects to no server by its address.
type ServerlessError struct {
	Path     string
	Protocol string
	What     string // what a profile of this protocol does instead
	Hint     string // the way out
}

func (e *ServerlessError) Error() string {
	return fmt.Sprintf("%s: a profile with protocol=%s %s, and does not connect to a server that a tunnel could lead to: %s",
		e.Path, e.Protocol, e.What, e.Hint)
}

// RouteError tells that a profile's server does not say where its tunnel leads.
type RouteError struct {
	Path   string
	Server string
	Reason string
}

func (e *RouteError) Error() string {
	return fmt.Sprintf("%s: server %q %s: name the route with --route HOST:PORT", e.Path, e.Server, e.Reason)
}

// ListenError tells of a listen address that Remmina would not connect to as it stands.
type ListenError struct {
	Listen string
	Reason string
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("listen address %q %s: name another one with --listen IP:PORT", e.Listen, e.Reason)
}

// UsedError tells that others reach their server by the listen address with other arguments of the tunnel program. On one
// address there is one tunnel: either would get the other's.
type UsedError struct {
	Address string
	By      string   // the name of their profile; "" where a person has enabled the address
	Args    []string // theirs
}

func (e *UsedError) Error() string {
	return e.Address + " " + e.Why() + ": name another one with --listen IP:PORT"
}

// Why says what the address is used for.
func (e *UsedError) Why() string {
	arguments := "none"
	if len(e.Args) > 0 {
		arguments = Words(e.Args)
	}
	if e.By == "" {
		return "is enabled with other arguments (" + arguments + ")"
	}
	return fmt.Sprintf("is the address of %q, whose tunnel has other arguments (%s)", e.By, arguments)
}

// QuoteError tells of an argument that cannot be passed through Remmina's command fields.
type QuoteError struct {
	Arg    string
	Reason string
}

func (e *QuoteError) Error() string {
	return fmt.Sprintf("argument %q %s, so Remmina cannot pass it on: leave it out", e.Arg, e.Reason)
}

// NotFoundError tells that no profile has the wanted name.
type NotFoundError struct {
	Name       string
	Dirs       []Dir     // where it was looked for
	Candidates []Profile // the profiles there are
}

func (e *NotFoundError) Error() string {
	if len(e.Candidates) == 0 {
		var dirs []string
		for _, d := range e.Dirs {
			dirs = append(dirs, d.Path)
		}
		return fmt.Sprintf("no profile %q: there are none in %s: name the profile's file", e.Name, strings.Join(dirs, ", "))
	}
	return fmt.Sprintf("no profile %q: there are %s", e.Name, listing(e.Candidates, func(p Profile) string {
		return fmt.Sprintf("%q", p.Name)
	}))
}

// AmbiguousError tells that several profiles have the wanted name.
type AmbiguousError struct {
	Name       string
	Candidates []Profile
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("several profiles are called %q: name the file of one: %s", e.Name, listing(e.Candidates, func(p Profile) string {
		return p.Path
	}))
}

// listing writes so many profiles as fit on a line that is still read.
func listing(profiles []Profile, write func(Profile) string) string {
	const most = 10
	var names []string
	for _, p := range profiles[:min(len(profiles), most)] {
		names = append(names, write(p))
	}
	text := strings.Join(names, ", ")
	if more := len(profiles) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
