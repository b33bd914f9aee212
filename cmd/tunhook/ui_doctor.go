package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/doctor"
	"github.com/tunhook/tunhook/hook/notify"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/hook/sessionbus"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// The messages of doctor; see ui.go for the rules.

// said is a remark in words.
type said struct {
	text, remedy string // what there is, and the one thing to do, "" where there is none
	file         string // where it is, for programs; "" where that is not known
	line         int
}

// The report has columns: what kind of remark it is, the check, and the words, which go on below the check.
const (
	levelColumns = "%-8s %-14s "
	belowLevel   = "         "
)

// inColumns puts words behind a head of the width of the columns.
func inColumns(head, text string, width int) string {
	held := strings.Repeat("x", len(head)-len(belowLevel)-1) // the place of the head
	behind := wrapSafe(held+" "+text, belowLevel, width)[len(head)-1:]
	if behind[0] == '\n' { // the first word has no room there
		return strings.TrimRight(head, " ") + behind
	}
	return head + behind[1:]
}

// reports prints a line for what is well, and one for each finding, with what to do about it below.
func (u *ui) reports(reports []doctor.Report) error {
	var b strings.Builder
	found, fixable, width := 0, 0, u.width()
	for _, report := range reports {
		for _, r := range report.Remarks {
			level := string(r.Level)
			isFixed := r.Done != nil && r.Failed == nil
			switch {
			case isFixed:
				level = "fixed"
			case r.Level == doctor.Finding:
				found++
				if r.Fixable() && r.Failed == nil {
					fixable++
				}
			}
			words := sayRemark(report.Name, r)
			b.WriteString(inColumns(fmt.Sprintf(levelColumns, level, report.Name), words.text, width))
			for _, below := range []string{deed(r), words.remedy} {
				if below != "" && (!isFixed || below != words.remedy) {
					b.WriteString(wrapSafe("-> "+below, belowLevel, width))
				}
			}
		}
	}
	if _, err := u.stdout.WriteString(b.String()); err != nil {
		return err
	}
	switch {
	case found > 0 && fixable > 0:
		u.say("%s; \"tunhook doctor --fix\" puts %d of them right", counted(found, "finding"), fixable)
	case found > 0:
		u.say("%s", counted(found, "finding"))
	}
	return nil
}

// wrapSafe is wrap for words of others.
func wrapSafe(text, indent string, width int) string {
	return wrap(safe(tunnel.WithoutPasswords(text)), indent, width)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// faults prints the faults of one file as compilers do, which editors understand.
func (u *ui) faults(path string, report doctor.Report) error {
	for _, r := range report.Remarks {
		words := sayRemark(report.Name, r)
		text := words.text
		if r.Level == doctor.Note {
			text = strings.Replace(text, ": ", ": note: ", 1) // behind the file and the line
		}
		if words.remedy != "" && words.remedy != mend(words.file, words.line) {
			text += ": " + words.remedy
		}
		if err := u.result(text); err != nil {
			return err
		}
	}
	if doctor.AllWell([]doctor.Report{report}) {
		return u.result(path + ": no fault was found")
	}
	return nil
}

// doctorVersion is the version of the form below. Keys are only ever added to a version.
const doctorVersion = 1

type doctorDocument struct {
	Version int           `json:"version"`
	Well    bool          `json:"well"` // no finding is left
	Checks  []doctorCheck `json:"checks"`
}

type doctorCheck struct {
	Name    string         `json:"name"`
	About   string         `json:"about"` // what it looks at
	Remarks []doctorRemark `json:"remarks"`
}

type doctorRemark struct {
	Level   doctor.Level `json:"level"` // ok, note or finding
	Text    string       `json:"text"`
	Remedy  string       `json:"remedy"`         // "" where there is nothing to do
	File    string       `json:"file,omitempty"` // where it is
	Line    int          `json:"line,omitempty"`
	Fixable bool         `json:"fixable"` // --fix does something about it
	Fixed   bool         `json:"fixed"`   // and has
	Did     string       `json:"did,omitempty"`
}

// reportsJSON prints the documented form, for programs.
func (u *ui) reportsJSON(reports []doctor.Report) error {
	doc := doctorDocument{Version: doctorVersion, Well: doctor.AllWell(reports)}
	for _, report := range reports {
		check := doctorCheck{report.Name, report.About, []doctorRemark{}}
		for _, r := range report.Remarks {
			words := sayRemark(report.Name, r)
			check.Remarks = append(check.Remarks, doctorRemark{
				r.Level, tunnel.WithoutPasswords(words.text), tunnel.WithoutPasswords(words.remedy), words.file, words.line, r.Fixable(), r.Done != nil && r.Failed == nil, deed(r),
			})
		}
		doc.Checks = append(doc.Checks, check)
	}
	return writeJSON(u.stdout, doc)
}

// deed says what was done about a finding, or why it was not.
func deed(r doctor.Remark) string {
	if r.Failed != nil {
		return "could not be put right: " + r.Failed.Error() + hint(r.Failed)
	}
	switch did := r.Done.(type) {
	case doctor.Rewrote:
		return "written anew: it names " + did.Program + " now"
	case doctor.SetAside:
		if did.Path == "" {
			return "somebody has seen to it meanwhile"
		}
		return "set aside as " + did.Path
	case doctor.Cleared:
		return "removed"
	}
	return ""
}

// sayRemark puts a remark into words.
func sayRemark(check string, r doctor.Remark) said {
	if r.Fact == (doctor.Nothing{}) {
		return said{text: sayNothing(check)}
	}
	for _, say := range []func(any) (said, bool){sayMachine, sayTunnels, sayRemmina, sayEnabled} {
		if words, ok := say(r.Fact); ok {
			switch r.Fact.(type) {
			case doctor.NoBus, doctor.NoNotifier:
				if r.Level == doctor.Note { // there is nothing to show anything on
					words.remedy = ""
				}
			}
			return words
		}
	}
	return said{text: fmt.Sprint(r.Fact)}
}

// sayNothing says of a check that there is nothing for it to look at.
func sayNothing(check string) string {
	switch check {
	case "configuration":
		return "there is none, and none is needed"
	case "routes", "addresses":
		return "none is configured or enabled"
	case "profiles":
		return "Remmina has none"
	case "enabled":
		return "nothing is"
	case "records":
		return "no tunnel runs"
	}
	return "none"
}

func sayMachine(fact any) (said, bool) {
	switch f := fact.(type) {
	case doctor.Skipped:
		return said{text: "not looked at, for what is said above"}, true
	case doctor.Itself:
		return said{text: f.Version + " (" + f.Path + ")"}, true
	case doctor.Hangs:
		return said{
			text:   fmt.Sprintf("no answer within %s", f.After),
			remedy: "see whether a disk, a bus or a program hangs, and look again",
		}, true
	case doctor.Fault:
		return sayFault(f.Err), true
	case doctor.Left:
		return said{text: f.Err.Error(), file: f.Err.Path, line: f.Err.Line}, true
	case doctor.Directories:
		return said{text: f.Records + ", " + f.Logs}, true
	case doctor.Kernel:
		return said{text: "process handles, socket diagnostics, 127.0.0.0/8"}, true
	case doctor.NoHandles:
		return said{text: f.Err.Error(), remedy: "tunnels need Linux 5.3 or later, and a sandbox that lets pidfd_open through"}, true
	case doctor.SlowSockets:
		return said{text: "socket diagnostics (sock_diag) are not available: sockets are read from /proc, which takes longer"}, true
	case doctor.Blind:
		return said{text: "nobody can tell which sockets there are: " + f.Err.Error(), remedy: "allow netlink sockets, or mount /proc"}, true
	case doctor.NoLoopback:
		return said{
			text:   fmt.Sprintf("%s cannot be listened on, so \"stable\" addresses cannot be: %v", f.Address, f.Err),
			remedy: "give the loopback its whole network: ip link set lo up; ip addr add 127.0.0.1/8 dev lo",
		}, true
	case doctor.Bus:
		return said{text: f.Address}, true
	case doctor.NoBus:
		return sayNoBus(f), true
	case doctor.Notifier:
		if f.Name == "" {
			return said{text: "there is a server"}, true
		}
		return said{text: strings.TrimSpace(f.Name + " " + f.Version)}, true
	case doctor.NoNotifier:
		return sayNoNotifier(f), true
	case doctor.Manager:
		return said{text: "it answers"}, true
	case doctor.NoManager:
		return sayNoManager(f), true
	case doctor.ManagerLacks:
		names := strings.Join(f.Names, " ")
		return said{
			text:   "it has no " + strings.Join(f.Names, ", ") + ": what is enabled can show no sign-in page and no notification",
			remedy: "run now, and in what starts your session: systemctl --user import-environment " + names,
		}, true
	case doctor.Configured:
		text := strings.Join(f.Files, ", ")
		if len(f.Names) > 0 {
			text += " (" + strings.Join(f.Names, ", ") + ")"
		}
		return said{text: text}, true
	}
	return said{}, false
}

func sayNoBus(f doctor.NoBus) said {
	const remedy = "log in to the desktop again; in a session without one, start it by dbus-run-session"
	switch {
	case f.Address == "":
		return said{text: "there is none: nothing can be told on the desktop", remedy: remedy}
	case errors.Is(f.Err, sessionbus.ErrNone):
		return said{text: f.Address + " is no local socket, and was not asked", remedy: remedy}
	case errors.Is(f.Err, context.DeadlineExceeded):
		return said{text: f.Address + " does not answer", remedy: remedy}
	}
	return said{text: f.Address + " cannot be reached: " + f.Err.Error(), remedy: remedy}
}

func sayNoNotifier(f doctor.NoNotifier) said {
	const remedy = "install and start one, such as dunst or mako; desktops have their own"
	switch {
	case errors.Is(f.Err, sessionbus.ErrNone):
		return said{text: "not looked for: no session bus answers"}
	case errors.Is(f.Err, notify.ErrNoServer):
		return said{text: "nobody on the session bus shows any", remedy: remedy}
	case errors.Is(f.Err, context.DeadlineExceeded):
		return said{text: "the notification server does not answer", remedy: "start it again"}
	}
	return said{text: "the notification server cannot be asked: " + f.Err.Error(), remedy: remedy}
}

func sayNoManager(f doctor.NoManager) said {
	reason := f.Err.Error()
	var failed *autostart.SystemdError
	if errors.As(f.Err, &failed) {
		reason = failed.Reason
	}
	if errors.Is(f.Err, context.DeadlineExceeded) {
		reason = "no answer in time"
	}
	switch {
	case f.Needed:
		return said{
			text:   "no systemd user manager answers (" + reason + "), and what is enabled needs it",
			remedy: "log in again; over su or sudo set XDG_RUNTIME_DIR=/run/user/UID",
		}
	case errors.Is(f.Err, context.DeadlineExceeded):
		return said{text: "the systemd user manager gives no answer in time", remedy: "see journalctl --user, and log in again"}
	}
	return said{text: "no systemd user manager answers (" + reason + "): enable makes autostart entries of the desktop"}
}

// sayFault is for errors that the rest of the program has words for: what is wrong and what to do, apart. There is always something to do.
func sayFault(err error) said {
	words := sayTypedFault(err)
	if words.text == "" {
		words.text = sentence(err)
		words.remedy = strings.TrimLeft(hint(err), ":, ")
	}
	if words.remedy == "" {
		words.text, words.remedy = wayOut(words.text)
	}
	words.remedy = cmp.Or(words.remedy, mend(words.file, words.line))
	return words
}

// sayTypedFault is sayFault for the errors that tell where they are; there is no text for others.
func sayTypedFault(err error) said {
	var dir *pidfile.DirError
	var file *autostart.FileError
	var config *tunnel.ConfigError
	var unwritable *doctor.UnwritableError
	var damaged *pidfile.BadRecordError
	var profile *remmina.FileError
	var undone *remmina.DamagedError
	var system *fs.PathError
	switch {
	case errors.As(err, &dir):
		return said{text: dir.Path + " " + dir.Reason, remedy: dir.Hint, file: dir.Path}
	case errors.As(err, &file):
		return said{text: file.Path + " " + file.Reason, remedy: file.Hint, file: file.Path}
	case errors.As(err, &unwritable):
		return said{text: err.Error(), remedy: "make it writable for you; see whether it is mounted read-only", file: unwritable.Path}
	case errors.As(err, &config):
		return said{text: err.Error(), remedy: configRemedy(config), file: config.Path, line: config.Line}
	case errors.As(err, &damaged) && damaged.Newer:
		return said{text: err.Error(), remedy: "install that tunhook again, which knows its tunnel", file: damaged.Path}
	case errors.As(err, &damaged):
		return said{text: err.Error(), remedy: "set it aside: tunhook doctor --fix", file: damaged.Path}
	case errors.As(err, &profile): // its own way out is to name another one
		words := said{text: profile.Path + ": " + profile.Err.Error(), remedy: "move it away, or save it anew in Remmina", file: profile.Path}
		if errors.Is(err, fs.ErrPermission) {
			words.remedy = "make it readable for you"
		}
		return words
	case errors.As(err, &undone):
		return said{text: err.Error(), file: undone.Path}
	case errors.As(err, &system) && errors.Is(err, fs.ErrPermission):
		return said{text: err.Error(), remedy: "make it readable for you", file: system.Path}
	case errors.As(err, &system):
		return said{text: err.Error(), file: system.Path}
	}
	return said{}
}

// mend is what there is to do about something in a file where nothing better is known.
func mend(file string, line int) string {
	switch {
	case file == "":
		return "put that right, and look again: tunhook doctor"
	case line > 0:
		return fmt.Sprintf("mend line %d of %s", line, file)
	}
	return "mend " + file
}

// wayOut parts a text from the way out, which texts of ours end in: behind a colon, and with a verb.
func wayOut(text string) (what, todo string) {
	verbs := []string{"add", "chmod", "correct", "give", "known", "make", "set", "the", "unset", "use", "write"}
	for i := range text {
		what, todo, colon := text[:i], strings.TrimPrefix(text[i:], ": "), strings.HasPrefix(text[i:], ": ")
		verb, more, _ := strings.Cut(todo, " ")
		if colon && slices.Contains(verbs, verb) && (verb != "the" || strings.HasPrefix(more, "known ones are ")) {
			return what, todo
		}
	}
	return text, ""
}

func configRemedy(err *tunnel.ConfigError) string {
	var unknown *tunnel.UnknownKeyError
	var route *tunnel.RouteError
	switch {
	case errors.As(err, &unknown):
		if meant := nearest(unknown.Last, unknown.Known); meant != "" {
			return fmt.Sprintf("did you mean %q?", meant)
		}
		if len(unknown.Known) > 0 {
			return "the known ones are " + strings.Join(unknown.Known, ", ")
		}
		return "tunhook.toml(5) has the known ones"
	case errors.As(err, &route):
		return strings.TrimPrefix(meantHint(route), ": ")
	case errors.Is(err, fs.ErrPermission):
		return "make it readable for you"
	case errors.Is(err, fs.ErrNotExist):
		return "put it there, or take away what names it"
	}
	return ""
}

func sayTunnels(fact any) (said, bool) {
	switch f := fact.(type) {
	case doctor.Leads:
		if f.Text != f.Route {
			return said{text: fmt.Sprintf("%s is %s, through the provider %s", f.Route, f.Text, f.Provider)}, true
		}
		return said{text: fmt.Sprintf("%s, through the provider %s", f.Route, f.Provider)}, true
	case doctor.Routes:
		return said{text: counted(f.Count, "route") + " can be taken"}, true
	case doctor.Program:
		return said{text: strings.TrimSpace(f.Name+" "+f.Version) + " (" + f.Path + ")"}, true
	case doctor.NoProgram:
		text := f.Err.Program + " " + f.Err.Reason
		remedy := cmp.Or(f.Err.Install, "install it, or write its whole path in the provider's command")
		if len(f.For) == 0 {
			return said{text: text + "; nothing here needs it yet, routes HOST:PORT do", remedy: remedy}, true
		}
		return said{text: text + ", for " + strings.Join(f.For, ", "), remedy: remedy}, true
	case doctor.NotOnDesktop:
		return said{
			text:   fmt.Sprintf("%s is on your PATH, but not on the desktop's, which Remmina has, for %s", f.Name, strings.Join(f.For, ", ")),
			remedy: fmt.Sprintf("link it there: sudo ln -s %s /usr/local/bin/", f.Path),
		}, true
	case doctor.Old:
		return said{
			text:   fmt.Sprintf("%s %s (%s) says nowhere where to sign in, as %s and later do", f.Name, f.Version, f.Path, f.Least),
			remedy: "install a newer one: see https://www.pomerium.com/docs/deploy/clients/pomerium-cli",
		}, true
	case doctor.Silent:
		return said{
			text:   fmt.Sprintf("%s (%s) does not tell its version within %s", f.Name, f.Path, f.After),
			remedy: "run it by hand, and install it again if it hangs",
		}, true
	case doctor.Free:
		return said{text: fmt.Sprintf("nobody listens on %s", f.Address)}, true
	case doctor.Picks:
		return said{text: "each start finds a free port: the route has no address of its own"}, true
	case doctor.Serves:
		return said{text: fmt.Sprintf("%s is served by the tunnel for %s (%s, pid %d)", f.Address, f.Route, f.Program, f.PID)}, true
	case doctor.Awaits:
		return said{text: fmt.Sprintf("%s is enabled: connecting there starts the tunnel", f.Address)}, true
	case doctor.Addresses:
		if f.Count == 1 {
			return said{text: "1 listen address is free, or served by its own tunnel"}, true
		}
		return said{text: fmt.Sprintf("%d listen addresses are free, or served by their own tunnels", f.Count)}, true
	case doctor.Wildcard:
		return said{
			text: fmt.Sprintf("%s listens on every address with port %d, so no tunnel can with that port", program(f.Holder.Peer), f.Port),
			remedy: fmt.Sprintf("give tunnels another one, such as 127.0.0.1:%d, or have that program listen on one address",
				10000+int(f.Port)),
		}, true
	case doctor.Records:
		return said{text: counted(f.Count, "tunnel")}, true
	case doctor.Stale:
		return said{
			text:   fmt.Sprintf("the tunnel for %s on %s is gone, and its record is left", f.Route, f.Public()),
			remedy: "remove it: tunhook doctor --fix, or tunhook stop " + words(f.Record),
		}, true
	}
	return said{}, false
}

func sayRemmina(fact any) (said, bool) {
	switch f := fact.(type) {
	case doctor.Here:
		return said{text: sayHere(f)}, true
	case doctor.NoRemmina:
		return said{text: "no Remmina was found"}, true
	case doctor.Profiles:
		return said{text: fmt.Sprintf("%s, %d enabled", counted(f.Count, "profile"), f.Enabled)}, true
	case doctor.Command:
		words := sayCommand(f)
		words.file = f.Profile.Path
		return words, true
	case doctor.Unserved:
		return said{
			text:   fmt.Sprintf("nothing starts the tunnel of %q: %s", f.Profile.Name, runsNone(f.By)),
			remedy: enableWith(f.Profile, f.Enabling), file: f.Profile.Path,
		}, true
	case doctor.Unheard:
		return said{
			text:   fmt.Sprintf("%q connects to %s, where nothing is enabled", f.Profile.Name, f.Profile.Server.Now),
			remedy: enableWith(f.Profile, f.Enabling), file: f.Profile.Path,
		}, true
	case doctor.Strayed:
		return said{
			text:   fmt.Sprintf("%q connects to %s, and not to its tunnel: its server was changed since", f.Profile.Name, f.Profile.Server.Now),
			remedy: enableWith(f.Profile, f.Enabling) + ", or give it back: tunhook remmina disable " + profileWord(f.Profile, f.Enabling), file: f.Profile.Path,
		}, true
	case doctor.Proxied:
		return said{
			text:   fmt.Sprintf("%q asks a proxy for %s (useproxyenv=1), which does not know it", f.Profile.Name, f.Profile.Server.Now),
			remedy: "take the tick from \"Use system proxy settings\" in the profile, or have no_proxy=127.0.0.0/8 where Remmina is started", file: f.Profile.Path,
		}, true
	}
	return said{}, false
}

// sayHere says what a Remmina does with commands, and how that is known.
func sayHere(f doctor.Here) string {
	untried := ""
	if f.Untried != nil {
		untried = "; by its version, for it could not be tried: " + f.Untried.Error()
	}
	switch {
	case f.Tried && f.Runs:
		return f.String() + " has run a command: both ways work, by connection and by hook"
	case f.Tried:
		return f.String() + " has run no command: its tunnels start by connection"
	case f.Runs:
		return f.String() + " runs commands: both ways work, by connection and by hook" + untried
	}
	return runsNone(f.Installed) + ": its tunnels start by connection" + untried
}

// profileWord is a profile as the command line takes it.
func profileWord(p remmina.Profile, e doctor.Enabling) string {
	if p.Name == "" || e.ByFile {
		return shellWord(p.Path)
	}
	return shellWord(p.Name)
}

// plainWord is a word that a shell takes as it is.
var plainWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\w:/@.,%+=\[\]-]+$`) })

// shellWord writes a word so that a shell takes it as it is.
func shellWord(word string) string {
	if strings.ContainsAny(word, "\"$`\\!") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return `"` + word + `"`
}

// enableWith enables a profile, with what that takes, or says what has to be done before.
func enableWith(p remmina.Profile, e doctor.Enabling) string {
	if e.Refused != nil {
		text := e.Refused.Error() // it ends in the way out
		isProfile := errors.As(e.Refused, new(*remmina.DetourError)) || errors.As(e.Refused, new(*remmina.ServerlessError)) ||
			errors.As(e.Refused, new(*remmina.ListenError))
		if at := strings.LastIndex(text, ": "); at >= 0 && isProfile {
			return text[at+2:]
		}
		return sayFault(e.Refused).remedy
	}
	command := "tunhook remmina enable " + profileWord(p, e)
	switch {
	case e.NoRoute:
		command += " --route HOST:PORT"
	case e.Route != "":
		route := e.Route
		if !plainWord().MatchString(route) {
			route = shellWord(route)
		}
		command += " --route " + route
	}
	if e.Force {
		command += " --force"
	}
	return command
}

func sayCommand(f doctor.Command) said {
	name := profileWord(f.Profile, f.Enabling)
	words := said{remedy: "mend it in Remmina, or let tunhook start the tunnel: " + enableWith(f.Profile, f.Enabling)}
	if f.Enabling.Refused != nil {
		words.remedy = "mend it in Remmina"
	}
	switch f.Trouble {
	case remmina.StartsTunnel:
		words.text = fmt.Sprintf("%s starts its tunnel by a command of its own: %s", name, f.Fault.Command)
		words.remedy = enableWith(f.Profile, f.Enabling)
	case remmina.Misquoted:
		words.text = fmt.Sprintf("%s has a command that Remmina cannot read, as %s: %s", name, f.Detail, f.Fault.Command)
	case remmina.NeedsShell:
		words.text = fmt.Sprintf("%s has a command for a shell, which Remmina does not run: %q in %s", name, f.Detail, f.Fault.Command)
	case remmina.ProgramGone:
		words.text = fmt.Sprintf("%s calls %s, which is not there", name, f.Detail)
		if f.Profile.By == remmina.ByHook && !f.Enabling.Force {
			words.remedy = "tunhook remmina enable --by hook " + name
		}
	}
	return words
}

func sayEnabled(fact any) (said, bool) {
	again := func(e autostart.Entry) string {
		return "tunhook enable " + e.Route + " " + e.Address.String()
	}
	switch f := fact.(type) {
	case doctor.Enabled:
		return said{text: counted(f.Count, "address") + " can be connected to"}, true
	case doctor.ByProxy:
		return said{
			text:   fmt.Sprintf("the environment names a proxy, which a client that obeys it, as xfreerdp does, asks for %s", f.Address),
			remedy: "have no_proxy=127.0.0.0/8, beside what it has, where such clients are started",
		}, true
	case doctor.Moved:
		return said{
			text:   fmt.Sprintf("%s is enabled for %s, but %s is not there any more", f.Address, f.Route, f.Program),
			remedy: "write it anew: tunhook doctor --fix",
		}, true
	case doctor.Halfway:
		return said{
			text:   fmt.Sprintf("%s is enabled for %s, but %s is missing", f.Address, f.Route, strings.Join(f.Missing, ", ")),
			remedy: "enable it again: " + again(f.Entry), file: f.Missing[0],
		}, true
	case doctor.Changed:
		return said{
			text: fmt.Sprintf("%s is enabled for %s, but %s is not as this tunhook writes it: somebody has changed it, or another version has",
				f.Address, f.Route, strings.Join(f.Files, ", ")),
			remedy: "enable it again: " + again(f.Entry), file: f.Files[0],
		}, true
	}
	return said{}, false
}
