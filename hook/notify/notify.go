// Package notify shows desktop notifications where there is a desktop, and does nothing, without a word, where there is none.
//
// The protocol is that of the Desktop Notifications Specification 1.2, org.freedesktop.Notifications on the session bus.
package notify

import (
	"context"
	"sync"
	"time"
)

const (
	// patience bounds how long Close waits for a desktop that is slow or hangs: whoever waits for tunhook has nothing to do with that.
	patience = time.Second
	// callPatience bounds one call of the server, which nobody waits for. On a busy machine it may take seconds to get the processor.
	callPatience = 5 * time.Second
)

// Message is what a notification says: plain text, of which control characters and what is too long are left out.
type Message struct {
	Summary string // one line
	Body    string // lines end with "\n"
}

// SignIn is a notification that somebody has to sign in.
type SignIn struct {
	Message
	URL    string        // opened on a click, if it is an http or https URL
	Button string        // the label of the button that opens URL
	Expire time.Duration // after which it disappears even if its sender could not take it away; 0 is never
}

// Notifier shows the notifications of one process. Its methods return at once, Close excepted, and never fail: work goes to a
// goroutine, which connects to the desktop when there is first something to show. A nil Notifier shows nothing.
type Notifier struct {
	jobs    chan func(context.Context, *desktop)
	closing chan struct{}
	ended   chan struct{}
	cancel  context.CancelFunc
	close   sync.Once
}

// Open returns a Notifier for the session that environ, of the form of os.Environ, belongs to. It must be closed.
func Open(environ []string) *Notifier {
	ctx, cancel := context.WithCancel(context.Background())
	n := &Notifier{
		jobs:    make(chan func(context.Context, *desktop), 16),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
		cancel:  cancel,
	}
	go n.work(ctx, &desktop{environ: environ})
	return n
}

// Fail says that something failed. The notification stays on the screen as long as the user lets notifications stay, and outlives
// the Notifier.
func (n *Notifier) Fail(m Message) {
	n.enqueue(func(ctx context.Context, d *desktop) { d.fail(ctx, m) })
}

// SignIn shows that a sign-in is waited for, or replaces what it showed before. It shows nothing more about a URL whose
// notification the user has closed. The notification ends with SignedIn or Close.
func (n *Notifier) SignIn(s SignIn) {
	n.enqueue(func(ctx context.Context, d *desktop) { d.showSignIn(ctx, s) })
}

// SignedIn takes away what SignIn shows.
func (n *Notifier) SignedIn() {
	n.enqueue(func(ctx context.Context, d *desktop) { d.closeSignIn(ctx) })
}

// Close shows what is still to be shown, takes away what SignIn shows, and ends the Notifier. It waits for at most 1 s.
func (n *Notifier) Close() {
	if n == nil {
		return
	}
	n.close.Do(func() {
		defer n.cancel()
		close(n.closing)
		select {
		case <-n.ended:
		case <-time.After(patience):
		}
	})
}

// enqueue drops the job where the desktop has been hanging for many jobs already.
func (n *Notifier) enqueue(job func(context.Context, *desktop)) {
	if n == nil {
		return
	}
	select {
	case n.jobs <- job:
	default:
	}
}

func (n *Notifier) work(ctx context.Context, d *desktop) {
	defer close(n.ended)
	defer d.leave(ctx)
	for {
		select {
		case job := <-n.jobs:
			job(ctx, d)
		case s := <-d.signals:
			d.receive(s)
		case <-n.closing:
			n.finish(ctx, d)
			return
		}
	}
}

func (n *Notifier) finish(ctx context.Context, d *desktop) {
	for {
		select {
		case job := <-n.jobs:
			job(ctx, d)
		default:
			return
		}
	}
}
