package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/term"
)

// Every message to a person is made in this file. Results go to stdout and nothing else does; messages go to stderr, each one
// line behind "tunhook: ", saying what is the matter with what input and what to do. Only a tunnel program's own log lines
// follow indented on lines of their own, stripped of control characters.

// now is the clock of the whole command.
func now() time.Time { return time.Now() }

type ui struct {
	stdout, stderr *os.File

	mu     sync.Mutex
	moving bool // a moving line is on the terminal
}

func newUI(stdout, stderr *os.File) *ui { return &ui{stdout: stdout, stderr: stderr} }

func (u *ui) result(line string) error {
	_, err := fmt.Fprintln(u.stdout, line)
	return err
}

func (u *ui) say(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprintf(u.stderr, "tunhook: "+format+"\n", args...)
}

// failure says what went wrong. Joined errors come on a line each.
func (u *ui) failure(err error) {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && fmt.Sprintf("%T", err) == "*errors.joinError" {
		for _, e := range joined.Unwrap() {
			u.failure(e)
		}
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	var failed *hook.FailedError
	if !errors.As(err, &failed) {
		u.say("%s", text+hint(err))
		return
	}
	if len(failed.Lines) == 0 {
		u.say("%s; it logged nothing", text)
		return
	}
	u.say("%s; its last log lines (all: %s):", text, "tunhook logs "+words(failed.Record))
	for _, line := range failed.Lines {
		fmt.Fprintln(u.stderr, "    "+line)
	}
}

// hint is the way out of errors that do not name one themselves.
func hint(err error) string {
	var (
		taken *hook.TakenError
		none  *hook.NoTunnelError
		busy  *pidfile.BusyError
	)
	switch {
	case errors.As(err, &taken) && taken.Route != "":
		return fmt.Sprintf(": choose another listen address, or \"stable\", or end it: tunhook stop %s %s", taken.Route, taken.Address)
	case errors.As(err, &taken):
		return ": choose another listen address, or \"stable\", or take it as it is with --reuse"
	case errors.As(err, &none) && len(none.Others) == 0:
		return ": tunhook status lists those there are"
	case errors.As(err, &busy):
		return ": try again when it is done"
	}
	return ""
}

// words are a record's route and listen address as the command line takes them.
func words(rec pidfile.Record) string {
	if rec.Listen == tunnel.Auto {
		return rec.Route
	}
	return rec.Route + " " + rec.Listen
}

func (u *ui) notice(n hook.Notice) {
	switch n := n.(type) {
	case hook.SetAside:
		u.say("%v: set aside as %s", n.Problem, n.NewPath)
	case hook.OtherArgs:
		u.say("the tunnel for %s runs with other arguments and was kept: to change them, run tunhook stop %s first", n.Record.Route, words(n.Record))
	case hook.Exposed:
		u.say("warning: %s can be reached from other machines; 127.0.0.1 cannot", n.Address)
	}
}

func (u *ui) started(s hook.Started) {
	if s.Reused == nil {
		return
	}
	u.say("%s is served by %s already and was taken as it is", s.Address, program(*s.Reused))
}

func program(p tunnel.Peer) string {
	if p.PID == 0 {
		return "a program of another user"
	}
	return fmt.Sprintf("%s (pid %d)", tunnel.Printable(p.Program), p.PID)
}

func (u *ui) stopped(route string, s hook.Stopped) {
	switch {
	case s.Record.Route != "":
	case len(s.Others) > 0:
		u.say("no tunnel for %s there; it has one on %s: tunhook stop %s", route, s.Others[0].Address, words(s.Others[0]))
	default:
		u.say("no tunnel for %s is running", route)
	}
}

func (u *ui) stoppedAll(records []pidfile.Record) {
	for _, rec := range records {
		u.say("stopped %s on %s", rec.Route, rec.Address)
	}
	if len(records) == 0 {
		u.say("no tunnel is running")
	}
}

func (u *ui) badRecords(bad []error) {
	for _, err := range bad {
		u.say("%v: the next start or stop of its tunnel sets it aside", err)
	}
}

// statusTable prints one line a tunnel, for people.
func (u *ui) statusTable(tunnels []hook.Tunnel) error {
	if len(tunnels) == 0 {
		u.say("no tunnel is running")
		return nil
	}
	table := tabwriter.NewWriter(u.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROUTE\tADDRESS\tSTATE\tCLIENTS\tPID\tUP SINCE")
	for _, t := range tunnels {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", t.Record.Route, t.Record.Address, t.State, clients(t.Clients), t.Record.Tunnel.PID, since(t.Record.Started))
	}
	return table.Flush()
}

func clients(peers []tunnel.Peer) string {
	if len(peers) == 0 {
		return "-"
	}
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = program(p)
	}
	return strings.Join(names, ", ")
}

// since gives the time of day, with the date where that is not today's.
func since(t time.Time) string {
	t = t.Local()
	if y, d := t.Year(), t.YearDay(); y == now().Year() && d == now().YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// statusVersion is the version of the form below. Keys are only ever added to a version.
const statusVersion = 1

type statusDocument struct {
	Version int            `json:"version"`
	Tunnels []statusTunnel `json:"tunnels"`
}

type statusTunnel struct {
	Route    string        `json:"route"`
	Listen   string        `json:"listen"`  // as it was asked for: an address, or "auto"
	Address  string        `json:"address"` // IP:PORT
	State    hook.State    `json:"state"`
	Provider string        `json:"provider"`
	Program  string        `json:"program"`
	PID      int           `json:"pid"`
	Started  time.Time     `json:"started"` // RFC 3339
	Log      string        `json:"log"`     // path
	Clients  []tunnel.Peer `json:"clients"`
}

// statusJSON prints the documented form, for programs.
func (u *ui) statusJSON(tunnels []hook.Tunnel) error {
	doc := statusDocument{Version: statusVersion, Tunnels: []statusTunnel{}}
	for _, t := range tunnels {
		r := t.Record
		doc.Tunnels = append(doc.Tunnels, statusTunnel{
			r.Route, r.Listen, r.Address.String(), t.State, r.Provider, r.Program, r.Tunnel.PID, r.Started, r.Log,
			append([]tunnel.Peer{}, t.Clients...),
		})
	}
	return writeJSON(u.stdout, doc)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Times of the moving line: what is over before it would appear is not worth reading.
const (
	movingAfter = 400 * time.Millisecond
	movingEvery = 200 * time.Millisecond
)

// waiting shows a line that moves while something takes its time, if a person is looking.
func (u *ui) waiting(what string) (done func()) {
	if !term.IsTerminal(int(u.stderr.Fd())) {
		return func() {}
	}
	stop := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		began := now()
		for pause := movingAfter; ; pause = movingEvery {
			select {
			case <-stop:
				u.mu.Lock()
				u.clear()
				u.mu.Unlock()
				return
			case <-time.After(pause):
				u.move(what, now().Sub(began))
			}
		}
	}()
	return func() {
		close(stop)
		<-over
	}
}

func (u *ui) move(what string, waited time.Duration) {
	line := fmt.Sprintf("tunhook: waiting %s, %d s", what, int(waited.Seconds()))
	if width, _, err := term.GetSize(int(u.stderr.Fd())); err == nil && width > 1 && len([]rune(line)) >= width {
		line = string([]rune(line)[:width-1])
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	fmt.Fprint(u.stderr, "\r\x1b[K"+line)
	u.moving = true
}

// clear takes the moving line away; the caller holds mu.
func (u *ui) clear() {
	if u.moving {
		fmt.Fprint(u.stderr, "\r\x1b[K")
		u.moving = false
	}
}
