package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// launch makes the record and launches the tunnel program, under the lock.
func (s *start) launch(ctx context.Context, lock *pidfile.Lock) (next, error) {
	if err := process.Supported(); err != nil {
		return next{}, err
	}
	rec := pidfile.Record{
		Route: s.route.Given, Listen: s.listen.String(), Target: s.route.Text,
		Provider: s.route.Provider.Name(), Signal: s.route.Provider.Signal,
		Token: process.NewToken(), Started: s.Now().Round(time.Millisecond),
	}
	var err error
	if rec.Place, err = process.Here(); err != nil {
		return next{}, err
	}
	rec.ArgsHash = hashArgs(rec.Token, s.args())
	s.want(&rec)
	rec.Shared = false
	rec.Front, rec.Anew = s.front, s.route.Provider.Anew
	rec.Address, err = s.reserve()
	if errors.Is(err, tunnel.ErrTaken) {
		return s.taken()
	}
	if err != nil {
		return next{}, err
	}
	if s.listen.Exposed() && !s.front.IsValid() {
		s.notice(Exposed{rec.Address})
	}
	at, err := s.firstAddress(rec.Address)
	if err != nil {
		return next{}, err
	}
	if s.ready != tunnel.ReadyListen || s.req.IdleStop > 0 {
		if rec.Prober, err = process.Self(); err != nil {
			return next{}, err
		}
		s.self, rec.Asking = rec.Prober, true
	}
	if s.private.IsValid() {
		rec.Starter = rec.Prober
	}
	rec.Tried = s.held.holding()
	s.takeQuestions(ctx)
	program, err := s.program(at)
	if err != nil {
		return next{}, err
	}
	rec.Program = program.name
	rec.After = len(s.route.After(rec.Public(), s.Self)) > 0
	log, err := s.openLog(&rec)
	if err != nil {
		return next{}, err
	}
	defer log.Close()
	before := s.route.Before(rec.Public(), s.Self)
	return s.launchNew(&transaction{Env: s.Env, lock: lock, rec: rec, before: before}, program, log)
}

// launchNew launches the program of a tunnel that there was not before, and starts its keeper. With an error there is
// none afterwards either.
func (s *start) launchNew(tx *transaction, program program, log *os.File) (_ next, err error) {
	s.began = true
	if s.launched, err = tx.launch(program, log); err != nil {
		return next{}, errors.Join(err, tx.remove())
	}
	if tx.rec.Watched() {
		tx.program, err = s.program(tx.rec.Address)
	}
	if err == nil {
		err = tx.commit()
	}
	if err != nil {
		return next{}, errors.Join(err, endProcesses(tx.rec, endGrace), tx.remove())
	}
	return next{rec: tx.rec}, nil
}

// address is where the tunnel shall listen: behind a listener, on any free port.
func (s *start) address() tunnel.Listen {
	if s.front.IsValid() {
		return s.route.Behind()
	}
	return s.listen
}

// reserve finds the address for the tunnel program; it holds it no longer than to find that it is free.
func (s *start) reserve() (netip.AddrPort, error) { return s.address().Reserve() }

// firstAddress is where the program listens at first. That is its own address where it cannot ask somebody to sign in while it is
// waited for, and where it is tried first whether it does, its pages held back: most often it does not.
func (s *start) firstAddress(own netip.AddrPort) (netip.AddrPort, error) {
	s.private = netip.AddrPort{}
	s.held.close()
	s.held = nil
	if s.ready == tunnel.ReadyListen || !s.route.Provider.SignsIn() || s.holdPages(own) {
		return own, nil
	}
	return s.privateAddress(own)
}

// privateAddress is where a program listens that asks somebody to sign in while that is waited for: a client that connects too
// early, because its user got tired of waiting, would open another browser tab.
func (s *start) privateAddress(own netip.AddrPort) (netip.AddrPort, error) {
	var err error
	any := tunnel.Listen{Addr: netip.AddrPortFrom(own.Addr(), 0)}
	if !own.Addr().Is4() || !own.Addr().IsLoopback() {
		any = s.route.Behind()
	}
	s.private, err = any.Reserve()
	return s.private, err
}

// args are the extra arguments of the tunnel program.
func (s *start) args() []string { return s.route.Args(s.req.Args) }

// program is how to launch a tunnel program.
type program struct {
	name string
	argv []string // with its absolute path
	env  []string // what the configuration gives it besides the caller's environment: secrets, perhaps
	asks []string // the variables by which it asks whoever starts it
	own  []string // the command line of the tunnel program itself, behind what tunhook puts in front of it
}

// program gives the tunnel program that listens there. One that cannot listens at a private address, and tunhook in
// front of it.
func (s *start) program(listen netip.AddrPort) (p program, err error) {
	at := listen
	if !s.route.ListensOn(listen.Addr()) {
		if at, err = s.route.Behind().Reserve(); err != nil {
			return program{}, err
		}
	}
	if p.env, err = s.route.Environ(at, s.Self, tunnel.Getenv(s.Environ, "HOME")); err != nil {
		return program{}, err
	}
	path := tunnel.Getenv(slices.Concat(s.Environ, p.env), "PATH")
	if p.argv, p.name, err = s.route.FindCommand(at, s.Self, s.args(), path); err != nil {
		return program{}, err
	}
	p.own = p.argv
	if at != listen {
		p.argv = append([]string{s.Self, frontCommand, "--listen", listen.String(), "--program-at", at.String(), "--"}, p.argv...)
	}
	p.asks = append(s.asking.environ(), s.held.environ()...)
	return p, nil
}

// frontCommand is the argument that makes tunhook listen in front of a tunnel program that cannot listen everywhere.
const frontCommand = "front"

// hashArgs is salted, so that a record does not tell which of the usual arguments was given.
func hashArgs(token string, args []string) string {
	mac := hmac.New(sha256.New, []byte(token))
	for _, a := range args {
		fmt.Fprintf(mac, "%d:%s", len(a), a)
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (s *start) openLog(rec *pidfile.Record) (*os.File, error) {
	dir, err := pidfile.PrivateDir(s.LogDir, false, true)
	if err != nil {
		return nil, err
	}
	rec.Log = filepath.Join(dir.Path(), rec.Key().Name()+".log")
	log, from, err := s.beginLog(rec.Log, fmt.Sprintf("%s for %s on %s", rec.Program, rec.Route, rec.Address))
	rec.LogFrom = from
	return log, err
}

// launch launches the tunnel program. The record is written first, with the token that the program gets in its
// environment, so that a process that is killed between the two leaves nothing that cannot be found. A program that has
// ended already leaves the record without an identity; so does one that could not be launched: what becomes of the
// record then is the caller's to say.
func (tx *transaction) launch(program program, log *os.File) (*tunnel.Launched, error) {
	argv := program.argv
	environ, err := tx.tunnelEnviron(tx.rec, program)
	if err == nil {
		argv, environ, err = tx.withBefore(argv, environ)
	}
	if err != nil {
		return nil, err
	}
	tx.rec.Tunnel = process.Identity{}
	tx.lookAround()
	if err := tx.write(); err != nil {
		return nil, err
	}
	launched, err := tx.launchProgram(argv, environ, log)
	if err != nil {
		return nil, err
	}
	tx.rec.Tunnel, err = process.Identify(launched.PID)
	if errors.Is(err, process.ErrGone) {
		return launched, nil
	}
	if err == nil {
		err = tx.write()
	}
	if err != nil {
		return nil, errors.Join(err, endProcesses(tx.rec, endGrace))
	}
	return launched, nil
}

// withToken puts the token in the place of all that tunhook has put into an environment: a tunnel that is started by
// something that a tunnel has started, its browser perhaps, is one of its own. An
// empty token is for what is no tunnel's.
func withToken(environ []string, token string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, v := range environ {
		switch name, _, _ := strings.Cut(v, "="); name {
		case process.TokenVariable, orderVariable, beforeVariable, undoVariable, openingVariable, askVariable, pageVariable:
		default:
			kept = append(kept, v)
		}
	}
	return append(kept, process.TokenVariable+"="+token)
}

// taken says who has the address: a tunnel of ours for the same route will do, whatever name it was started under and
// if its port was once a free one; so will a listener that is enabled for it; another program, if that was asked for.
func (s *start) taken() (next, error) {
	// The holder before the records: one of ours is in a record before it can have the address.
	holder, held := tunnel.Holder(s.listen.Addr)
	if rec, ok := s.tunnelAt(s.dir, s.listen.Addr); ok && rec.Target == s.route.Text {
		if rec.Ending {
			return next{do: endFirst, rec: rec}, nil
		}
		return next{do: lookElsewhere, key: rec.Key()}, nil
	}
	if s.freed++; s.freed < freedTries && (!held || tunnel.Free(s.listen.Addr)) {
		return next{do: lookElsewhere, key: s.key}, nil // who had it has just left, or has come just now
	}
	err := s.heldError(s.dir, s.listen.Addr, holder)
	var enabled *EnabledError
	if errors.As(err, &enabled) && s.leadsTo(enabled.Route, s.route.Text) {
		return next{started: Started{Address: s.listen.Addr, Reused: &holder.Peer, Listener: true}}, nil
	}
	var taken *TakenError
	if errors.As(err, &taken) && taken.Route == "" {
		if held && s.req.Reuse {
			return next{started: Started{Address: s.listen.Addr, Reused: &holder.Peer}}, nil
		}
		taken.MayReuse, taken.Stable = taken.usersOwn(), s.isStable()
	}
	return next{}, err
}

// targetTaken says who has the listen address of a target: it is an *EnabledError or a *TakenError.
func (h *Env) targetTaken(dir pidfile.Dir, t target) error {
	err := h.takenError(dir, t.listen.Addr)
	var taken *TakenError
	if errors.As(err, &taken) {
		taken.Stable = t.isStable()
	}
	return err
}

// takenError says who has the address: it is an *EnabledError or a *TakenError.
func (h *Env) takenError(dir pidfile.Dir, address netip.AddrPort) error {
	holder, _ := tunnel.Holder(address) // before the records, see taken
	return h.heldError(dir, address, holder)
}

func (h *Env) heldError(dir pidfile.Dir, address netip.AddrPort, holder tunnel.Held) error {
	for _, at := range slices.Compact([]netip.AddrPort{address, holder.On}) { // it may be on every address, or the other way round
		if !at.IsValid() { // nobody holds it
			continue
		}
		if rec, ok := h.tunnelAt(dir, at); ok {
			held := tunnel.Held{Peer: tunnel.Peer{PID: rec.Tunnel.PID, Program: rec.Program}, On: at}
			return &TakenError{Address: address, Holder: held, Route: rec.Route}
		}
	}
	if entry, ok := h.enabledAt(address); ok {
		return &EnabledError{entry}
	}
	return &TakenError{Address: address, Holder: holder}
}

// tunnelAt finds the tunnel of ours that serves the address.
func (h *Env) tunnelAt(dir pidfile.Dir, address netip.AddrPort) (pidfile.Record, bool) {
	entries, err := dir.List()
	if err != nil {
		return pidfile.Record{}, false
	}
	for _, e := range entries {
		if e.Err == nil && e.Record.Public() == address && running(e.Record) {
			return e.Record, true
		}
	}
	return pidfile.Record{}, false
}
