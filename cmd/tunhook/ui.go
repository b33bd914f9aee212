package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/notify"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/term"
)

// Every message to a person is made in this file. Results go to stdout and nothing else does; messages go to stderr, each one
// line behind "tunhook: ", saying what is the matter with what input and what to do. Only a tunnel program's own log lines
// follow indented on lines of their own. All of it is made safe for a terminal: ui_terminal.go.

// now is the clock of the whole command.
func now() time.Time { return time.Now() }

type ui struct {
	stdout, stderr *os.File

	notifier *notify.Notifier // nil where people are not told by the desktop
	route    string           // what its notifications are about, if that is known

	plain bool // the terminal can move no line: TERM is "dumb"

	mu     sync.Mutex
	moving bool // a moving line is on the terminal
	asking bool // a question is, which no other line must hide
}

func newUI(stdout, stderr *os.File) *ui { return &ui{stdout: stdout, stderr: stderr} }

func (u *ui) result(line string) error {
	_, err := fmt.Fprintln(u.stdout, safe(line))
	return err
}

func (u *ui) say(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprintln(u.stderr, safe("tunhook: "+fmt.Sprintf(format, args...)))
}

// failure says what went wrong. Joined errors come on a line each.
func (u *ui) failure(err error) {
	if all := joined(err); all != nil {
		for _, e := range all {
			u.failure(e)
		}
		return
	}
	text, lines := explain(err)
	u.notifyFailure(err, text, lines)
	var failed *hook.FailedError
	switch {
	case len(lines) > 0 && errors.As(err, &failed):
		u.say("%s; its last log lines:", text)
		for _, line := range lines {
			fmt.Fprintln(u.stderr, safe("    "+line))
		}
		fmt.Fprintln(u.stderr, safe("    (all of them: tunhook logs "+words(failed.Record)+")"))
	default:
		u.say("%s", text)
	}
}

func joined(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok && fmt.Sprintf("%T", err) == "*errors.joinError" {
		return all.Unwrap()
	}
	return nil
}

// explain gives an error on one line with the way out, and the log lines that belong to it.
func explain(err error) (text string, lines []string) {
	text = safe(tunnel.WithoutPasswords(strings.ReplaceAll(sentence(err), "\n", " ") + hint(err)))
	var failed *hook.FailedError
	switch {
	case !errors.As(err, &failed):
		return text, nil
	case failed.Means == tunnel.Unanswered && errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, hook.ErrStep) && len(failed.Lines) == 0:
		return text, nil // there is nothing in the log that would explain more
	case len(failed.Lines) == 0:
		return text + "; it logged nothing", nil
	}
	return text, failed.Lines
}

// notifyFailure tells the desktop too, where a client has called us: it shows nobody what its commands print. What the user has
// ended is no news to them.
func (u *ui) notifyFailure(err error, text string, lines []string) {
	var stopped *hook.StoppedError
	var sig signalError
	if errors.As(err, &stopped) || errors.As(err, &sig) {
		return
	}
	if len(lines) > 0 {
		text += "\n" + tunnel.WithoutPasswords(safe(plain(tellingLine(err, lines))))
	}
	var taken *hook.TakenError
	if errors.As(err, &taken) {
		text += "\nFor a Remmina profile: tunhook remmina enable --listen PORT PROFILE"
	}
	var client *hook.ClientError
	summary := "No tunnel was started"
	switch {
	case errors.As(err, &client) && client.Found:
		summary = fmt.Sprintf("%s cannot be started", client.Client)
	case errors.As(err, &client):
		summary = fmt.Sprintf("%s is not installed", client.Client)
	case u.route != "":
		summary = "No tunnel to " + tunnel.WithoutPassword(u.route)
	}
	u.notifier.Fail(notify.Message{Summary: summary, Body: text})
}

// tellingLine gives the one line of a log for which a notification has room.
func tellingLine(err error, lines []string) string {
	var failed *hook.FailedError
	if errors.As(err, &failed) && failed.Line != "" {
		return failed.Line
	}
	return tunnel.Telling(lines)
}

// plain takes the words out of a log line that is JSON, as pomerium-cli writes it: a notification has little room.
func plain(line string) string {
	var event struct{ Message, Error string }
	switch err := json.Unmarshal([]byte(line), &event); {
	case err != nil || event.Message == "":
		return line
	case event.Error == "":
		return event.Message
	}
	return event.Message + ": " + event.Error
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
		served := ""
		if n.Holder != nil {
			served = fmt.Sprintf("; if its tunnel is %s, which serves its address, that must be ended by hand", program(*n.Holder))
		}
		u.say("%v: set aside as %s%s", n.Problem, filepath.Base(n.NewPath), served)
	case hook.OtherArgs:
		u.say("the tunnel for %s runs with other arguments and was kept: to change them, run tunhook stop %s first", n.Record.Route, words(n.Record))
		if n.NotKept {
			u.say("warning: --keep-alive does not hold for it: %s is not started again with arguments that this start does not know", n.Record.Program)
		}
	case hook.HandedOver:
		u.say("%s", handedOver(n))
	case hook.Exposed:
		u.say("warning: other machines can reach %s: use 127.0.0.1:%d to keep them out", n.Address, n.Address.Port())
	case hook.NotAsked:
		u.say("--ready %s asks nobody here: a connection through %s costs something (probe = false), so the tunnel for %s is ready when it listens",
			n.Ready, n.Provider, n.Route)
	case hook.NoEffect:
		for _, fault := range n.Faults {
			u.say("warning: %v: what that was to say has no effect", fault)
		}
	case hook.Turned:
		u.say("turned away a connection from %s: %v (%d so far)", n.From, n.Why, n.Count)
	}
}

// listening says where a listener takes its clients.
func (u *ui) listening(address netip.AddrPort) error { return u.result(address.String()) }

// handedOver says for whom a run has left its tunnel there.
func handedOver(n hook.HandedOver) string {
	client, address := n.Client, n.Record.Address
	if len(n.To) > 0 {
		return fmt.Sprintf("%s has handed over to %s: the tunnel on %s stays until it is idle", client, clients(n.To), address)
	}
	return fmt.Sprintf("%s has handed over, as nothing has connected yet: the tunnel on %s stays, "+
		"%s for a client to connect, and then until it is idle", client, address, hook.TimeToConnect)
}

func (u *ui) started(s hook.Started) {
	if s.Reused == nil {
		return
	}
	if s.Listener {
		u.say("%s is enabled: nothing was started, since connecting starts the tunnel", s.Address)
		return
	}
	u.say("%s is served by %s already and was taken as it is", s.Address, program(*s.Reused))
}

func program(p tunnel.Peer) string {
	switch {
	case p.Host != "":
		return p.Host
	case p.PID == 0:
		return "a program of another user"
	}
	return fmt.Sprintf("%s (pid %d)", p.Program, p.PID)
}

func (u *ui) stopped(route string, s hook.Stopped) {
	switch {
	case len(s.InUse) > 0:
		u.say("%s is in use by %s: the tunnel ends when the last has left (--now cuts them off)", s.Record.Public(), clients(s.InUse))
	case s.Record.Route != "":
	case s.Waits.IsValid():
		u.say("no tunnel for %s is running; the next connection to %s starts one, which tunhook disable %s %s ends", route, s.Waits, route, s.Waits)
	case len(s.Others) == 1:
		u.say("no such tunnel for %s is running; it has one on %s: tunhook stop %s", route, s.Others[0].Public(), words(s.Others[0]))
	case len(s.Others) > 1:
		u.say("no such tunnel for %s is running; it has %d others: tunhook status %s", route, len(s.Others), route)
	default:
		u.say("no tunnel for %s is running", route)
	}
}

func (u *ui) stoppedAll(all []hook.Stopped) {
	for _, s := range all {
		if len(s.InUse) > 0 {
			u.stopped(s.Record.Route, s)
			continue
		}
		if s.Awaits {
			u.say("%s on %s ends within seconds, unless the client comes that it was promised to", s.Record.Route, s.Record.Public())
			continue
		}
		u.say("stopped %s on %s", s.Record.Route, s.Record.Public())
	}
	if len(all) == 0 {
		u.say(noneRuns)
	}
}

func (u *ui) badRecords(bad []error) {
	for _, err := range bad {
		u.say("%s", err.Error()+hint(err))
	}
}

// statusTable prints one line a tunnel, for people: on a terminal none that is wider.
func (u *ui) statusTable(tunnels []hook.Tunnel) error {
	if len(tunnels) == 0 {
		u.say(noneRuns)
		return nil
	}
	width, _, err := term.GetSize(int(u.stdout.Fd()))
	if err != nil || width <= 0 { // what is not a terminal takes it whole
		return writeTable(u.stdout, tunnels, math.MaxInt)
	}
	for _, line := range tableWithin(tunnels, width) {
		if _, err := fmt.Fprintln(u.stdout, cut(line, width)); err != nil {
			return err
		}
	}
	return nil
}

// writeTable writes the table, with routes of so many columns at most.
func writeTable(out io.Writer, tunnels []hook.Tunnel, longestRoute int) error {
	table := newTable(out)
	row(table, "ROUTE", "ADDRESS", "STATE", "PID", "UP SINCE", "CLIENTS")
	for _, t := range tunnels {
		up := since(t.Record.Started)
		if pidOf(t) == "-" {
			up = "-"
		}
		row(table, cut(safe(t.Record.Route), longestRoute), dash(publicAddress(t)), string(t.State), pidOf(t), up, clients(t.Clients))
	}
	return table.Flush()
}

// What is said where there is no tunnel, running or, the other, configured.
const (
	noneRuns       = "no tunnel is running"
	noneConfigured = "no tunnel is running, and the configuration names none: see [tunnel.NAME] in tunhook.toml(5)"
)

// pidOf is the pid of a tunnel's program, "-" where none runs.
func pidOf(t hook.Tunnel) string {
	if t.State == hook.Waiting || t.State == hook.Idle {
		return "-"
	}
	return strconv.Itoa(t.Record.Tunnel.PID)
}

// publicAddress is where clients connect to, "" where each start finds another address.
func publicAddress(t hook.Tunnel) string {
	if public := t.Record.Public(); public.Port() != 0 {
		return public.String()
	}
	return ""
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
	Address  string        `json:"address"` // IP:PORT; "" of one that does not run, where each start finds another
	State    hook.State    `json:"state"`
	Provider string        `json:"provider"`
	Program  string        `json:"program"`
	PID      int           `json:"pid"`              // 0 where none runs
	Started  time.Time     `json:"started,omitzero"` // RFC 3339; of one that waits, when it was enabled; left out of one that does not run
	Log      string        `json:"log"`              // path
	Clients  []tunnel.Peer `json:"clients"`
	Enabled  bool          `json:"enabled"` // it listens at every login
}

// statusJSON prints the documented form, for programs.
func (u *ui) statusJSON(tunnels []hook.Tunnel) error { return writeJSON(u.stdout, statusForm(tunnels)) }

func statusForm(tunnels []hook.Tunnel) statusDocument {
	doc := statusDocument{Version: statusVersion, Tunnels: []statusTunnel{}}
	for _, t := range tunnels {
		r := t.Record
		doc.Tunnels = append(doc.Tunnels, statusTunnel{
			r.Route, r.Listen, publicAddress(t), t.State, r.Provider, r.Program, r.Tunnel.PID, r.Started, r.Log,
			append([]tunnel.Peer{}, t.Clients...), t.Enabled,
		})
	}
	return doc
}

func writeJSON(w io.Writer, v any) error { return encodeJSON(w, v, "  ") }

// encodeJSON writes JSON, on one line where there is no indent.
func encodeJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(text.Bytes()))
	return err
}

// Times of the moving line: what is over before it would appear is not worth reading.
const (
	movingAfter = 400 * time.Millisecond
	movingEvery = 200 * time.Millisecond
)

// signIn says where to sign in, on stderr and on the desktop.
func (u *ui) signIn(rec pidfile.Record, url string) (done func()) {
	gone := u.signInUnseen(rec, url)
	u.say("sign in at %s", url) // on a line of its own: cut to the width of the terminal it would be of no use
	shown := u.waiting("for sign-in in your browser")
	return func() {
		shown()
		gone()
	}
}

// signInUnseen is signIn where nobody reads what is said, on the desktop only.
func (u *ui) signInUnseen(rec pidfile.Record, url string) (done func()) {
	u.notifier.SignIn(notify.SignIn{
		Message: notify.Message{
			Summary: "Sign in to connect",
			Body: "The tunnel to " + tunnel.WithoutPassword(rec.Route) + " (" + rec.Public().String() + ")" +
				" waits for you to sign in, on the page that your browser has opened.",
		},
		URL:    url,
		Button: "Open the page",
		Expire: hook.DefaultSignInTimeout,
	})
	return u.notifier.SignedIn
}

// ask asks a tunnel program's question, and reads the answer from the terminal.
func (u *ui) ask(ctx context.Context, terminal *os.File, q hook.Question) (text string, ok bool) {
	if q.Notice {
		u.question(q.Text+"\n", false)
		return "", true
	}
	if q.Secret {
		show, err := hide(terminal)
		if err != nil {
			return "", false
		}
		defer show()
	}
	u.question(q.Text+" ", true)
	text, err := answer(ctx, terminal)
	after := ""
	if q.Secret || err != nil {
		after = "\n" // nobody has seen the one that ended the answer
	}
	u.question(after, false)
	return text, err == nil
}

// question shows a question, or what follows it; asking says that it waits for its answer.
func (u *ui) question(text string, asking bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	u.asking = asking
	lines := strings.SplitAfter(text, "\n")
	for _, line := range lines {
		end := ""
		if strings.HasSuffix(line, "\n") {
			end = "\n"
		}
		fmt.Fprint(u.stderr, safe(line)+end)
	}
}

// waiting shows a line that moves while something takes its time, if a person is looking; one line that stays on a plain terminal.
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
				if u.plain {
					u.say("waiting %s", what)
					<-stop
					return
				}
				u.move(safe(fmt.Sprintf("tunhook: waiting %s, %d s", what, int(now().Sub(began).Seconds()))))
			}
		}
	}()
	return func() {
		close(stop)
		<-over
	}
}

func (u *ui) move(line string) {
	if width, _, err := term.GetSize(int(u.stderr.Fd())); err == nil && width > 1 {
		line = cut(line, width-1)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asking {
		return
	}
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
