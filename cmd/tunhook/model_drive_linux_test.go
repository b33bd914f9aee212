package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// broken is a rule that does not hold. The rule is the same words each time, so that a failing sequence can be shrunk.
type broken struct{ rule, how string }

func (b *broken) Error() string { return b.rule + ": " + b.how }

func breaks(rule, format string, args ...any) error {
	return &broken{rule, fmt.Sprintf(format, args...)}
}

// The rules, by their numbers in the design.
const (
	ruleRecord   = "1 no tunnel without a record"
	ruleStranger = "2 never the wrong process"
	ruleStopped  = "2 stop returns when the process is gone and the address free"
	ruleCut      = "5 a live session is never cut"
	ruleEarly    = "5, 10 never gone too early"
	ruleLate     = "6, 10 never left behind: a promise outlives its stop, or its process"
	ruleRuns     = "7 any number of starts give one process and one answer"
	ruleStuck    = "no command gets stuck, or fails without a reason"
	ruleRevived  = "keep-alive is kept"
)

// modelWorld is an account with two listen addresses, as the model knows them, and with everything that surrounds a tunnel.
type modelWorld struct {
	*world
	standin string
	places  []*place
	root    bool // may make namespaces

	client  *clientProgram
	conns   int // made so far
	holders map[string]*exec.Cmd
	canary  []process.Identity
	daemons []modelProcess
	frozen  []modelProcess
	waiting []<-chan result // commands that wait in the background

	did []string // steps that did something, for the log

	patience time.Duration  // with what must happen by itself
	clean    bool           // nothing was left in the end
	guards   []net.Listener // keep other tests from the ports
}

// place is one listen address.
type place struct {
	modelled
	name, route, address string
	spellings            []string
	conns                []conn
	named, accident      bool // it was called by its name; what may leave a second record has happened to it
	orphan               bool // its record was taken away by others: what is left is nobody's
	run                  *runningRun
	listener             *runningListener
	seen                 []modelProcess // the tunnel, as the last check has seen it
	token                string         // its token, "" for none
}

type conn struct {
	number     int
	half, weak bool
}

type runningRun struct {
	file string
	done <-chan result
	weak bool
}

// modelPatience is that of the first run of a sequence; hurry, of those that only shrink one that has failed.
const modelPatience, hurry = time.Minute, 10 * time.Second

// runningListener has a listen address, and starts tunnels by itself: the model knows its clients, and no tunnel.
type runningListener struct {
	cmd    *exec.Cmd
	done   <-chan result
	others []string // records that were there before: of a tunnel that had another name, and has died
}

func newModelWorld(t *testing.T, standin string, patience time.Duration) (*modelWorld, error) {
	dir, err := os.MkdirTemp("", "tunhook-model-")
	if err != nil {
		return nil, err
	}
	w := &modelWorld{standin: standin, patience: patience, root: os.Geteuid() == 0, holders: map[string]*exec.Cmd{}}
	bin := programDir(t)
	w.world = &world{t: t, dir: dir, program: filepath.Join(bin, "tunhook"), mark: newMark()}
	w.environ = worldEnviron(dir, bin, w.mark)
	if err := makeWorld(dir); err != nil {
		return nil, err
	}
	for _, name := range []string{"desk", "lab"} {
		port, guard, err := freePort()
		if err != nil {
			return nil, err
		}
		w.guards = append(w.guards, guard)
		p := &place{name: name, route: "model://" + name + ":1", address: "127.0.0.1:" + port}
		p.spellings = []string{port, ":" + port, "127.0.0.1:" + port, "localhost:" + port}
		w.places = append(w.places, p)
	}
	return w, w.writeConfig()
}

func (w *modelWorld) writeConfig() error {
	dir := w.path("home", ".config", "tunhook")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("[provider.model]\ncommand = [%q, \"tunnel\", \"{listen}\"]\n", w.standin)
	for _, p := range w.places {
		text += fmt.Sprintf("[tunnel.%s]\nroute = %q\n", p.name, p.route)
	}
	return os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600)
}

// close ends everything that is left.
func (w *modelWorld) close() {
	w.quit()
	for _, h := range w.holders {
		end(h)
	}
	killAll(w.canary)
	for _, g := range w.guards {
		g.Close()
	}
	if !w.clean {
		w.kill(w.processes())
	}
	_ = os.RemoveAll(w.dir)
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// stepWords takes a step apart: what to do, where, and the options.
type stepWords struct {
	verb    string
	place   int
	options map[string]string
}

func parseStep(step string) stepWords {
	fields := strings.Fields(step)
	w := stepWords{verb: fields[0], options: map[string]string{}}
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		switch f {
		case "A":
		case "B":
			w.place = 1
		default:
			w.options[name] = value
		}
	}
	return w
}

func (s stepWords) has(option string) bool { _, ok := s.options[option]; return ok }

// play does the steps in turn and looks after each whether the rules hold. It gives the number of steps that did something.
func (w *modelWorld) play(steps []string) (n int, err error) {
	for _, step := range steps {
		did, err := w.step(parseStep(step))
		if did || err != nil {
			n++
			w.did = append(w.did, step)
		}
		if err == nil && did {
			err = w.check()
		}
		if err != nil {
			return n, err
		}
	}
	return n, w.finale()
}

func (w *modelWorld) step(s stepWords) (did bool, err error) {
	p := w.places[s.place]
	if p.listener != nil && slices.Contains([]string{"start", "run", "kill-start", "damage", "newer", "reboot", "recycle"}, s.verb) {
		return false, nil // the address is the listener's
	}
	in := s.options["in"]
	if !w.root && (in == "net" || in == "pid") {
		return false, nil // only root makes namespaces
	}
	accident := in != "" || slices.Contains([]string{"damage", "newer", "reboot", "recycle"}, s.verb)
	if p.named && accident || (s.has("name") || s.verb == "listen") && p.accident {
		return false, nil // there may be two records then, of which the model knows one
	}
	p.named, p.accident = p.named || s.has("name"), p.accident || accident
	switch s.verb {
	case "start":
		return true, w.start(p, s)
	case "stop":
		return true, w.stop(p, s)
	case "stop-all":
		return true, w.stopAll(s)
	case "run":
		return w.run(p, s)
	case "run-end":
		return w.runEnd(p)
	case "status":
		return true, w.status()
	case "wait":
		return true, w.wait()
	case "pause":
		time.Sleep(idleStop / 3)
		return true, nil
	case "connect":
		return w.connect(p)
	case "visit":
		return w.visit(p)
	case "half":
		return w.half(p)
	case "leave":
		return w.leave(p)
	case "quit":
		there := w.client != nil
		return there, w.quitAndTell()
	case "end":
		return w.endHolder(s.options["holder"])
	case "die":
		return w.die(p)
	case "main-exit":
		return w.mainExit(p)
	case "keeper":
		return w.keeper(p, s)
	case "kill-start":
		return true, w.killStart(p, s)
	case "listen":
		return w.listen(p)
	case "unlisten":
		return w.unlisten(p, s)
	case "damage", "newer":
		return w.damage(p, s.verb)
	case "reboot", "recycle":
		return w.stranger(p, s.verb)
	case "sweep":
		return w.sweep(p)
	}
	return false, fmt.Errorf("there is no step %q", s.verb)
}

// arguments are those that mean a place, however it is called.
func (p *place) arguments(s stepWords) []string {
	route := p.route
	if s.has("name") {
		route = p.name
	}
	spelling, _ := strconv.Atoi(s.options["as"])
	return []string{route, p.spellings[spelling%len(p.spellings)]}
}

func (p *place) startArguments(w *modelWorld, s stepWords) (args []string, asked wish) {
	asked = wish{idle: s.has("idle"), keepAlive: s.has("keep")}
	args = append(p.arguments(s), "--timeout", "5m")
	if holder, ok := s.options["holder"]; ok {
		asked.holder = holder
		args = append(args, "--end-with", strconv.Itoa(w.holder(holder).Process.Pid))
		if s.has("many") {
			for i := range 600 {
				args = append(args, "--end-with", strconv.Itoa(w.holder(fmt.Sprint("many", i)).Process.Pid))
			}
		}
	}
	if asked.idle {
		args = append(args, "--idle-stop", idleStop.String())
	}
	if asked.keepAlive {
		args = append(args, "--keep-alive")
	}
	if s.has("args") {
		args, asked.args = append(args, "--", "-v"), true
	}
	return args, asked
}

// tunhook is the command, in a world that may be another one than the tunnel's.
func (w *modelWorld) tunhook(s stepWords, args ...string) *exec.Cmd {
	cmd := w.command(args...)
	for _, fault := range []string{"kid", "daemon"} {
		if s.has(fault) {
			cmd.Env = append(slices.Clone(cmd.Env), "STANDIN_"+strings.ToUpper(fault)+"=1")
		}
	}
	var through []string
	switch s.options["in"] {
	case "net":
		through = []string{"unshare", "-n"}
	case "pid":
		through = []string{"unshare", "-p", "--fork", "--mount-proc", "--kill-child"}
	case "full":
		through = []string{"prlimit", "--fsize=0"}
	}
	if through == nil {
		return cmd
	}
	path, err := exec.LookPath(through[0])
	if err != nil {
		return cmd
	}
	cmd.Args = slices.Concat(through, []string{cmd.Path}, args)
	cmd.Path = path
	return cmd
}

// elsewhere tells whether a command is to be called where it does not see everything, which is drawn only where that can be.
func (w *modelWorld) elsewhere(s stepWords) bool {
	in := s.options["in"]
	return w.root && (in == "net" || in == "pid")
}

func (w *modelWorld) finished(cmd *exec.Cmd) (result, error) {
	return w.finishedIn(w.background(cmd), cmd.Args)
}

func (w *modelWorld) finishedIn(done <-chan result, args []string) (result, error) {
	r := <-done
	if r.status == -1 || strings.Contains(r.stderr, "(killed: it took too long)") {
		return r, breaks(ruleStuck, "%q: %v", args, r)
	}
	return r, nil
}

func (w *modelWorld) start(p *place, s stepWords) error {
	if w.elsewhere(s) && (p.fate(time.Now(), w.client != nil) != stays || p.orphan) {
		return nil // a tunnel of another namespace is nothing that this model knows
	}
	args, asked := p.startArguments(w, s)
	before, began := p.token, time.Now()
	r, err := w.finished(w.tunhook(s, append([]string{"start"}, args...)...))
	if err != nil {
		return err
	}
	switch {
	case w.elsewhere(s):
		return w.untouched(p, before, r)
	case p.orphan:
		return nil
	case r.status != 0 && s.options["in"] == "full":
		if p.up {
			p.untold()
		}
		return nil
	case r.status != 0 && len(w.frozen) > 0 && r.status == exitTimeout:
		p.untold()
		return nil
	case r.status != 0 && s.has("many") && !p.up:
		return nil // refused, with nothing left behind
	case r.status != 0:
		return breaks(ruleRuns, "start %q: %v", args, r)
	case r.stdout != p.address+"\n":
		return breaks(ruleRuns, "start %q printed %q", args, r.stdout)
	}
	if strings.Contains(r.stderr, "keep-alive") { // it has said that it cannot
		asked.keepAlive = false
	}
	after := w.tokenOf(p)
	p.started(asked, before == "" || after != before, began)
	if s.options["in"] == "full" { // its keeper may not be able to write either
		p.untold()
	}
	return nil
}

// untouched: "whoever cannot see the tunnel's processes says so and touches nothing".
func (w *modelWorld) untouched(p *place, token string, r result) error {
	if now := w.tokenOf(p); now != token {
		return breaks(ruleRecord, "from another namespace a tunnel was replaced or ended: %v", r)
	}
	return nil
}

func (w *modelWorld) stop(p *place, s stepWords) error {
	args := append([]string{"stop"}, p.arguments(s)...)
	for _, flag := range []string{"now", "wait"} {
		if s.has(flag) {
			args = append(args, "--"+flag)
		}
	}
	cmd := w.tunhook(s, args...)
	if s.has("wait") && !s.has("now") && p.strong+p.weak > 0 {
		w.waiting = append(w.waiting, w.backgroundFor(5*time.Minute, cmd)) // and stop once more, which does not wait
		cmd = w.tunhook(s, args[:len(args)-1]...)
	}
	token, began := p.token, time.Now()
	r, err := w.finished(cmd)
	if err != nil {
		return err
	}
	if w.elsewhere(s) && p.listener != nil {
		return nil
	}
	if w.elsewhere(s) && r.status != 0 {
		return w.untouched(p, token, r)
	}
	if r.status != 0 && s.options["in"] == "full" && p.strong > 0 { // that it shall end later could not be written
		p.untold()
		return nil
	}
	if r.status == 0 && s.options["in"] == "full" && p.strong == 0 { // nor that it waits for a client that is to come
		p.untold()
		return nil
	}
	if r.status != 0 && !p.orphan && !(len(w.frozen) > 0 && r.status == exitTimeout) {
		return breaks(ruleStopped, "stop %q: %v", args, r)
	}
	if p.orphan {
		return nil
	}
	return w.tookBack(p, s, args, began, r)
}

// tookBack takes in a stop, after which the tunnel is gone or will be.

func (w *modelWorld) tookBack(p *place, s stepWords, args []string, began time.Time, r result) error {
	if r.status != 0 {
		p.untold()
		return nil
	}
	if p.listener != nil { // the next connection gets another tunnel
		if s.has("now") {
			w.dropConns(p)
			p.ended()
		}
		return nil
	}
	gone := p.stopped(s.has("now"), began)
	if s.has("wait") && p.leaving && p.strong+p.weak == 0 {
		p.ended()
		gone = true
	}
	if s.has("now") {
		w.dropConns(p)
	}
	if gone {
		if left := w.serving(p); len(left) > 0 {
			return breaks(ruleStopped, "%q: %v; left: %v", args, r, left)
		}
		if !tunnel.Free(p.addrPort()) {
			return breaks(ruleStopped, "%q: %v; the address is not free", args, r)
		}
	}
	return nil
}

func (w *modelWorld) stopAll(s stepWords) error {
	args := []string{"stop", "--all"}
	if s.has("now") {
		args = append(args, "--now")
	}
	began := time.Now()
	r, err := w.finished(w.command(args...))
	if err != nil {
		return err
	}
	orphans := slices.ContainsFunc(w.places, func(p *place) bool { return p.orphan })
	if r.status != 0 && !orphans && len(w.frozen) == 0 {
		return breaks(ruleStopped, "%q: %v", args, r)
	}
	for _, p := range w.places {
		if p.orphan {
			continue
		}
		if r.status != 0 && !orphans {
			p.untold()
			continue
		}
		if err := w.tookBack(p, s, args, began, result{stdout: r.stdout, stderr: r.stderr}); err != nil {
			return err
		}
	}
	return nil
}

// run has a client that stays until run-end.
func (w *modelWorld) run(p *place, s stepWords) (did bool, err error) {
	if p.run != nil || p.orphan {
		return false, nil
	}
	args, asked := p.startArguments(w, s)
	w.conns++
	file := w.path(fmt.Sprintf("run%d", w.conns))
	if i := slices.Index(args, "--"); i >= 0 {
		args, asked.args = args[:i], false
	}
	before, began := p.token, time.Now()
	done := w.backgroundFor(5*time.Minute, w.tunhook(s, slices.Concat([]string{"run"}, args, []string{"--", w.standin, "hold", "{address}", file})...))
	for {
		if _, err := os.Stat(file + ".up"); err == nil {
			break
		}
		select {
		case r := <-done:
			if len(w.frozen) > 0 {
				p.untold()
				return true, nil
			}
			return true, breaks(ruleRuns, "run %q: %v", args, r)
		case <-time.After(5 * time.Millisecond):
		}
	}
	fresh := before == "" || w.tokenOf(p) != before
	asked.holder = file
	also, named := s.options["holder"]
	p.started(asked, fresh, began)
	if named {
		p.holders[also] = true
	}
	p.run = &runningRun{file: file, done: done, weak: p.doubtful}
	p.connected(p.run.weak)
	return true, nil
}

// backgroundFor is background with more patience.
func (w *modelWorld) backgroundFor(d time.Duration, cmd *exec.Cmd) <-chan result {
	done := make(chan result, 1)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		done <- result{stderr: err.Error(), status: -1}
		return done
	}
	late := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	go func() {
		_ = cmd.Wait()
		late.Stop()
		done <- result{stderr: out.String(), status: shellStatus(cmd.ProcessState)}
	}()
	return done
}

func (w *modelWorld) runEnd(p *place) (did bool, err error) {
	if p.run == nil {
		return false, nil
	}
	if err := os.WriteFile(p.run.file+".end", nil, 0o600); err != nil {
		return true, err
	}
	return true, w.runOver(p)
}

// runOver waits for a run whose client ends.
func (w *modelWorld) runOver(p *place) error {
	r, began := p.run, time.Now()
	p.run = nil
	p.left(r.weak, began)
	p.holderEnded(r.file)
	select {
	case res := <-r.done:
		if res.status != 0 && len(w.frozen) == 0 {
			return breaks(ruleStuck, "run: %v", res)
		}
	case <-time.After(2 * w.patience):
		return breaks(ruleStuck, "run does not end with its client")
	}
	return nil
}

// listen has a listener take the clients of a place where there is no tunnel.
func (w *modelWorld) listen(p *place) (did bool, err error) {
	if p.up || p.orphan || p.listener != nil || !tunnel.Free(p.addrPort()) {
		return false, nil
	}
	cmd := w.command("listen", p.route, p.address, "--linger", "1s")
	p.listener = &runningListener{cmd, w.backgroundFor(10*time.Minute, cmd), w.recordFiles(p)}
	if !eventually(w.patience, func() bool { return !tunnel.Free(p.addrPort()) }) {
		return true, breaks(ruleStuck, "listen does not listen")
	}
	return true, nil
}

// unlisten ends a listener in good order, or not. Its tunnel ends with it.
func (w *modelWorld) unlisten(p *place, s stepWords) (did bool, err error) {
	if p.listener == nil {
		return false, nil
	}
	sig := syscall.SIGTERM
	if s.has("kill") {
		sig = syscall.SIGKILL
	}
	_ = p.listener.cmd.Process.Signal(sig)
	select {
	case <-p.listener.done:
	case <-time.After(2 * w.patience):
		return true, breaks(ruleStuck, "listen does not end by %v", sig)
	}
	others := p.listener.others
	p.listener = nil
	w.dropConns(p)
	p.ended()
	gone := func() bool {
		return !slices.ContainsFunc(w.recordFiles(p), func(file string) bool { return !slices.Contains(others, file) })
	}
	if !eventually(w.patience, gone) {
		return true, breaks(ruleLate, "the tunnel of a listener that has ended by %v", sig)
	}
	return true, nil
}

func (w *modelWorld) status() error {
	r, err := w.finished(w.command("status", "--json"))
	if err != nil {
		return err
	}
	var said statusDocument
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil || r.status != 0 {
		return breaks(ruleStuck, "status: %v, %v", r, err)
	}
	for _, p := range w.places {
		if p.orphan || p.fate(time.Now(), w.client != nil) != stays {
			continue
		}
		up := func(t statusTunnel) bool { // beside it may be one that has died, and had another name
			return t.Address == p.address && (t.State == "ready" || t.State == "ending when idle")
		}
		if !slices.ContainsFunc(said.Tunnels, up) {
			return breaks(ruleRecord, "status does not show %s as ready: %s", p.address, r.stdout)
		}
	}
	return nil
}

// wait lets everything come to pass that is to come.
func (w *modelWorld) wait() error {
	for _, p := range w.places {
		if p.orphan {
			continue
		}
		gone := func() bool {
			return p.fate(time.Now(), w.client != nil) != goesSoon || tunnel.Free(p.addrPort()) && len(w.serving(p)) == 0
		}
		if !eventually(w.patience, gone) {
			return breaks(ruleLate, "%s: %s is left: %v", p.describe(), p.address, w.serving(p))
		}
		if p.fate(time.Now(), w.client != nil) == goesSoon {
			p.ended()
		}
	}
	return nil
}

func (p *place) describe() string {
	m := p.modelled
	return fmt.Sprintf("%s: up %t kept %t holders %v idle %t keep-alive %t leaving %t strong %d weak %d unwatched %t doubtful %t", p.name,
		m.up, m.kept, m.holders, m.idle, m.keepAlive, m.leaving, m.strong, m.weak, m.unwatched, m.doubtful)
}

// eventually waits for what must come to be. It looks less often the longer it has waited: a look may cost much.
func eventually(d time.Duration, f func() bool) bool {
	deadline, pause := time.Now().Add(d), 10*time.Millisecond
	for !f() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
		pause = min(2*pause, 200*time.Millisecond)
	}
	return true
}

// clientProgram is one client with many windows.
type clientProgram struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func (w *modelWorld) clients() (*clientProgram, error) {
	if w.client != nil {
		return w.client, nil
	}
	cmd := exec.Command(w.standin, "client")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.client = &clientProgram{cmd, in, bufio.NewReader(out)}
	return w.client, nil
}

// say tells the client program what to do and gives its answer.
func (w *modelWorld) say(format string, args ...any) (string, error) {
	c, err := w.clients()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(c.in, format+"\n", args...)
	answer, err := c.out.ReadString('\n')
	return strings.TrimSpace(answer), err
}

func (w *modelWorld) connect(p *place) (did bool, err error) {
	fate := p.fate(time.Now(), w.client != nil)
	if p.listener != nil {
		fate = stays
	}
	if fate == absent || p.orphan || len(p.conns) >= 3 {
		return false, nil
	}
	w.conns++
	c := conn{number: w.conns, weak: fate != stays}
	answer, err := w.say("connect %d %s", c.number, p.address)
	if err != nil {
		return true, err
	}
	if p.listener == nil { // it may have taken long to connect
		c.weak = c.weak || p.fate(time.Now(), w.client != nil) != stays
	}
	if answer != "ok" {
		if c.weak {
			return true, nil
		}
		return true, breaks(ruleEarly, "%s: connecting: %s", p.describe(), answer)
	}
	p.conns = append(p.conns, c)
	p.connected(c.weak)
	return true, nil
}

func (w *modelWorld) visit(p *place) (did bool, err error) {
	if did, err = w.connect(p); !did || err != nil || len(p.conns) == 0 || p.conns[len(p.conns)-1].number != w.conns {
		return did, err
	}
	return true, w.closeConn(p, len(p.conns)-1)
}

func (w *modelWorld) closeConn(p *place, i int) error {
	c, began := p.conns[i], time.Now()
	p.conns = slices.Delete(p.conns, i, i+1)
	_, err := w.say("close %d", c.number)
	p.left(c.weak, began)
	return err
}

func (w *modelWorld) half(p *place) (did bool, err error) {
	i := slices.IndexFunc(p.conns, func(c conn) bool { return !c.half })
	if i < 0 {
		return false, nil
	}
	p.conns[i].half = true
	answer, err := w.say("half %d", p.conns[i].number)
	if err == nil && answer != "ok" && !p.conns[i].weak {
		err = breaks(ruleCut, "%s: %s", p.describe(), answer)
	}
	return true, err
}

func (w *modelWorld) leave(p *place) (did bool, err error) {
	if len(p.conns) == 0 {
		return false, nil
	}
	return true, w.closeConn(p, 0)
}

// dropConns closes what an end that was asked for has cut.
func (w *modelWorld) dropConns(p *place) {
	for _, c := range p.conns {
		_, _ = w.say("close %d", c.number)
	}
	p.conns = nil
	if p.run != nil { // its client ends by itself
		_ = w.runOver(p)
		p.modelled.strong, p.modelled.weak = 0, 0
	}
}

func (w *modelWorld) quitAndTell() error {
	if w.client == nil {
		return nil
	}
	began := time.Now()
	w.quit()
	for _, p := range w.places {
		for _, c := range p.conns {
			p.left(c.weak, began)
		}
		p.conns = nil
	}
	return nil
}

func (w *modelWorld) quit() {
	if w.client != nil {
		end(w.client.cmd)
		w.client = nil
	}
}

func (w *modelWorld) holder(name string) *exec.Cmd {
	if w.holders[name] == nil {
		cmd := exec.Command("sleep", "600")
		cmd.Env = []string{}
		if err := cmd.Start(); err != nil {
			w.t.Errorf("%v", err)
		}
		w.holders[name] = cmd
	}
	return w.holders[name]
}

func (w *modelWorld) endHolder(name string) (did bool, err error) {
	h := w.holders[name]
	if h == nil {
		return false, nil
	}
	end(h)
	delete(w.holders, name)
	for _, p := range w.places {
		p.holderEnded(name)
	}
	return true, nil
}

func (p *place) addrPort() netip.AddrPort { return netip.MustParseAddrPort(p.address) }

// modelProcess is a process of this world that is no canary, as /proc has it.
type modelProcess struct {
	pid    int
	start  string // field 22 of its stat, proc_pid_stat(5)
	argv   []string
	token  string
	keeper string // the token of the tunnel that it is a keeper of
}

func (p modelProcess) String() string { return fmt.Sprintf("%d %q", p.pid, p.argv) }

// processes finds them, those too whose first thread has ended, of which the usual files say nothing.
func (w *modelWorld) processes() []modelProcess {
	var all []modelProcess
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		environ, err := os.ReadFile(name + "/environ")
		if errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrPermission) { // its first thread has ended, perhaps
			name, environ = otherThread(name)
		}
		if !bytes.Contains(environ, []byte(markVariable+"="+w.mark+"\x00")) {
			continue
		}
		if p, ok := readProcess(name, environ); ok {
			all = append(all, p)
		}
	}
	return all
}

// otherThread finds a thread that still knows the environment of its process. Most that have ended have none.
func otherThread(name string) (thread string, environ []byte) {
	tasks, _ := os.ReadDir(name + "/task")
	for _, task := range tasks[min(1, len(tasks)):] {
		thread := name + "/task/" + task.Name()
		if environ, err := os.ReadFile(thread + "/environ"); err == nil && len(environ) > 0 {
			return thread, environ
		}
	}
	return name, nil
}

func readProcess(name string, environ []byte) (p modelProcess, ok bool) {
	cmdline, err := os.ReadFile(name + "/cmdline")
	if err != nil || len(cmdline) == 0 {
		return p, false
	}
	p.pid, err = strconv.Atoi(strings.Split(name, "/")[2])
	if err != nil {
		return p, false
	}
	state, start := statOf(name)
	if state == "" || state == "Z" || state == "X" {
		return p, false
	}
	if strings.Contains(name, "/task/") {
		_, start = statOf(fmt.Sprintf("/proc/%d", p.pid))
	}
	p.start = start
	p.argv = append(strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00"), "", "")
	for _, v := range strings.Split(string(environ), "\x00") {
		if token, ok := strings.CutPrefix(v, process.TokenVariable+"="); ok {
			p.token = token
		}
		if order, ok := strings.CutPrefix(v, "TUNHOOK_KEEPER="); ok {
			var told struct{ Token string }
			_ = json.Unmarshal([]byte(order), &told)
			p.keeper = told.Token
		}
	}
	return p, true
}

func statOf(name string) (state, start string) {
	data, err := os.ReadFile(name + "/stat")
	if err != nil {
		return "", ""
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	return fields[0], fields[19]
}

// alive tells whether it still runs, be it without its first thread.
func (p modelProcess) alive() bool {
	name := fmt.Sprintf("/proc/%d", p.pid)
	state, start := statOf(name)
	if state == "Z" {
		if thread, _ := otherThread(name); thread != name {
			return start == p.start
		}
	}
	return state != "" && state != "Z" && state != "X" && start == p.start
}

// kill ends processes and waits until they are gone.
func (w *modelWorld) kill(processes []modelProcess) {
	for _, p := range processes {
		if p.alive() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	eventually(w.patience, func() bool { return !slices.ContainsFunc(processes, modelProcess.alive) })
}

// isTunnel tells whether it is, or may become, a tunnel program.
func (p modelProcess) isTunnel() bool {
	return p.token != "" && p.argv[0] != "" && (p.argv[1] == "tunnel" || p.argv[1] == "kid")
}

// serving gives the tunnel's processes at a place.
func (w *modelWorld) serving(p *place) []modelProcess { return p.among(w.processes()) }

func (p *place) among(processes []modelProcess) []modelProcess {
	return slices.DeleteFunc(slices.Clone(processes), func(proc modelProcess) bool { return !proc.isTunnel() || proc.argv[2] != p.address })
}

// tokenOf gives the token of the tunnel at a place, "" if there is none.
func (w *modelWorld) tokenOf(p *place) string {
	if slices.ContainsFunc(p.seen, modelProcess.alive) { // all that is seen at once has one token
		return p.token
	}
	if serving := w.serving(p); len(serving) > 0 {
		return serving[0].token
	}
	return ""
}

// die kills the tunnel program. A child of it that serves the address lives on.
func (w *modelWorld) die(p *place) (did bool, err error) {
	serving := w.serving(p)
	if len(serving) == 0 || p.orphan {
		return false, nil
	}
	if i := slices.IndexFunc(serving, func(m modelProcess) bool { return m.argv[1] == "tunnel" }); i >= 0 && len(serving) > 1 {
		w.kill(serving[i : i+1])
		return true, nil
	}
	w.kill(serving)
	revived := p.died(w.client != nil)
	if p.run != nil {
		revived = false
		p.doubtful = p.up
	}
	w.dropConns(p)
	back := func() bool { return len(w.serving(p)) > 0 && !tunnel.Free(p.addrPort()) } // the keeper, too, has the address for a moment
	if revived && !eventually(w.patience, back) {
		return true, breaks(ruleRevived, "%s", p.describe())
	}
	return true, nil
}

func (w *modelWorld) mainExit(p *place) (did bool, err error) {
	serving := w.serving(p)
	if len(serving) != 1 || p.orphan || tunnel.Free(p.addrPort()) {
		return false, nil
	}
	name := fmt.Sprintf("/proc/%d", serving[0].pid)
	_ = syscall.Kill(serving[0].pid, syscall.SIGUSR1)
	eventually(w.patience, func() bool { state, _ := statOf(name); return state == "" || state == "Z" })
	return true, nil
}

func (w *modelWorld) keeper(p *place, s stepWords) (did bool, err error) {
	token := w.tokenOf(p)
	if s.has("thaw") {
		for _, id := range w.frozen {
			_ = syscall.Kill(id.pid, syscall.SIGCONT)
		}
		did = len(w.frozen) > 0
		w.frozen = nil
		return did, nil
	}
	for _, proc := range w.processes() {
		if proc.keeper == "" || proc.keeper != token {
			continue
		}
		sig := syscall.SIGKILL
		if s.has("freeze") {
			sig = syscall.SIGSTOP
			w.frozen = append(w.frozen, proc)
		}
		_ = syscall.Kill(proc.pid, sig)
		if sig == syscall.SIGKILL {
			w.kill([]modelProcess{proc})
		}
		p.unwatched = true
		return true, nil
	}
	return false, nil
}

func (w *modelWorld) killStart(p *place, s stepWords) error {
	if p.orphan {
		return nil
	}
	args, _ := p.startArguments(w, s)
	cmd := w.tunhook(stepWords{options: map[string]string{}}, append([]string{"start"}, args...)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	after, _ := strconv.Atoi(s.options["after"])
	time.Sleep(time.Duration(after) * time.Millisecond)
	end(cmd)
	p.untold()
	return nil
}

// recordFiles gives the files that may be a place's record: under which name it was started is not known.
func (w *modelWorld) recordFiles(p *place) []string {
	var found []string
	files, _ := filepath.Glob(filepath.Join(w.runDir(), "*.json"))
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && bytes.Contains(data, []byte(`"`+p.address+`"`)) {
			found = append(found, f)
		}
	}
	return found
}

// damage is what others do to a record. What it was of must be ended by hand then.
func (w *modelWorld) damage(p *place, how string) (did bool, err error) {
	files := w.recordFiles(p)
	if len(files) != 1 || p.run != nil {
		return false, nil
	}
	text := []byte(`{"version":1,"route":"rel`)
	if how == "newer" {
		text = []byte(`{"version":99,"tunnel":"in another form"}`)
	}
	p.orphan = true
	return true, os.WriteFile(files[0], text, 0o600)
}

// sweep ends by hand what was left.
func (w *modelWorld) sweep(p *place) (did bool, err error) {
	if !p.orphan {
		return false, nil
	}
	if r, err := w.finished(w.command("stop", p.route, p.address, "--now")); err != nil || r.status != 0 {
		return true, errors.Join(err, breaks(ruleStopped, "stop --now with a damaged record: %v", r))
	}
	w.killPlace(p)
	w.dropConns(p)
	p.orphan = false
	p.ended()
	return true, nil
}

// killPlace kills the tunnel of a place and its keeper.
func (w *modelWorld) killPlace(p *place) {
	token := w.tokenOf(p)
	w.kill(slices.DeleteFunc(w.processes(), func(proc modelProcess) bool {
		return (!proc.isTunnel() || proc.argv[2] != p.address) && (proc.keeper == "" || proc.keeper != token)
	}))
}

// stranger has the tunnel of a place die, with its keeper, and gives its pid to a process that has nothing to do with it: since
// then, or since before the machine was started again.
func (w *modelWorld) stranger(p *place, how string) (did bool, err error) {
	files := w.recordFiles(p)
	if len(files) != 1 || p.run != nil || p.orphan || p.doubtful {
		return false, nil
	}
	canary, err := w.theCanary(p)
	if err != nil {
		return true, err
	}
	w.killPlace(p)
	w.killPlace(p) // a keeper may have been about to start the program again
	w.dropConns(p)
	p.ended()
	data, err := os.ReadFile(files[0])
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	record := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&record); err != nil {
		return true, breaks(ruleRecord, "%s cannot be read: %v", files[0], err)
	}
	identity := map[string]any{"pid": canary.PID, "start_ticks": canary.StartTicks - 1, "boot_id": canary.BootID}
	if how == "reboot" {
		identity["start_ticks"], identity["boot_id"] = canary.StartTicks, "00000000-0000-4000-8000-000000000000"
	}
	record["tunnel"], record["keeper"] = identity, identity
	if data, err = json.Marshal(record); err != nil {
		return true, err
	}
	return true, os.WriteFile(files[0], data, 0o600)
}

// theCanary is a session leader with the command line of the tunnel program, and a child in its session and group.
func (w *modelWorld) theCanary(p *place) (process.Identity, error) {
	if len(w.canary) > 0 {
		return w.canary[0], nil
	}
	cmd := exec.Command(w.standin, "tunnel", p.address)
	cmd.Env = []string{"STANDIN_CANARY=" + w.path("signalled")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return process.Identity{}, err
	}
	if err := cmd.Start(); err != nil {
		return process.Identity{}, err
	}
	go func() { _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return process.Identity{}, err
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return process.Identity{}, err
	}
	for _, pid := range []int{cmd.Process.Pid, child} {
		id, err := process.Identify(pid)
		if err != nil {
			return id, err
		}
		w.canary = append(w.canary, id)
	}
	return w.canary[0], nil
}

// check compares what is with what must be.
func (w *modelWorld) check() error {
	if err := w.checkConns(); err != nil {
		return err
	}
	fates := make([]fate, len(w.places)) // before the look, which may be long: what must be at both ends must be in between
	for i, p := range w.places {
		fates[i] = p.fate(time.Now(), w.client != nil)
	}
	processes := w.processes()
	for i, p := range w.places {
		p.seen, p.token = p.among(processes), ""
		if len(p.seen) > 0 {
			p.token = p.seen[0].token
		}
		if err := w.checkPlace(p, fates[i], p.token != ""); err != nil {
			return err
		}
	}
	return errors.Join(w.checkStrangers(processes), w.checkRecords(processes))
}

// checkStrangers: "never the wrong process".
func (w *modelWorld) checkStrangers(processes []modelProcess) error {
	if text, err := os.ReadFile(w.path("signalled")); err == nil {
		return breaks(ruleStranger, "a canary got %s", text)
	}
	for _, id := range w.canary {
		if !id.Alive() {
			return breaks(ruleStranger, "canary %d was killed", id.PID)
		}
	}
	for _, d := range w.daemons {
		if !d.alive() {
			return breaks(ruleStranger, "daemon %d, which a tunnel program had left behind, was killed", d.pid)
		}
	}
	for _, proc := range processes {
		same := func(d modelProcess) bool { return d.pid == proc.pid }
		if proc.argv[1] == "daemon" && !slices.ContainsFunc(w.daemons, same) {
			w.daemons = append(w.daemons, proc)
		}
	}
	return nil
}

// checkConns: "a live session is never cut".
func (w *modelWorld) checkConns() error {
	for _, p := range w.places {
		for i := 0; i < len(p.conns); i++ {
			c := p.conns[i]
			if p.orphan {
				continue
			}
			answer, err := w.say("check %d", c.number)
			if err != nil {
				return err
			}
			if answer != "ok" && !c.weak {
				return breaks(ruleCut, "%s: connection (half closed: %t): %s", p.describe(), c.half, answer)
			}
			if answer != "ok" {
				if err := w.closeConn(p, i); err != nil {
					return err
				}
				i--
			}
		}
		if p.run != nil {
			select {
			case r := <-p.run.done:
				if !p.run.weak {
					return breaks(ruleCut, "%s: the run's client was cut off: %v", p.describe(), r)
				}
				p.left(true, time.Now())
				p.holderEnded(p.run.file)
				p.run = nil
			default:
			}
		}
	}
	return nil
}

func (w *modelWorld) checkPlace(p *place, before fate, there bool) error {
	if p.orphan || p.listener != nil {
		return nil
	}
	switch after := p.fate(time.Now(), w.client != nil); {
	case before == stays && after == stays && !there:
		return breaks(ruleEarly, "%s: no process", p.describe())
	case before == stays && after == stays && tunnel.Free(p.addrPort()):
		return breaks(ruleEarly, "%s: nobody listens", p.describe())
	case before == absent && there:
		if !eventually(w.patience, func() bool { return len(w.serving(p)) == 0 }) { // a start that failed may just be tidying up
			return breaks(ruleLate, "%s: there is a tunnel: %v", p.describe(), w.serving(p))
		}
	case before != absent && !there && (after == goesSoon || after == unknown) && p.strong+p.weak == 0 && !p.doubtful:
		p.ended()
	}
	return nil
}

// checkRecords: "no tunnel without a record", and no record that names a stranger. What is just being changed settles.
func (w *modelWorld) checkRecords(processes []modelProcess) error {
	problem := w.recordProblem(processes)
	if problem == "" || eventually(w.patience, func() bool { problem = w.recordProblem(w.processes()); return problem == "" }) {
		return nil
	}
	return breaks(ruleRecord, "%s", problem)
}

func (w *modelWorld) recordProblem(processes []modelProcess) string {
	known := map[string]int{}
	dir, err := pidfile.PrivateDir(w.runDir(), true, false)
	if err != nil {
		return err.Error()
	}
	entries, err := dir.List()
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if e.Err != nil {
			if !slices.ContainsFunc(w.places, func(p *place) bool { return p.orphan }) {
				return e.Err.Error()
			}
			continue
		}
		known[e.Record.Token]++
		if e.Record.Tunnel.Alive() && e.Record.Tunnel != (process.Identity{}) {
			i := slices.IndexFunc(processes, func(p modelProcess) bool { return p.pid == e.Record.Tunnel.PID })
			if i < 0 || processes[i].token != e.Record.Token {
				return fmt.Sprintf("a record names a stranger: %+v", e.Record.Tunnel)
			}
		}
	}
	for _, proc := range processes {
		orphaned := slices.ContainsFunc(w.places, func(p *place) bool { return p.orphan && p.address == proc.argv[2] })
		if proc.isTunnel() && !orphaned && known[proc.token] != 1 {
			return fmt.Sprintf("tunnel %d %q has %d records", proc.pid, proc.argv, known[proc.token])
		}
	}
	return ""
}

// finale stops everything. Nothing is left then, and nobody who waited for it.
func (w *modelWorld) finale() error {
	_, _ = w.keeper(w.places[0], stepWords{options: map[string]string{"thaw": ""}})
	for _, p := range w.places {
		_, err := w.sweep(p)
		_, err2 := w.unlisten(p, stepWords{})
		if err := errors.Join(err, err2); err != nil {
			return err
		}
	}
	files := filepath.Join(w.runDir(), "*.json")
	if left, _ := filepath.Glob(files); len(left) > 0 {
		if err := w.stopAll(stepWords{options: map[string]string{"now": ""}}); err != nil {
			return err
		}
	}
	for _, done := range w.waiting {
		if _, err := w.finishedIn(done, []string{"stop", "--wait"}); err != nil {
			return err
		}
	}
	processes := w.processes()
	if err := w.checkStrangers(processes); err != nil {
		return err
	}
	w.kill(w.daemons)
	if len(processes) > 0 && !eventually(w.patience, func() bool { return len(w.processes()) == 0 }) {
		return breaks(ruleLate, "after stop --all --now: %v", w.processes())
	}
	if left, _ := filepath.Glob(files); len(left) > 0 {
		return breaks(ruleRecord, "after stop --all --now: %q", left)
	}
	w.clean = true
	return nil
}
