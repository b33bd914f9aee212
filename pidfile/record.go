// Package pidfile keeps what is known of running tunnels: one record a key, in a private directory, changed only under
// a lock, with process identities (package process) exact enough that a signal never reaches the wrong process.
package pidfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// RecordVersion is the version of the record format that this package writes and reads.
const RecordVersion = 1

const (
	recordSuffix  = ".json"
	maxRecordSize = 64 << 10 // bytes; a record is well under 2 KiB
)

// Record is what a pidfile holds of one tunnel. It holds no secret: no arguments, no log lines, no environment.
type Record struct {
	Version     int                `json:"version"`
	Route       string             `json:"route"`          // as the key has it
	Listen      string             `json:"listen"`         // as the key has it: an address or "auto"
	Target      string             `json:"target"`         // the route itself, where the key has a name for it
	Address     netip.AddrPort     `json:"address"`        // the listen address
	Front       netip.AddrPort     `json:"front,omitzero"` // where a listener takes the clients of a tunnel whose Address is private
	Provider    string             `json:"provider"`       // name of the provider
	Program     string             `json:"program"`        // base name of the tunnel program, for messages
	Signal      string             `json:"signal"`         // the signal that asks the tunnel program to end, "TERM" or the like
	Token       string             `json:"token"`          // random; also in the environment of the tunnel's processes
	Tunnel      process.Identity   `json:"tunnel"`         // the tunnel program; zero while it is being launched
	Place       process.Place      `json:"place,omitzero"` // where it was started
	Started     time.Time          `json:"started"`
	Log         string             `json:"log"`      // path of the tunnel's log
	LogFrom     int64              `json:"log_from"` // where this tunnel's lines begin in the log, in bytes
	Promise                        // what was asked of its life
	ArgsHash    string             `json:"args_hash"`            // salted hash of the extra arguments, to tell another set of them
	Promised    time.Time          `json:"promised,omitzero"`    // when the last start for a holder had its tunnel ready, until somebody connects: its client is still to come
	Beside      []netip.AddrPort   `json:"beside,omitempty"`     // where those came from that were connected then, and so are not that client
	Caller      process.Identity   `json:"caller,omitzero"`      // the holder that called that start, where it is no client but a script: who called that may be one
	HandedOver  time.Time          `json:"handed_over,omitzero"` // when it was left, by a run's client or by Caller, to a client that is given time to connect; it ends after that one
	EndIdle     bool               `json:"end_idle"`             // a stop came while clients were connected: it ends when the last has left
	Awaited     []process.Identity `json:"awaited,omitempty"`    // of those in EndWith when that stop came, the ones whose client was still to come
	Ending      bool               `json:"ending"`               // a stop has begun; whoever finds this finishes the job
	EndGrace    time.Duration      `json:"end_grace"`            // how long that stop gives the program to end by itself; nanoseconds, 0 for the usual time
	After       bool               `json:"after,omitempty"`      // commands are to run when it has ended
	Cleaner     process.Identity   `json:"cleaner,omitzero"`     // the process that runs them; zero before
	Keeper      process.Identity   `json:"keeper,omitzero"`      // the process that watches over the promises above, zero for none
	KeeperKnows bool               `json:"keeper_knows"`         // how to start the tunnel program again
	Starter     process.Identity   `json:"starter,omitzero"`     // the start that has the program sign in at a private address; zero once it serves Address
	Prober      process.Identity   `json:"prober,omitzero"`      // the start that waits, or has waited, for a server's answer: its connection is no client's
	Asking      bool               `json:"asking,omitempty"`     // it waits; where it lives
	Answered    Answer             `json:"answered,omitzero"`    // what has answered through it last
	Anew        bool               `json:"anew,omitempty"`       // its program makes a connection of its own for each client's
	Around      *Around            `json:"around,omitempty"`     // what the machine was like when the program was launched or answered last; nil where that is not known
	Tried       bool               `json:"tried,omitempty"`      // Prober finds out whether somebody has to sign in: then its program is launched once more
	Unasked     bool               `json:"unasked,omitempty"`    // its keeper has launched its program in another one's place
	Shared      bool               `json:"shared"`               // given to another start than the one that launched it
}

// Answer is a server's answer to a start.
type Answer struct {
	Ready   string           `json:"ready"`   // the kind of readiness that was asked for
	Program process.Identity `json:"program"` // what it came through: one that was launched since has answered nobody yet
	At      time.Time        `json:"at"`
}

// Around is what a machine was like when a tunnel last was known to work. It tells whether its connections may have died since.
type Around struct {
	Slept   time.Duration `json:"slept"`             // nanoseconds since it was booted
	Network []string      `json:"network,omitempty"` // its default routes, and the addresses on their links
}

// Forsaken tells whether the start that would have moved the tunnel to its address has ended before it did.
func (r Record) Forsaken() bool { return r.Starter != (process.Identity{}) && !r.Starter.Alive() }

// OnTrial tells whether the tunnel's program may be launched once more at any moment, although it serves its address.
func (r Record) OnTrial() bool { return r.Tried && r.Prober.Alive() }

// Public is the address that a client connects to: the listener's, where there is one before the tunnel.
func (r Record) Public() netip.AddrPort {
	if r.Front.IsValid() {
		return r.Front
	}
	return r.Address
}

// Watched tells whether the record holds a promise that needs a keeper.
func (r Record) Watched() bool {
	return r.EndIdle || r.After || r.KeepAlive || r.IdleStop > 0 || len(r.EndWith) > 0 || !r.HandedOver.IsZero()
}

// Session is the tunnel program with the processes that came from it.
func (r Record) Session() process.Session { return process.Session{Leader: r.Tunnel, Token: r.Token} }

// Key is the key that the record was written under.
func (r Record) Key() Key { return Key{r.Route, r.Listen} }

// BadRecordError says that a file in the place of a record is none. The file is left as it is.
type BadRecordError struct {
	Path   string
	Reason string
	Newer  bool // it is a record, which a newer tunhook has written
}

func (e *BadRecordError) Error() string { return fmt.Sprintf("record %s %s", e.Path, e.Reason) }

// ElsewhereError says that the tunnel of a record cannot be seen from here: it was started in another namespace, in a container
// perhaps. Nobody may change the record then, nor take the tunnel for ended.
type ElsewhereError struct {
	Record    Record
	Path      string
	Namespace string // the kind of it
}

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("the tunnel for %s on %s was started in another %s, and cannot be seen from here", e.Record.Route, e.Record.Public(), e.Namespace)
}

// Read reads the record of key without a lock: it may be out of date on return. The error is fs.ErrNotExist where there is none, a
// *BadRecordError where what is there is not a record of this key, and an *ElsewhereError where its tunnel cannot be seen from here.
func (d Dir) Read(key Key) (Record, error) {
	path := d.home(key).recordPath(key)
	rec, err := readRecord(path)
	if err == nil && rec.Key() != key {
		err = otherKey(path, rec)
	}
	if err == nil {
		err = rec.elsewhere(path, process.Here)
	}
	return rec, err
}

// Stat tells of the file that holds the record of key: a change makes it another file. The error is fs.ErrNotExist where
// there is none.
func (d Dir) Stat(key Key) (fs.FileInfo, error) { return os.Lstat(d.home(key).recordPath(key)) }

func otherKey(path string, rec Record) error {
	return &BadRecordError{Path: path, Reason: fmt.Sprintf("is of another tunnel (%s on %s)", rec.Route, rec.Listen)}
}

// IsRecord tells whether a file of that name in a directory of records is, or would be, a record.
func IsRecord(name string) bool { return strings.HasSuffix(name, recordSuffix) }

func (d Dir) recordPath(key Key) string { return filepath.Join(d.path, key.Name()+recordSuffix) }

func readRecord(path string) (Record, error) {
	data, err := readOwnFile(path)
	if err != nil {
		return Record{}, err
	}
	return parseRecord(path, data)
}

// formatRecord gives what a record's file holds. Where the usual form is too large it is tried without holders that have ended.
func formatRecord(rec Record) ([]byte, error) {
	rec.Log, rec.Program = armoured(rec.Log), armoured(rec.Program)
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil || len(data) < maxRecordSize {
		return append(data, '\n'), err
	}
	all := len(rec.EndWith)
	rec.EndWith = withoutDead(rec.EndWith)
	if len(rec.EndWith) == all {
		return append(data, '\n'), nil
	}
	return formatRecord(rec)
}

// withoutDead leaves out the processes that have ended, except for the last one: that there was one is a promise too.
func withoutDead(ids []process.Identity) []process.Identity {
	if len(ids) == 0 {
		return ids
	}
	last := ids[len(ids)-1]
	if living := Alive(ids); len(living) > 0 {
		return living
	}
	return []process.Identity{last}
}

// parseRecord reads what formatRecord has written. The error is a *BadRecordError.
func parseRecord(path string, data []byte) (Record, error) {
	switch {
	case len(data) == 0:
		return Record{}, &BadRecordError{Path: path, Reason: "is empty"}
	case len(data) > maxRecordSize:
		return Record{}, &BadRecordError{Path: path, Reason: "is too large"}
	}
	var rec Record
	if err := json.Unmarshal(data, &rec); err != nil {
		var version struct{ Version int }
		if json.Unmarshal(data, &version) == nil && version.Version > RecordVersion {
			return Record{}, &BadRecordError{Path: path, Reason: newer(version.Version), Newer: true}
		}
		return Record{}, &BadRecordError{Path: path, Reason: "is damaged (" + err.Error() + ")"}
	}
	var logErr, programErr error
	rec.Log, logErr = unarmoured(rec.Log)
	rec.Program, programErr = unarmoured(rec.Program)
	if err := errors.Join(logErr, programErr); err != nil {
		return Record{}, &BadRecordError{Path: path, Reason: "is damaged (" + err.Error() + ")"}
	}
	if reason := rec.problem(); reason != "" {
		return Record{}, &BadRecordError{Path: path, Reason: reason, Newer: rec.Version > RecordVersion}
	}
	return rec, nil
}

// elsewhere gives an *ElsewhereError where the record's tunnel cannot be seen from the place that where gives.
func (r Record) elsewhere(path string, where func() (process.Place, error)) error {
	if r.Place == (process.Place{}) {
		return nil
	}
	here, err := where()
	if err != nil {
		return err
	}
	if namespace := r.Place.Beyond(here); namespace != "" {
		return &ElsewhereError{r, path, namespace}
	}
	return nil
}

func newer(version int) string {
	return fmt.Sprintf("is from a newer tunhook (record version %d, this one knows %d)", version, RecordVersion)
}

func (r Record) problem() string {
	switch {
	case r.Version > RecordVersion:
		return newer(r.Version)
	case r.Version != RecordVersion:
		return fmt.Sprintf("is damaged (record version %d)", r.Version)
	case r.Route == "" || r.Listen == "" || r.Token == "":
		return "is damaged (no route, listen address or token)"
	case !r.Address.IsValid():
		return "is damaged (no address)"
	case r.Tunnel != process.Identity{} && !r.Tunnel.Plausible():
		return fmt.Sprintf("is damaged (pid %d)", r.Tunnel.PID)
	}
	return ""
}

// readOwnFile reads the beginning of a file of ours, a byte more than a record may have.
func readOwnFile(path string) ([]byte, error) {
	f, err := OpenOwn(path, os.O_RDONLY)
	var notOurs *FileError
	if errors.As(err, &notOurs) {
		return nil, &BadRecordError{Path: notOurs.Path, Reason: notOurs.Reason}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRecordSize+1))
}
