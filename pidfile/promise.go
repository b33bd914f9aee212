package pidfile

import (
	"slices"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// Promise is what was asked of a tunnel's life. Starts add to it, a stop takes all of it back. The fields have the names of
// start's flags.
type Promise struct {
	ForGood   bool               `json:"kept"`       // by a plain start: the tunnel outlives the processes of EndWith
	EndWith   []process.Identity `json:"holders"`    // it ends with the last of these processes
	IdleStop  time.Duration      `json:"idle_stop"`  // it ends when nobody was connected for so long; nanoseconds, 0 for never
	KeepAlive bool               `json:"keep_alive"` // its program is started again when it dies under a client
}

// Add adds what another start asks for. Of two times the last one counts. Processes that have ended make room.
func (p *Promise) Add(asked Promise) {
	p.ForGood = p.ForGood || asked.ForGood
	p.KeepAlive = p.KeepAlive || asked.KeepAlive
	if asked.IdleStop > 0 {
		p.IdleStop = asked.IdleStop
	}
	var more []process.Identity
	for _, id := range asked.EndWith {
		if !slices.Contains(p.EndWith, id) && !slices.Contains(more, id) {
			more = append(more, id)
		}
	}
	if len(more) > 0 {
		p.EndWith = append(Alive(p.EndWith), more...)
	}
}

// Equal tells whether two promises are the same.
func (p Promise) Equal(q Promise) bool {
	return p.ForGood == q.ForGood && p.KeepAlive == q.KeepAlive && p.IdleStop == q.IdleStop && slices.Equal(p.EndWith, q.EndWith)
}

// Alive leaves out the processes that have ended.
func Alive(ids []process.Identity) []process.Identity {
	return slices.DeleteFunc(slices.Clone(ids), func(id process.Identity) bool { return !id.Alive() })
}
