package remmina

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// What enable needs to undo itself stands in the profile, in keys of the [remmina] group. Remmina keeps keys that
// it does not know, so they travel with the file when it is moved, backed up, or copied in Remmina's own window,
// which loses comments, other groups and any file beside it.
const (
	// undoPrefix before a key names the key that holds its original value, as it was written. Where the
	// profile had no such key, there is none of these either.
	undoPrefix = "tunhook_"
	// routeKey holds the route, for people and for Profile.Route.
	routeKey = "tunhook_route"
	// wroteKey holds a digest of each value that enable wrote, in the order of managed, or untouched. A value
	// that no longer matches was changed by someone else, and belongs to them. It tells the way, too: by
	// connection no command was written. What is missing at its end is untouched.
	wroteKey = "tunhook_wrote"
	// untouched stands for the digest of a value that enable left alone.
	untouched = "-"
)

const (
	managedKeys = 4
	oldestKeys  = 3 // what the first enable managed of them
)

// managed lists the keys that enable points at the tunnel. With the last one Remmina asks a proxy for the server, which does not know
// this machine's own addresses: FreeRDP does so of itself, and Remmina's plugin has it do so only there.
func managed() [managedKeys]string {
	return [...]string{"server", "precommand", "postcommand", "useproxyenv"}
}

// digest is short, since it tells a change, not an attack: who can write the profile can write its digest.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// enabled tells whether f holds what enable wrote, and fails where that cannot be undone.
func (f *keyFile) enabled() (bool, error) {
	found := map[string]bool{}
	for _, l := range f.lines {
		if l.group != profileGroup || !isUndo(l.key) {
			continue
		}
		if found[l.key] {
			return false, fmt.Errorf("it holds %s= more than once", l.key)
		}
		found[l.key] = true
	}
	switch {
	case len(found) == 0:
		return false, nil
	case !found[wroteKey] || !found[routeKey]:
		return false, fmt.Errorf("of %s= and %s= one is gone", routeKey, wroteKey)
	case len(f.wrote()) < oldestKeys || len(f.wrote()) > managedKeys:
		return false, fmt.Errorf("%s= was changed by hand", wroteKey)
	}
	return true, nil
}

func isUndo(key string) bool {
	if key == routeKey || key == wroteKey {
		return true
	}
	original, prefixed := strings.CutPrefix(key, undoPrefix)
	keys := managed()
	return prefixed && slices.Contains(keys[:], original)
}

func (f *keyFile) wrote() []string { return strings.Fields(f.text(wroteKey)) }

// way tells how an enabled profile starts its tunnel. By connection the commands are left alone, or set aside.
func (f *keyFile) way() Way {
	if before := f.wrote()[1]; before == untouched || before == digest("") {
		return ByConnection
	}
	return ByHook
}

// ours tells of each managed key whether it still holds what enable wrote; none does in a profile not enabled.
func (f *keyFile) ours() (ours [managedKeys]bool) {
	wrote := f.wrote()
	for i, key := range managed() {
		ours[i] = i < len(wrote) && digest(f.text(key)) == wrote[i]
	}
	return ours
}

// undoable tells whether enable can be undone to the byte, whatever it changes. GLib counts a carriage return without a newline as part of
// the value, and would no longer do so in the line that is to keep it.
func (f *keyFile) undoable() error {
	for _, key := range managed() {
		if i := f.index(key); i >= 0 && (strings.HasSuffix(f.lines[i].value, "\r") || strings.HasSuffix(f.lines[i].head, "\r")) {
			return fmt.Errorf("%s= has a stray carriage return before or behind its value", key)
		}
	}
	return nil
}

// enable writes the values of managed that are not nil, and all that disable needs to undo that. f must be undoable and not
// enabled.
func (f *keyFile) enable(route string, values [managedKeys]*string) {
	var added []setting
	var wrote []string
	for i, key := range managed() {
		if values[i] == nil {
			wrote = append(wrote, untouched)
			continue
		}
		value := escape(*values[i])
		wrote = append(wrote, digest(*values[i]))
		original, had := f.raw(key)
		if !had {
			added = append(added, setting{key, value})
			continue
		}
		f.set(key, value)
		added = append(added, setting{undoPrefix + key, original})
	}
	for len(wrote) > oldestKeys && wrote[len(wrote)-1] == untouched { // mostly: it is as the first enable had it
		wrote = wrote[:len(wrote)-1]
	}
	added = append(added, setting{routeKey, escape(route)}, setting{wroteKey, strings.Join(wrote, " ")})
	f.insert(added)
}

// disable undoes enable. A value that is no longer what enable wrote is someone's later change, and stays.
func (f *keyFile) disable() {
	ours := f.ours()
	for i, key := range managed() {
		original, had := f.raw(undoPrefix + key)
		f.remove(undoPrefix + key)
		switch {
		case !ours[i]:
		case had:
			f.set(key, original)
		default:
			f.remove(key)
		}
	}
	f.remove(routeKey)
	f.remove(wroteKey)
}
