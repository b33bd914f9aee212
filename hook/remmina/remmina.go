// Package remmina makes Remmina connection profiles use a tunnel, and gives them back as they were.
//
// Enable points a profile's server at the listen address of a tunnel, and has Remmina connect there without a proxy. That is
// all where the connection itself starts the tunnel; by hook it fills in the commands that Remmina runs before and after
// connecting, too. Disable undoes it, from what Enable left in the profile. A file that nobody else wrote in between comes back byte for byte. Remmina itself
// rewrites a profile after each connection, without its comments and line endings; then the keys that Enable changed
// come back, and whatever Remmina changed stays. Profiles does the same together with the listener.
//
// What is said here of Remmina was read in its source (https://gitlab.com/Remmina/Remmina, early 2026) and tried with
// Debian's 1.4.29.
package remmina

import (
	"net/netip"
	"slices"
	"strings"
)

// Profile is a connection profile as its file tells it.
type Profile struct {
	Path     string // absolute, as it was found; possibly a symbolic link
	Kind     Kind   // of the Remmina that it belongs to; set by Find and List
	Name     string
	Protocol string // RDP, VNC, SSH, or another plugin's name
	Server   Value
	Before   Value  // the command before connecting
	After    Value  // the command after connecting
	Enabled  bool   // it holds what Enable wrote
	By       Way    // how it starts its tunnel; "" where it is not enabled
	Route    string // the route that it was enabled for
	// Proxy is whether Remmina asks the proxy that its environment names for the server; ByProxy reads what it is now.
	Proxy   Value
	ByProxy bool
	// Preconnected says that it names a virtual machine to a Hyper-V host before it speaks RDP, [MS-RDPEPS].
	Preconnected bool
}

// Way is how a profile starts its tunnel.
type Way string

// The two ways.
const (
	ByHook       Way = "hook"       // Remmina runs a command before and another after connecting
	ByConnection Way = "connection" // a listener starts the tunnel when Remmina connects
)

// Value is what a profile holds under a key that Enable changes. It is empty where the key is absent.
type Value struct {
	Now      string // as Remmina reads it
	Original string // as Disable leaves it; the same as Now in a profile that is not enabled
	Ours     bool   // Enable wrote Now, and nobody changed it since
}

// Load reads a profile. Where it cannot, the error is a *FileError or a *DamagedError.
func Load(path string) (Profile, error) {
	f, err := open(path)
	if err != nil {
		return Profile{}, err
	}
	return f.profile()
}

func (f *file) profile() (Profile, error) {
	enabled, err := f.keys.enabled()
	if err != nil {
		return Profile{}, &DamagedError{Path: f.path, Err: err}
	}
	p := Profile{
		Path:     f.path,
		Name:     f.keys.text("name"),
		Protocol: f.keys.text("protocol"),
		Enabled:  enabled,
		Route:    f.keys.text(routeKey),
		ByProxy:  isOn(f.keys.text("useproxyenv")),

		Preconnected: f.keys.text("preconnectionid") != "" || f.keys.text("preconnectionblob") != "",
	}
	if enabled {
		p.By = f.keys.way()
	}
	values := [managedKeys]*Value{&p.Server, &p.Before, &p.After, &p.Proxy}
	ours := f.keys.ours()
	for i, key := range managed() {
		now := f.keys.text(key)
		*values[i] = Value{Now: now, Original: now, Ours: ours[i]}
		if ours[i] {
			values[i].Original = f.keys.text(undoPrefix + key)
		}
	}
	return p, nil
}

// Tunnel is what Enable makes a profile use.
type Tunnel struct {
	Route  string // kept for Profile.Route
	Listen string // IP:PORT that Remmina is to connect to
	By     Way
	Ready  string   // what the connection speaks, or the start waits for; "" for what fits the protocol
	Args   []string // extra arguments of the tunnel program
	Before []string // by hook: argv before connecting, its program an absolute path
	After  []string // by hook: argv after connecting
}

// Result tells what Enable or Disable did.
type Result struct {
	Profile Profile // as it is now
	Changed bool    // the file was written
	// Kept lists the keys that Disable left alone because someone changed them since Enable.
	Kept []string
	// Stays lists the listeners that no profile needs any more and that somebody is still connected to; the next call of
	// Profiles disables them.
	Stays []Listener
}

// Enable makes a profile use a tunnel. In a profile that is enabled already it replaces the tunnel, and what
// Disable gives back stays the same; with the same tunnel it changes nothing.
//
// Commands that are not Enable's own stay where the tunnel starts by connection, unless they start one themselves. By
// hook there is no room for them. Those of Profile.Old are set aside, until Disable. What else cannot stay is a *ForeignError; with force it is set aside, until Disable. Other
// errors are *FileError, *WriteError, *DamagedError, *DetourError, *ServerlessError, *ListenError and *QuoteError. All of
// them leave the file as it was.
func Enable(path string, t Tunnel, force bool) (Result, error) {
	f, values, err := prepare(path, t, force)
	if err != nil {
		return Result{}, err
	}
	return f.change(func() {
		f.keys.disable()
		f.keys.enable(t.Route, values)
	})
}

// Check fails where Enable would, except for a *WriteError, and changes nothing.
func Check(path string, t Tunnel, force bool) error {
	_, _, err := prepare(path, t, force)
	return err
}

// Change is a key of a profile that Enable gives another value.
type Change struct{ Key, Old, New string }

// preview gives what Enable would change of the keys that Remmina reads, and fails where that would.
func preview(path string, t Tunnel, force bool) ([]Change, error) {
	f, values, err := prepare(path, t, force)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, key := range managed() {
		changes = append(changes, Change{Key: key, Old: f.keys.text(key)})
	}
	f.keys.disable()
	f.keys.enable(t.Route, values)
	for i, key := range managed() {
		changes[i].New = f.keys.text(key)
	}
	return slices.DeleteFunc(changes, func(c Change) bool { return c.Old == c.New }), nil
}

// prepare reads a profile that can be enabled, and gives the values that its keys are to have; nil is for a key that stays.
func prepare(path string, t Tunnel, force bool) (*file, [managedKeys]*string, error) {
	var none [managedKeys]*string
	f, err := open(path)
	if err != nil {
		return nil, none, err
	}
	p, err := f.profile()
	if err != nil {
		return nil, none, err
	}
	if err := p.checkForeign(t.By); err != nil && !force {
		return nil, none, err
	}
	if err := f.keys.undoable(); err != nil {
		return nil, none, &FileError{Path: path, Hint: "put a newline there, or remove it", Err: err}
	}
	if err := f.checkReach(p); err != nil {
		return nil, none, err
	}
	if err := checkListen(t.Listen, p.Protocol); err != nil {
		return nil, none, err
	}
	directly := p.directly()
	if t.By == ByConnection {
		old, _ := p.Old()
		return f, [...]*string{&t.Listen, aside(p.Before, force || old.Before), aside(p.After, force || old.After), directly}, nil
	}
	before, err := quote(t.Before)
	if err != nil {
		return nil, none, err
	}
	after, err := quote(t.After)
	if err != nil {
		return nil, none, err
	}
	return f, [...]*string{&t.Listen, &before, &after, directly}, nil
}

// directly gives the value that has Remmina connect without a proxy, nil where it does so already.
func (p Profile) directly() *string {
	if !isOn(p.Proxy.Original) {
		return nil
	}
	off := "0"
	return &off
}

// aside gives the value of a command field where the tunnel starts by connection: a command stays, unless it is to be set
// aside now or was already.
func aside(command Value, force bool) *string {
	if command.Original != "" && (force || command.Ours) {
		return new(string)
	}
	return nil
}

// Disable gives a profile back what Enable changed. Where the profile is not enabled it does nothing. A key that
// someone changed since Enable keeps its new value. The errors are *FileError, *WriteError and *DamagedError.
func Disable(path string) (Result, error) {
	f, err := open(path)
	if err != nil {
		return Result{}, err
	}
	p, err := f.profile()
	if err != nil || !p.Enabled {
		return Result{Profile: p}, err
	}
	kept := f.keys.changedSince()
	result, err := f.change(f.keys.disable)
	result.Kept = kept
	return result, err
}

// changedSince lists the managed keys that hold neither what enable wrote nor what was there before.
func (f *keyFile) changedSince() []string {
	var keys []string
	ours := f.ours()
	wrote := f.wrote()
	for i, key := range managed() {
		if !ours[i] && i < len(wrote) && wrote[i] != untouched && f.text(key) != f.text(undoPrefix+key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// change applies edit to the keys and saves them, if it made a difference.
func (f *file) change(edit func()) (Result, error) {
	old := f.keys.String()
	edit()
	changed := f.keys.String() != old
	if changed {
		if err := f.save(); err != nil {
			return Result{}, err
		}
	}
	p, err := f.profile()
	return Result{Profile: p, Changed: changed}, err
}

// checkForeign looks for commands that cannot stay: by hook all but Enable's own, by connection those that start a tunnel. Those
// that tunhook is known to take the place of are set aside.
func (p Profile) checkForeign(by Way) error {
	old, replaces := p.Old()
	if by == ByConnection {
		if _, startsTunnel := p.script(); !startsTunnel || replaces {
			return nil
		}
	}
	foreign := &ForeignError{Path: p.Path}
	if !p.Before.Ours && !old.Before {
		foreign.Before = p.Before.Now
	}
	if !p.After.Ours && !old.After {
		foreign.After = p.After.Now
	}
	if foreign.Before == "" && foreign.After == "" {
		return nil
	}
	return foreign
}

// CheckReach fails where no tunnel can be of use to a profile, whatever its route: Enable would fail likewise.
func CheckReach(path string) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	p, err := f.profile()
	if err != nil {
		return err
	}
	return f.checkReach(p)
}

// checkReach makes sure that this machine is to connect to a server by its address.
func (f *file) checkReach(p Profile) error {
	if what, hint := serverless(p.Protocol); what != "" {
		return &ServerlessError{Path: f.path, Protocol: p.Protocol, What: what, Hint: hint}
	}
	for _, key := range detours(p.Protocol) {
		value := f.keys.text(key)
		if isSwitch := strings.HasSuffix(key, "_enabled"); isSwitch && !isOn(value) || value == "" {
			continue
		}
		return &DetourError{Path: f.path, Key: key, Value: value, Route: f.sshRoute(key, p)}
	}
	return nil
}

// isOn reads a switch: Remmina writes 0 and 1, people write words.
func isOn(value string) bool { return value != "" && value != "0" && value != "false" }

// checkListen makes sure that Remmina connects to just that address.
func checkListen(listen, protocol string) error {
	address, err := netip.ParseAddrPort(listen)
	switch {
	case err != nil || address.Port() == 0:
		return &ListenError{Listen: listen, Reason: "is no IP:PORT"}
	case lookUp(protocol).displays && address.Port() < firstPort:
		return &ListenError{Listen: listen, Reason: "means a display number to Remmina, as every VNC port below 100"}
	}
	return nil
}
