package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// upTunnel is the tunnel behind a listener.
type upTunnel struct {
	*start
	rec     pidfile.Record
	program *process.Process // nil where it has left its tunnel to its children
	file    fs.FileInfo      // the record's, when it was read last; nil before

	gone chan struct{} // closed when it is not the listener's any more
	told bool          // a client was answered since the last look at what the log says, and a sign-in told with it
}

func (u *upTunnel) alive() bool { return u.program != nil && !u.program.Wait(0) }

func (u *upTunnel) close() {
	close(u.gone)
	if u.program != nil {
		u.program.Close()
	}
}

// wanted tells whether no stop has come. The record is read only where its file is another one than at the last look: each
// connection would wait for that.
func (u *upTunnel) wanted() bool {
	file, err := u.dir.Stat(u.rec.Key())
	if err == nil && u.file != nil && os.SameFile(file, u.file) && file.ModTime().Equal(u.file.ModTime()) {
		return true
	}
	u.file = file
	return !u.unwanted(u.rec)
}

// closed says that the tunnel takes no connections.
func (u *upTunnel) closed() error {
	if lives(u.rec) {
		return u.failed(u.rec, tunnel.ErrClosed, "does not take connections any more")
	}
	return (&question{start: u.start, rec: u.rec}).failure(tunnel.ErrEnded)
}

// throughConn is a connection through the tunnel that was not answered yet.
type throughConn struct {
	*net.TCPConn
	first   string // the message that it begins with
	since   time.Time
	logFrom int64  // where in the log begins what concerns it
	url     string // where somebody has to sign in for it, as far as that was seen
}

// failure is why the last client was not answered.
type failure struct {
	err         error
	until, told time.Time
}

// answer waits until the server at the other end has answered the client, for one client at a time: each one more might
// ask for a sign-in of its own. It gives the connection through the tunnel, on which the answer waits to be read, and
// how much of what the client has said was passed on there. The context waiting ends with the client, ctx with the
// listener.
func (l *listener) answer(ctx, waiting context.Context, client *tunnel.Incoming, first string) (*net.TCPConn, int, error) {
	came := time.Now()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-waiting.Done():
		return nil, 0, context.Cause(waiting)
	}
	if came.Before(l.stopped.at) {
		return nil, 0, l.stopped.err
	}
	if time.Now().Before(l.failure.until) {
		return nil, 0, l.failure.err
	}
	waiting, cancel := context.WithTimeout(waiting, l.req.Timeout)
	defer cancel()
	through, passed, err := l.throughTunnel(ctx, waiting, client, first)
	if l.up != nil {
		l.up.told = true
	}
	if err != nil {
		l.failed(err)
		return nil, 0, err
	}
	l.failure = failure{}
	l.calm.Reset(calmAfter)
	l.serves(client.TCPConn, true) // before anybody else has the turn, who may find the tunnel dead
	return through, passed, nil
}

// signInLook is how often the log of a tunnel that is up is looked at for a sign-in.
const signInLook = 3 * time.Second

// watchSignIns tells of a sign-in that the tunnel program asks for while nobody waits for an answer, until the tunnel is let go.
func (l *listener) watchSignIns(up *upTunnel) {
	watch := signInWatch{Env: l.Env}
	defer watch.close()
	for {
		select {
		case l.turn <- struct{}{}: // whoever has the turn tells of it
			watch.look(up.rec, up.told)
			up.told = false
			<-l.turn
		case <-up.gone:
			return
		}
		select {
		case <-time.After(signInLook):
		case <-up.gone:
			return
		}
	}
}

// firstMessage waits for what the client begins with: one that only looks whether the port is open shall start nothing.
func (l *listener) firstMessage(waiting context.Context, client *tunnel.Incoming) (string, error) {
	waiting, cancel := context.WithTimeoutCause(waiting, greeting, &tunnel.FirstMessageError{Ready: l.ready})
	defer cancel()
	first, err := client.FirstMessage(waiting, l.ready)
	return string(first), err
}

// failed remembers a failure for the client's next tries, and tells what is new of it.
func (l *listener) failed(err error) {
	if errors.Is(err, tunnel.ErrLeft) || errors.Is(err, context.Canceled) {
		return
	}
	now := time.Now()
	if errors.As(err, new(*StoppedError)) { // somebody has asked for it, and for what waits by now; whoever connects later wants it again
		l.stopped.at, l.stopped.err = now, err
		return
	}
	known := l.failure.err != nil && l.failure.err.Error() == err.Error() && now.Sub(l.failure.told) < sameFailure
	l.failure.err, l.failure.until = err, now.Add(failureMemory)
	if known {
		return
	}
	l.failure.told = now
	if l.req.Failed != nil {
		l.req.Failed(err)
	}
}

// throughTunnel says the first message through the tunnel. Where that was up before and proves dead, it is said once
// more through a new one; and where the server may come up late, again and again.
func (l *listener) throughTunnel(ctx, waiting context.Context, client *tunnel.Incoming, first string) (*net.TCPConn, int, error) {
	late, cancel := context.WithTimeout(waiting, l.late)
	defer cancel()
	var failed error // the last time, where it is tried again
	for again := false; ; again = true {
		before, err := l.ensureUp(ctx)
		if err != nil {
			return nil, 0, err
		}
		if errors.Is(context.Cause(waiting), tunnel.ErrLeft) { // nobody needs a connection, which may open a browser tab
			return nil, 0, tunnel.ErrLeft
		}
		if err := l.awaitParked(waiting, first); err != nil {
			return nil, 0, err
		}
		began := time.Now()
		through, err := l.connect(first)
		var passed int
		if err == nil {
			if passed, err = l.exchange(waiting, client, through, before && !again); err == nil {
				return through.TCPConn, passed, nil
			}
			if l.park(through, err) {
				if failed != nil && errors.Is(err, context.DeadlineExceeded) { // in the middle of the last try
					err = failed
				}
				return nil, 0, err
			}
		}
		switch {
		case !again && before && l.mayReplace(err, through):
			err = l.replace(ctx)
		case l.mayComeLate(err, through):
			failed = err
			err = l.pause(late, began, failed)
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

// mayComeLate tells whether what went wrong may be that the server is not up yet. It is where somebody is served.
func (l *listener) mayComeLate(err error, through *throughConn) bool {
	var failed *FailedError
	switch {
	case l.late == 0, !soundsDead(err), through != nil && through.url != "":
		return false
	case errors.As(err, &failed) && !mayPass(failed.Means):
		return false
	}
	return !l.inUse()
}

// pause waits until it is time to try once more. The error is what has failed where the time is over.
func (l *listener) pause(late context.Context, began time.Time, failed error) error {
	select {
	case <-late.Done():
		if cause := endedBy(context.Cause(late)); !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return failed
	case <-time.After(time.Until(began.Add(askPause))):
	}
	if l.up.unwanted(l.up.rec) {
		return &StoppedError{l.up.rec}
	}
	return nil
}

// ensureUp starts the tunnel where it is not up, or where somebody has stopped it meanwhile: whoever connects wants it
// again. It tells whether it was up before.
func (l *listener) ensureUp(ctx context.Context) (before bool, err error) {
	if l.up != nil && l.up.alive() && l.up.wanted() {
		l.up.launched = nil // what the log has told so far is of the past
		return true, nil
	}
	l.drop()
	if l.dir, err = l.records(true); err != nil { // somebody may have removed it: the system does so after a user's last logout
		return false, err
	}
	req := StartRequest{Args: l.req.Args, Ready: tunnel.ReadyListen, EndWith: []process.Identity{l.self}}
	if l.route.Provider.SignsIn() {
		req.Timeout = l.req.Timeout
	}
	s := newStart(l.Env, l.target, l.dir, req)
	s.front = l.listen.Addr
	started, err := s.do(ctx)
	if err != nil {
		return false, err
	}
	l.up = &upTunnel{start: s, rec: started.Record, gone: make(chan struct{})}
	go l.watchSignIns(l.up)
	if l.up.program, err = process.Open(started.Record.Tunnel); errors.Is(err, process.ErrGone) {
		err = nil
	}
	return started.Found, err
}

// drop forgets the tunnel.
func (l *listener) drop() {
	l.unpark()
	if l.up != nil {
		l.up.close()
		l.up = nil
	}
}

// awaitParked waits while another client's abandoned connection still waits for somebody to sign in: one more would
// open another browser tab.
func (l *listener) awaitParked(waiting context.Context, first string) error {
	p := l.parked
	if p == nil || p.first == first {
		return nil
	}
	if time.Since(p.since) < l.req.Timeout && tunnel.Quiet(p.TCPConn) {
		q := &question{
			start: l.up.start, rec: l.up.rec, logFrom: p.logFrom, what: l.answerWaited(),
			ask:     func(ctx context.Context) error { return tunnel.AwaitAnswer(ctx, p.TCPConn) },
			givenUp: func() bool { return time.Since(p.since) > signInPause },
		}
		defer q.close()
		err := q.await(waiting)
		if errors.Is(err, tunnel.ErrLeft) {
			return err
		}
	}
	l.unpark()
	return nil
}

// connect makes a connection through the tunnel, or takes the one that a client with the same first message has
// abandoned.
func (l *listener) connect(first string) (*throughConn, error) {
	if p := l.parked; p != nil && p.first == first && tunnel.Quiet(p.TCPConn) {
		l.parked = nil
		return p, nil
	}
	l.unpark()
	from, err := l.up.logEnd(l.up.rec)
	if err != nil {
		return nil, err
	}
	const patience = 5 * time.Second
	conn, err := net.DialTimeout("tcp", l.up.rec.Address.String(), patience)
	if err != nil {
		return nil, l.up.closed()
	}
	t := &throughConn{TCPConn: conn.(*net.TCPConn), first: first, since: time.Now(), logFrom: from}
	if _, err := t.Write([]byte(first)); err != nil {
		t.Close()
		return nil, l.up.closed()
	}
	return t, nil
}

// exchange waits for the first answer. Where nothing is known of the protocol it may be the client's turn to speak:
// then nobody shall wait behind a client and a server that both are silent.
func (l *listener) exchange(waiting context.Context, client *tunnel.Incoming, through *throughConn, impatient bool) (passed int, err error) {
	began := time.Now()
	q := &question{start: l.up.start, rec: l.up.rec, logFrom: through.logFrom, what: l.answerWaited(), upBefore: impatient}
	defer q.close()
	unknown := l.ready == tunnel.ReadyListen
	if impatient || unknown {
		q.givenUp = func() bool { return time.Since(began) > silence && (unknown || !l.inUse()) }
	}
	passed = len(through.first)
	q.ask = func(ctx context.Context) error {
		if !unknown {
			return tunnel.AwaitAnswer(ctx, through.TCPConn)
		}
		passed, err = client.PassOn(ctx, through.TCPConn)
		return err
	}
	err = q.await(waiting)
	through.url = q.url
	if unknown && errors.Is(err, errDead) && (!impatient || l.inUse()) {
		err = nil
	}
	return passed, err
}

func (l *listener) answerWaited() string {
	return fmt.Sprintf("for an answer through %s", l.up.rec.Program)
}

// park keeps a connection whose client has left, or was left without an answer for too long, for the next one: somebody
// may be signing in for it. It tells whether it does; otherwise the connection is ended.
func (l *listener) park(t *throughConn, why error) bool {
	waits := errors.Is(why, tunnel.ErrLeft) || errors.Is(why, context.DeadlineExceeded)
	if !waits || l.ready == tunnel.ReadyListen { // of other protocols nobody knows what the next client will say
		tunnel.Abandon(t.TCPConn)
		return false
	}
	l.unpark()
	l.parked = t
	return true
}

func (l *listener) unpark() {
	if l.parked != nil {
		tunnel.Abandon(l.parked.TCPConn)
		l.parked = nil
	}
}

// mayReplace tells whether what went wrong is the tunnel's death, so that a new one may do better, and nobody would
// miss the old one.
func (l *listener) mayReplace(err error, through *throughConn) bool {
	if through != nil && through.url != "" {
		return false
	}
	var failed *FailedError
	switch {
	case errors.Is(err, errDead), errors.Is(err, tunnel.ErrEnded):
	case errors.As(err, new(*StoppedError)): // by its keeper perhaps, which has found it idle: nobody was connected a moment ago
	case errors.As(err, &failed) && errors.Is(failed.Err, tunnel.ErrClosed) && mayPass(failed.Means):
	default:
		return false
	}
	return !lives(l.up.rec) || !l.inUse() // its children may serve somebody though its program has left
}

// mayPass tells whether a failure may be that of the one tunnel, which was up before.
func mayPass(means tunnel.Meaning) bool {
	switch means {
	case "", tunnel.Down, tunnel.Unreachable, tunnel.UnknownName, tunnel.GatewayFault:
		return true
	}
	return false
}

// replace ends the tunnel for another one to take its place.
func (l *listener) replace(ctx context.Context) error {
	up := l.up
	l.drop()
	asBefore := func(now pidfile.Record) bool { return now.Tunnel == up.rec.Tunnel } // its keeper may have seen to that just now
	return l.endIf(ctx, l.dir, up.rec, deadGrace, asBefore)
}

// turnAway says that a connection was none of a client's. One that only looked is not worth a word.
func (l *listener) turnAway(conn *net.TCPConn, why error) {
	if errors.Is(why, tunnel.ErrLeft) || errors.Is(why, context.Canceled) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turned++
	if l.turned&(l.turned-1) != 0 {
		return // whoever tries a thousand times does not fill the log
	}
	l.notice(Turned{tunnel.AddrPort(conn.RemoteAddr()), why, l.turned})
}
