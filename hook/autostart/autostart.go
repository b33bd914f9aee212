// Package autostart keeps the entries that make a listener start at each login: a socket and a service unit of the systemd user
// manager, or an autostart entry of the desktop. It writes files and talks to systemctl(1); what runs is its caller's affair.
package autostart

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile"
)

// By says what starts a listener at login.
type By string

// The two ways.
const (
	BySystemd By = "systemd"   // units of the user manager, systemd.socket(5)
	ByDesktop By = "autostart" // an entry of the Desktop Application Autostart Specification
)

// Entry is one listener that starts at each login.
type Entry struct {
	By      By
	Route   string         // as the user wrote it
	Address netip.AddrPort // where it listens
	Program string         // absolute path of tunhook
	For     string         // path of the profile that needs it, and perhaps others do; "" where a person enabled it
	Since   time.Time      // when the entry was written; set by List

	// What follows is written and not read back.

	Args    []string // of tunhook: "listen" and what follows
	Environ []string // "NAME=value": what the listener gets besides what its session has
}

// Key names the tunnel behind the listener, and with it the entry's files.
func (e Entry) Key() pidfile.Key { return pidfile.Key{Route: e.Route, Listen: e.Address.String()} }

// Name is the name of the entry's files without what tells their kind.
func (e Entry) Name() string { return prefix + e.Key().Name() }

// Socket and Service are the names of the units.
func (e Entry) Socket() string { return e.Name() + socketSuffix }

// Service is the name of the unit that the socket activates.
func (e Entry) Service() string { return e.Name() + serviceSuffix }

const (
	prefix        = "tunhook-"
	socketSuffix  = ".socket"
	serviceSuffix = ".service"
	desktopSuffix = ".desktop"
)

// title is the one line that tools of the system show.
func (e Entry) title() string { return "tunhook: " + e.Route + " on " + e.Address.String() }

// marker is the first line of every file of ours. What does not begin with it is somebody else's.
const marker = "# Made by tunhook enable, and removed by tunhook disable: what is changed here by hand is lost.\n"

// Keys that tell List what a file is of. systemd ignores a section whose name begins with X-, systemd.syntax(7); a desktop entry
// may have such keys.
const (
	routeKey   = "X-Tunhook-Route="
	addressKey = "X-Tunhook-Address="
	programKey = "X-Tunhook-Program="
	forKey     = "X-Tunhook-For="
)

// keys are the lines that List reads back. A route has no character that would need an escape.
func (e Entry) keys() string {
	keys := routeKey + e.Route + "\n" + addressKey + e.Address.String() + "\n" + programKey + strconv.QuoteToASCII(e.Program) + "\n"
	if e.For != "" {
		keys += forKey + strconv.QuoteToASCII(e.For) + "\n"
	}
	return keys
}

// parse reads a file of ours; ok is false where it is none, or does not belong under that name.
func parse(by By, path string, text []byte) (e Entry, ok bool) {
	rest, ours := strings.CutPrefix(string(text), marker)
	if !ours {
		return Entry{}, false
	}
	e.By = by
	var err error
	for line := range strings.Lines(rest) {
		line = strings.TrimSuffix(line, "\n")
		if value, ok := strings.CutPrefix(line, routeKey); ok {
			e.Route = value
		}
		if value, ok := strings.CutPrefix(line, addressKey); ok {
			if e.Address, err = netip.ParseAddrPort(value); err != nil {
				return Entry{}, false
			}
		}
		if value, ok := strings.CutPrefix(line, programKey); ok {
			if e.Program, err = strconv.Unquote(value); err != nil {
				return Entry{}, false
			}
		}
		if value, ok := strings.CutPrefix(line, forKey); ok {
			if e.For, err = strconv.Unquote(value); err != nil {
				return Entry{}, false
			}
		}
	}
	base := filepath.Base(path)
	return e, e.Address.IsValid() && e.Name() == strings.TrimSuffix(base, filepath.Ext(base))
}

// Store is where the entries of a user are.
type Store struct {
	ConfigHome string // $XDG_CONFIG_HOME, absolute; "" for none: nothing is enabled then
}

// UnitDir is the directory of the user's own units, systemd.unit(5).
func (s Store) UnitDir() string { return filepath.Join(s.ConfigHome, "systemd", "user") }

// DesktopDir is the directory of the user's own autostart entries.
func (s Store) DesktopDir() string { return filepath.Join(s.ConfigHome, "autostart") }

// wantsDir is the directory that makes units start with the manager: sockets.target is a part of every start of it.
func (s Store) wantsDir() string { return filepath.Join(s.UnitDir(), "sockets.target.wants") }

// List reads the entries, in the order of their names; a half-made or half-removed one too. What is not ours is passed over.
func (s Store) List() ([]Entry, error) {
	if s.ConfigHome == "" {
		return nil, nil
	}
	units, err := list(BySystemd, s.UnitDir(), socketSuffix, serviceSuffix)
	if err != nil {
		return nil, err
	}
	desktop, err := list(ByDesktop, s.DesktopDir(), desktopSuffix)
	return append(units, desktop...), err
}

func list(by By, dir string, suffixes ...string) ([]Entry, error) {
	names, err := os.ReadDir(dir)
	if isNone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, &FileError{dir, "cannot be read (" + reason(err) + ")", "make it readable for you"}
	}
	var entries []Entry
	for _, n := range names {
		if !n.Type().IsRegular() || !strings.HasPrefix(n.Name(), prefix) || !slices.Contains(suffixes, filepath.Ext(n.Name())) {
			continue
		}
		path := filepath.Join(dir, n.Name())
		text, err := readOwn(path)
		if err != nil {
			continue // removed since the directory was read, or not ours to read
		}
		e, ok := parse(by, path, text)
		if !ok || slices.ContainsFunc(entries, func(o Entry) bool { return o.Name() == e.Name() }) {
			continue
		}
		if info, err := n.Info(); err == nil {
			e.Since = info.ModTime()
		}
		entries = append(entries, e)
	}
	return entries, nil
}
