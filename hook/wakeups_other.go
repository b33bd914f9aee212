//go:build !linux

package hook

import (
	"context"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
)

// wakeups tells of nothing here: one has to look by oneself.
type wakeups struct{ ctx context.Context }

func newWakeups(ctx context.Context, _ []place) *wakeups { return &wakeups{ctx} }

func (*wakeups) close()      {}
func (*wakeups) arm()        {}
func (*wakeups) blind() bool { return true }

func (w *wakeups) sleep(_ []*process.Process, _ *tunnel.SocketEnds, d time.Duration) (told bool) {
	pauseFor(w.ctx, d)
	return false
}
