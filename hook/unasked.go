package hook

import (
	"context"
	"fmt"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// Where a keeper replaces a program whose connection may be dead, nobody has asked for that. So it opens no page: a program that is known
// to ask somebody to sign in before it listens is left as it is, and of any other the pages are held back until it listens. One that
// wants to open a page before gives way. The next start does either's work, and its page was asked for. Nor is anything asked on the
// desktop: an ssh that would have to fails.

// askNobody keeps ssh from asking for a passphrase or a host key on the user's desktop, by its own askpass program, ssh(1).
const askNobody = "SSH_ASKPASS_REQUIRE=never"

// unasked is what a keeper has launched in such a way.
type unasked struct {
	held    *heldPages
	program process.Identity // whose pages they are
	gaveWay bool             // it has asked for a sign-in, and was ended
	left    process.Identity // the program of which was said last that it is left as it is
}

// drop ends the holding back. The program has ended, or may open pages.
func (u *unasked) drop() {
	u.held.close()
	u.held = nil // the file may be another's from now on
}

// quiet tells whether nobody is to be told of a page that the program asks to open.
func (u *unasked) quiet(program process.Identity) bool {
	return program == u.program && (u.gaveWay || u.held.holding())
}

// leftToStart tells whether the tunnel's program, which may be dead, is not to be replaced by its keeper.
func (k *keeper) leftToStart() bool {
	t, err := k.target(k.rec.Route, k.rec.Listen)
	if err != nil || !t.route.Provider.AsksFirst() { // of one that is not known any more the pages are held back
		return false
	}
	if k.unasked.left != k.rec.Tunnel {
		k.unasked.left = k.rec.Tunnel
		fmt.Fprintf(k.log, "keeper: %s (pid %d) may have lost its connection, and may ask somebody to sign in: it is left to the next start\n",
			k.rec.Program, k.rec.Tunnel.PID)
	}
	return true
}

// lookAtPages lets pages be opened once the program listens: who connects has asked for them. A program that wants to before is ended,
// unless a start waits for it by now.
func (k *keeper) lookAtPages(ctx context.Context) error {
	u := &k.unasked
	switch {
	case !u.held.holding():
		return nil
	case u.program != k.rec.Tunnel || !lives(k.rec): // another one was launched
		u.drop()
		return nil
	case tunnel.Listening(k.rec.Address, k.rec.Session()):
		u.held.free()
		u.drop()
		return nil
	case !u.held.wanted():
		return nil
	}
	_, err := k.update(ctx, k.dir, k.key(), k.Token, func(tx *transaction) error {
		switch {
		case tx.rec.Tunnel != u.program:
			return nil
		case startOnItsWay(tx.rec):
			u.held.free()
			u.drop()
			return nil
		}
		fmt.Fprintf(k.log, "keeper: %s (pid %d) asks somebody to sign in: it is left to the next start\n", tx.rec.Program, tx.rec.Tunnel.PID)
		if err := endProcesses(tx.rec, time.Second); err != nil {
			return err
		}
		u.drop()
		u.gaveWay, k.owes = true, false
		return nil
	})
	return err
}
