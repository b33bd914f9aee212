package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// orderVariable is the environment variable that tells a keeper what to keep. The environment of a process is private
// to its user; the record, which the keeper finds by it, holds no arguments.
const orderVariable = "TUNHOOK_KEEPER"

// order is what a keeper is told at its birth.
type order struct {
	Route, Listen, Token string
	// Argv is how to launch the tunnel program again; none where the keeper's parent did not know. Arguments may be any bytes,
	// and of what is no UTF-8 JSON would make something else.
	Argv      [][]byte
	Variables [][]byte // what the configuration gives it besides the caller's environment
	// Quiet says that nobody shall be told on the desktop.
	Quiet bool
}

// keeperCommand is the argument that makes tunhook a keeper.
const keeperCommand = "keeper"

// ensureKeeper starts a keeper for the record if it needs one that is not there. The keeper waits for the lock: one that does
// not find itself in the record then goes away.
func (tx *transaction) ensureKeeper() error {
	rec := &tx.rec
	switch {
	case !rec.Watched() || rec.Ending:
		return nil
	case rec.Keeper.Alive() && !tx.newKeeper:
		return wake(rec.Keeper)
	}
	told, err := json.Marshal(order{rec.Route, rec.Listen, rec.Token, allBytes(tx.program.argv), allBytes(tx.program.env), tx.Quiet})
	if err != nil {
		return err
	}
	log, err := logOrNowhere(*rec)
	if err != nil {
		return err
	}
	defer log.Close()
	environ := append(withToken(tx.Environ, ""), orderVariable+"="+string(told))
	launched, err := tx.launchProgram([]string{tx.Self, keeperCommand}, environ, log)
	if err != nil {
		return err
	}
	rec.KeeperKnows = len(tx.program.argv) > 0
	rec.Keeper, err = process.Identify(launched.PID)
	return err
}

// wake has a keeper go on that a signal has stopped: another one may not know what this one does.
func wake(keeper process.Identity) error {
	if !keeper.Stopped() {
		return nil
	}
	p, err := process.Open(keeper)
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Signal(syscall.SIGCONT)
}

// logOrNowhere opens a tunnel's log to add to it. Somebody may have removed or replaced it: then what is said goes nowhere, since it is
// not worth a promise.
func logOrNowhere(rec pidfile.Record) (*os.File, error) {
	log, err := pidfile.OpenOwn(rec.Log, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		log, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	return log, err
}

func allBytes(texts []string) (all [][]byte) {
	for _, text := range texts {
		all = append(all, []byte(text))
	}
	return all
}

func allText(texts [][]byte) (all []string) {
	for _, text := range texts {
		all = append(all, string(text))
	}
	return all
}

// How long a keeper sleeps before it looks at connections and at its record again: longer each time that nothing has
// changed. A look costs about 1 ms of CPU. Processes that end wake it at once.
const (
	minSleep  = 100 * time.Millisecond
	deadSleep = 500 * time.Millisecond // at most, while the tunnel program is dead
	endSleep  = time.Second            // likewise, while only the last client is waited for, or a stop
	maxSleep  = 3 * time.Second
)

// Keep is the keeper: it watches one tunnel until nothing is promised of it any more, and returns then. It is told
// which through its environment. Lines on what it does go to stdout, which is the tunnel's log.
func (h *Env) Keep(ctx context.Context, log *os.File) error {
	var o order
	if err := json.Unmarshal([]byte(tunnel.Getenv(h.Environ, orderVariable)), &o); err != nil {
		return fmt.Errorf("keeper: %s does not say what to keep: %w", orderVariable, err)
	}
	dir, err := h.records(false)
	if err != nil {
		return err
	}
	self, err := process.Self()
	if err != nil {
		return err
	}
	k := &keeper{Env: h, order: o, dir: dir, self: self, log: log, lastUse: time.Now()}
	if recorded, err := k.recorded(ctx); err != nil || !recorded {
		return err
	}
	k.network, k.slept = tunnel.WatchNetwork(), k.Env.slept()
	k.moved = time.Now() // what happened before this keeper was there counts, too
	defer k.network.Close()
	defer k.closeVisits()
	defer k.unasked.drop()
	k.signIns = signInWatch{Env: h}
	defer k.signIns.close()
	return k.watch(ctx)
}

// keeper is one keeper at work.
type keeper struct {
	*Env
	order
	dir  pidfile.Dir
	self process.Identity
	log  *os.File

	rec       pidfile.Record     // as it was read last
	lost      bool               // it is not there any more, or is another tunnel's
	failed    error              // what kept the keeper from doing its work at the last step, if anything did
	lastUse   time.Time          // when somebody was connected last, or could not be yet
	caller    process.Identity   // the record's, once it was seen to live on after the start that it called
	called    time.Time          // when that start promised something
	connected bool               // at the last look
	ends      string             // the connections, to notice that they have changed
	clients   []process.Identity // processes that have been connected
	watched   []process.Identity // processes that lived when the last sleep began, and whose end would have ended it
	quiet     time.Duration      // the last sleep, if nothing has changed since

	signIns signInWatch

	visits     *tunnel.Visits // connections between two looks; nil while they do not matter
	promised   time.Time      // the record's Promised, as it was seen last
	used       bool           // somebody else has connected since
	handed     time.Time      // the record's HandedOver, as it was seen last
	handedFrom time.Time      // when that was seen first
	came       bool           // somebody has connected since

	network *tunnel.NetworkWatch
	moved   time.Time     // when the network was seen to change last, or the machine to have slept; zero once that was looked into
	slept   time.Duration // as it was seen last
	shaken  bool          // see view

	deadFrom   time.Time // when the tunnel program was found dead; zero while it lives
	endingFrom time.Time // when it was found that somebody ends the tunnel; zero while nobody does
	stopFrom   time.Time // when it was found that it ends after its last client; zero while it does not
	failures   int       // launches in a row after which the tunnel program did not live long
	nextTry    time.Time // when to launch it again
	again      time.Time // when it was launched again last
	owes       bool      // see view
	unasked    unasked
}

func (k *keeper) key() pidfile.Key { return pidfile.Key{Route: k.Route, Listen: k.order.Listen} }

// recorded waits until whoever started the keeper has written the record, and tells whether that names this keeper.
func (k *keeper) recorded(ctx context.Context) (mine bool, err error) {
	_, err = k.update(ctx, k.dir, k.key(), k.Token, func(tx *transaction) error {
		k.rec = tx.rec
		mine = tx.rec.Keeper == k.self
		return nil
	})
	return mine, err
}

// watch returns when there is nothing left to watch. What fails is tried again: the promises stand.
func (k *keeper) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		did, err := k.step(ctx)
		if did == leave {
			return err
		}
		k.complain(err)
		if did != goOn && did != revive && did != refresh && err == nil {
			continue // it is gone, or is not as it was
		}
		k.sleep()
	}
	return nil
}

// step does what is to be done now, and tells what that was.
func (k *keeper) step(ctx context.Context) (verdict, error) {
	mine, err := k.read()
	if err != nil {
		return goOn, err
	}
	if !mine {
		return leave, nil
	}
	if !k.order.Quiet {
		k.signIns.look(k.rec, k.toldBySomebody() || k.unasked.quiet(k.rec.Tunnel))
	}
	if err := k.lookAtPages(ctx); err != nil {
		return goOn, err
	}
	now := time.Now()
	v := decide(k.rec, k.look(now))
	switch v {
	case leave:
		return k.resign(ctx)
	case endIt:
		return v, k.end(ctx)
	case handOver:
		return v, k.change(ctx, v, func(rec *pidfile.Record) { rec.HandedOver = k.Now() })
	case noteUse:
		return v, k.change(ctx, v, func(rec *pidfile.Record) { rec.Promised, rec.Beside = time.Time{}, nil })
	case revive, refresh:
		if now.After(k.nextTry) {
			k.revive(ctx, v)
		}
	}
	return v, nil
}

// toldBySomebody tells whether a start waits for the tunnel, or a listener for its client's answer, and tells of a sign-in. A run has
// waited for it as a start, and stays.
func (k *keeper) toldBySomebody() bool {
	rec := k.rec
	return rec.Starter.Alive() || rec.OnTrial() || rec.Front.IsValid() || rec.Prober.Alive() && !slices.Contains(rec.EndWith, rec.Prober)
}

// complain logs an error, once for as long as it stays the same.
func (k *keeper) complain(err error) {
	if err != nil && (k.failed == nil || err.Error() != k.failed.Error()) {
		fmt.Fprintf(k.log, "keeper: %v\n", err)
	}
	k.failed = err
}

// read reads the record, and tells whether the tunnel is still this keeper's. So it is also where the record is gone
// and the tunnel is not: the system has removed the directory of the records perhaps, as it does after a user's last
// logout, and there is nobody else who knows of the tunnel.
func (k *keeper) read() (mine bool, err error) {
	rec, err := k.dir.Read(k.key())
	if err == nil && rec.Token == k.Token {
		k.take(rec)
		k.lost = false
		return rec.Keeper == k.self, nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		k.lost = true
		return running(k.rec), nil
	}
	return false, err
}

// take takes a record for the one to go by.
func (k *keeper) take(rec pidfile.Record) {
	if rec.Tunnel != k.rec.Tunnel { // another one has launched it again, and knows the network as it is now
		k.shaken = false
	}
	if rec.Tunnel != k.rec.Tunnel || !slices.Equal(rec.EndWith, k.rec.EndWith) {
		k.quiet = 0 // there may be a process that no sleep has watched yet
	}
	k.rec = rec
}

// end ends the tunnel. Where its record is gone there is none to lock, and none to keep right.
func (k *keeper) end(ctx context.Context) error {
	grace := graceOf(k.rec.EndGrace)
	if k.owes && !k.deadFrom.IsZero() {
		fmt.Fprintf(k.log, "keeper: %s did not come up again, and nobody is there for whom to go on: the next start launches it\n", k.rec.Program)
	}
	if k.lost {
		err := endProcesses(k.rec, grace)
		if err == nil && k.rec.After {
			err = k.runAfter(ctx, k.rec)
		}
		return err
	}
	return k.endIf(ctx, k.dir, k.rec, grace, k.still(endIt))
}

// still tells, of the record as it is under the lock, whether the verdict on it is the same.
func (k *keeper) still(v verdict) func(pidfile.Record) bool {
	return func(rec pidfile.Record) bool {
		if rec.Token != k.Token || rec.Keeper != k.self {
			return false
		}
		k.take(rec)
		return decide(rec, k.look(time.Now())) == v
	}
}

// look takes in the state of the tunnel.
func (k *keeper) look(now time.Time) view {
	v := view{
		now: now, alive: lives(k.rec),
		holders:   len(pidfile.Alive(k.rec.EndWith)) > 0,
		canRevive: len(k.Argv) > 0 && !(k.unasked.gaveWay && k.rec.Tunnel == k.unasked.program),
	}
	if v.alive {
		k.deadFrom = time.Time{}
	} else if k.deadFrom.IsZero() {
		k.deadFrom = now
	}
	if !k.rec.Ending {
		k.endingFrom = time.Time{}
	} else if k.endingFrom.IsZero() {
		k.endingFrom = now
	}
	if !k.rec.EndIdle {
		k.stopFrom = time.Time{}
	} else if k.stopFrom.IsZero() {
		k.stopFrom = now
	}
	if k.owes && v.alive && now.Sub(k.again) > longLife && tunnel.Listening(k.rec.Address, k.rec.Session()) {
		k.owes = false
	}
	v.shaken, v.owes = k.lookAround(now), k.owes
	v.deadFrom, v.endingFrom, v.stopFrom = k.deadFrom, k.endingFrom, k.stopFrom
	ends, err := tunnel.Connections(k.rec.Public())
	v.connected = err != nil || len(ends) > 0 // what cannot be known must not cut anybody off
	if v.connected {
		k.remember(fmt.Sprint(ends))
	}
	k.lookForVisits(ends, v)
	if v.connected || k.connected || // somebody has left since the last look, which may be long ago
		k.countsIdle() && (startOnItsWay(k.rec) || tunnel.Free(k.rec.Address)) { // nobody can have connected yet
		k.lastUse = now
	}
	k.connected = v.connected
	k.clients = pidfile.Alive(k.clients)
	v.clients, v.lastUse = len(k.clients) > 0, k.lastUse
	v.handedFrom, v.came, v.used, v.passed = k.handedFrom, k.came, k.used, k.passed(now)
	return v
}

// startOnItsWay tells whether a start has not returned yet that waits for an answer, or has asked for --idle-stop.
func startOnItsWay(rec pidfile.Record) bool { return rec.Asking && rec.Prober.Alive() }

// networkRest is for how long nothing must have changed any more: changes come in a flurry, after a sleep above all.
const networkRest = 2 * time.Second

// looksAround tells whether it matters what happens to the machine: not to a program that makes a connection for each client's.
func (k *keeper) looksAround() bool { return !k.rec.Anew && k.rec.Around != nil }

// lookAround tells whether what has happened to the machine since the tunnel last was known to work may have cut its own connection
// off. What the network is it asks only when that has changed, and has come to rest, and when the tunnel listens: what comes before its
// program may change it, and one that is just connecting has nothing to lose.
func (k *keeper) lookAround(now time.Time) bool {
	if !k.looksAround() {
		return false
	}
	slept := k.Env.slept()
	if k.network.Changed() || slept-k.slept >= longSleep {
		k.moved = now
	}
	k.slept = slept
	if !k.moved.IsZero() && now.Sub(k.moved) >= networkRest && !tunnel.Free(k.rec.Address) {
		k.moved = time.Time{}
		k.shaken = !offline(*k.rec.Around, tunnel.Network()) && k.mayBeDead(k.rec) && !k.leftToStart() // another one could not connect either
	}
	return k.shaken
}

// scriptEnd is the time after a start in which the script that called it has ended if it had no more to do.
const scriptEnd = time.Second

// passed tells whether the script that called the last start has ended right after it, and so has not run the client
// itself: it is the client's own command before connecting. When it has ended is not known, only that it was there still at a look:
// on a busy machine the next one may come late.
func (k *keeper) passed(now time.Time) bool {
	if !k.rec.Promised.IsZero() && !k.rec.Promised.Equal(k.called) { // another start's
		k.called, k.caller = k.rec.Promised, process.Identity{}
	}
	caller := k.rec.Caller
	if caller.Alive() {
		if now.Sub(k.called) >= scriptEnd {
			k.caller = caller
		}
		return false
	}
	return caller != (process.Identity{}) && k.caller != caller
}

// untilScriptEnd is for how long to sleep at most, so that there is a look that tells whether that script lives on.
func (k *keeper) untilScriptEnd() time.Duration {
	if caller := k.rec.Caller; caller == k.caller || !caller.Alive() {
		return maxSleep
	}
	return max(time.Until(k.called.Add(scriptEnd)), minSleep)
}

// countsIdle tells whether it matters for how long nobody was connected.
func (k *keeper) countsIdle() bool { return k.rec.IdleStop > 0 || !k.rec.HandedOver.IsZero() }

// lookForVisits takes in who has come since the last look, also for a shorter time: that may be the client that a start
// has promised the tunnel, or that another one has handed over to.
func (k *keeper) lookForVisits(from []netip.AddrPort, v view) {
	if k.visits != nil {
		ended := k.visits.Ended()
		if ended {
			k.lastUse = v.now
		}
		k.came = k.came || ended || k.visits.New(from)
		k.used = k.used || ended || len(without(from, k.rec.Beside)) > 0
	}
	if !k.rec.HandedOver.Equal(k.handed) {
		k.closeVisits()
		k.handed, k.handedFrom = k.rec.HandedOver, v.now
		k.came = v.connected && !v.holders // otherwise it may be a holder's client
	}
	if !k.rec.Promised.Equal(k.promised) {
		k.closeVisits() // what that start itself has connected for may still be there
		k.promised = k.rec.Promised
		k.used = len(without(from, k.rec.Beside)) > 0
		k.lastUse = v.now // a client is to come
	}
	if k.rec.Starter.Alive() || k.rec.OnTrial() { // while somebody signs in nobody can connect
		k.handedFrom = v.now
	}
	switch {
	case !k.countsIdle() && k.promised.IsZero():
		k.closeVisits()
	case k.visits == nil:
		k.visits = tunnel.WatchVisits(k.rec.Public(), k.rec.Beside...)
	}
}

// without leaves out those that are among others.
func without(from, others []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(from), func(f netip.AddrPort) bool { return slices.Contains(others, f) })
}

func (k *keeper) closeVisits() {
	if k.visits != nil {
		k.visits.Close()
		k.visits = nil
	}
}

// remember notes who is connected; finding that out is slow, so only when the connections have changed.
func (k *keeper) remember(ends string) {
	if ends == k.ends {
		return
	}
	k.ends, k.quiet = ends, 0
	peers, err := tunnel.Clients(k.rec.Public())
	if err != nil {
		return
	}
	for _, p := range peers {
		if id, err := process.Identify(p.PID); err == nil && !slices.Contains(k.clients, id) {
			k.clients = append(k.clients, id)
		}
	}
}

// sleep waits for the next thing to look at: the end of a process that matters, or a change that only looking shows. A
// process that has ended since the last sleep may have done so after the look that came between: then there is no
// sleep.
func (k *keeper) sleep() {
	var open []*process.Process
	var watched []process.Identity
	ended := false
	for _, id := range slices.Concat([]process.Identity{k.rec.Tunnel}, k.rec.EndWith, k.clients) {
		p, err := process.Open(id)
		if errors.Is(err, process.ErrGone) {
			ended = ended || slices.Contains(k.watched, id)
			continue
		}
		watched = append(watched, id)
		if err == nil {
			defer p.Close()
			open = append(open, p)
		}
	}
	k.watched = watched
	if ended {
		k.quiet = 0
		return
	}
	before := k.quiet
	k.quiet = min(max(2*k.quiet, minSleep), k.longest(), k.untilScriptEnd())
	if before < calmAfter && k.quiet >= calmAfter {
		rest()
	}
	began := time.Now()
	process.WaitAny(open, k.quiet)
	if time.Since(began) < k.quiet {
		k.quiet = 0
	}
}

// longest is the longest sleep that still keeps the promises in time.
func (k *keeper) longest() time.Duration {
	switch {
	case !k.deadFrom.IsZero(), k.unasked.held.holding():
		return deadSleep
	case k.looksAround() && !k.moved.IsZero():
		return endSleep
	case k.rec.EndIdle, k.rec.Ending, // what leaves need not be a process that ends; nor does a stop that is killed
		!k.rec.HandedOver.IsZero() && !k.came:
		return endSleep
	case k.rec.IdleStop > 0:
		return min(max(k.rec.IdleStop/4, minSleep), maxSleep)
	case !k.rec.HandedOver.IsZero():
		return timeToReconnect / 4
	}
	return maxSleep
}

// resign takes the keeper out of the record, unless a new promise was made meanwhile.
func (k *keeper) resign(ctx context.Context) (verdict, error) {
	did := leave
	_, err := k.update(ctx, k.dir, k.key(), k.Token, func(tx *transaction) error {
		rec := tx.rec
		if rec.Keeper != k.self {
			return nil
		}
		if rec.ForGood {
			rec.EndWith, rec.HandedOver = pidfile.Alive(rec.EndWith), time.Time{}
		}
		if rec.Watched() || rec.Ending {
			k.rec, k.quiet, did = rec, 0, goOn
			return nil
		}
		rec.Keeper = process.Identity{}
		tx.rec = rec
		return nil
	})
	if err != nil {
		did = goOn
	}
	return did, err
}

// Backoff between two launches of a tunnel program that dies again and again, and the life after which it counts as
// well.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 5 * time.Second
	maxUnasked = time.Minute // likewise, of one that nobody has asked to be kept alive
	longLife   = 10 * time.Second
)

// change writes what a verdict makes of the record.
func (k *keeper) change(ctx context.Context, v verdict, change func(*pidfile.Record)) error {
	if k.lost {
		change(&k.rec)
		return nil
	}
	_, err := k.update(ctx, k.dir, k.key(), k.Token, func(tx *transaction) error {
		if k.still(v)(tx.rec) {
			change(&tx.rec)
		}
		return nil
	})
	return err
}

// revive launches the tunnel program again, on the same address, as the verdict on it was.
func (k *keeper) revive(ctx context.Context, v verdict) {
	if k.nextTry.IsZero() || time.Since(k.nextTry) > longLife {
		k.failures = 0
	}
	most := maxUnasked
	if k.rec.KeepAlive {
		most = maxBackoff
	}
	k.failures++
	k.again = time.Now()
	k.nextTry = k.again.Add(min(minBackoff<<min(k.failures, 9), most))
	if err := k.relaunch(ctx, v); err != nil {
		fmt.Fprintf(k.log, "keeper: starting %s again: %v\n", k.rec.Program, err)
	}
}

func (k *keeper) relaunch(ctx context.Context, v verdict) error {
	_, err := k.update(ctx, k.dir, k.key(), k.Token, func(tx *transaction) error {
		if !k.still(v)(tx.rec) {
			return nil
		}
		program := program{argv: allText(k.Argv), env: allText(k.Variables)}
		k.unasked.drop()
		k.unasked = unasked{left: k.unasked.left}
		owed := k.owes
		if owed || v == refresh {
			held, err := k.holdPagesOf(tx.rec.Key())
			if err != nil {
				return fmt.Errorf("its pages cannot be held back: %w", err)
			}
			k.owes, k.unasked.held = true, held
			program.asks = append(held.environ(), askNobody)
		}
		if err := endProcesses(tx.rec, time.Second); err != nil { // what the dead program has left behind
			return err
		}
		if _, err := (tunnel.Listen{Addr: tx.rec.Address}).Reserve(); err != nil {
			return err
		}
		dead := tx.rec
		tx.rec.Unasked = k.unasked.held != nil
		why := "died while its client was there"
		switch {
		case v == refresh:
			why = "may have lost its connection while the machine slept or its network changed"
		case owed:
			why = "did not stay in the place of the one before"
		}
		fmt.Fprintf(k.log, "keeper: %s (pid %d) %s: starting it again\n", dead.Program, dead.Tunnel.PID, why)
		// What it was lost with, a VPN perhaps, may have to come first again. Where the configuration cannot be read, nobody knows what.
		if t, err := k.target(tx.rec.Route, tx.rec.Listen); err == nil {
			tx.stepsAgain(t.route)
		}
		if _, err := tx.launch(program, k.log); err != nil { // an update may be replacing the program
			tx.rec = dead // the next try finds it as this one did
			return errors.Join(err, tx.write())
		}
		k.shaken, k.unasked.program = false, tx.rec.Tunnel
		return nil
	})
	return err
}
