package hook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// waitPause is the pause between two looks for something that somebody else starts.
const waitPause = 10 * time.Millisecond

// Wait waits until the tunnel of that route and listen address is ready, for at most timeout, and gives its address. It starts
// nothing, but waits also for somebody who is about to. A listener that is enabled is ready: the connection starts its tunnel. The error is a *NoTunnelError where nobody did, a *TimeoutError where
// the tunnel did not become ready, a *FailedError where its program ended.
func (h *Env) Wait(ctx context.Context, route, listen string, timeout time.Duration) (netip.AddrPort, error) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	if entry, ok := h.waits(route, listen); ok {
		return entry.Address, nil
	}
	defer h.waiting(fmt.Sprintf("for a tunnel for %s", route))()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		rec, err := h.record(route, listen)
		var none *NoTunnelError
		if err != nil && !errors.As(err, &none) {
			return netip.AddrPort{}, err
		}
		if err == nil && running(rec) {
			err = tunnel.WaitListening(limited, rec.Address, rec.Session())
			if err == nil && !rec.OnTrial() {
				return rec.Public(), nil
			}
			if failed := h.endedUnstopped(rec, err); failed != nil {
				return netip.AddrPort{}, failed
			}
		}
		if limited.Err() != nil {
			return netip.AddrPort{}, waitFailed(ctx, err, rec, route, timeout)
		}
		pause := waitPause
		if rec.OnTrial() { // which takes a server's time to answer
			pause *= 10
		}
		time.Sleep(pause)
	}
}

// endedUnstopped gives the error of a tunnel program that has ended although nobody stopped it, and nobody launches it again.
func (h *Env) endedUnstopped(rec pidfile.Record, err error) error {
	dir, dirErr := h.records(false)
	if dirErr != nil || !errors.Is(err, tunnel.ErrEnded) {
		return dirErr
	}
	if now, err := dir.Read(rec.Key()); err != nil || now.Token != rec.Token || now.Ending || relaunched(rec, now) {
		return nil
	}
	return &FailedError{
		Record: rec, Err: err, Reason: fmt.Sprintf("ended before it listened on %s", rec.Address),
		Lines: tellingLines(rec.Log, rec.LogFrom),
	}
}

func waitFailed(ctx context.Context, err error, rec pidfile.Record, route string, timeout time.Duration) error {
	var none *NoTunnelError
	var elsewhere *tunnel.ElsewhereError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &none):
		return &NobodyError{none, timeout}
	case errors.As(err, &elsewhere) && rec.Starter.Alive():
		return &TimeoutError{"nobody signed in for the tunnel for " + route, timeout}
	case errors.As(err, &elsewhere):
		return fmt.Errorf("the tunnel for %s: %w", route, elsewhere)
	}
	return &TimeoutError{"the tunnel for " + route + " was not ready", timeout}
}

// WaitListen waits until anybody listens on the address, for at most timeout. Nobody connects to find out. The error is a
// *TimeoutError or a *tunnel.ListenError.
func (h *Env) WaitListen(ctx context.Context, listen string, timeout time.Duration) (netip.AddrPort, error) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	l, err := tunnel.ParseAddress(listen)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer h.waiting(fmt.Sprintf("for anything to listen on %s", l.Addr))()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for tunnel.Free(l.Addr) {
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return l.Addr, ctx.Err()
			}
			return l.Addr, &TimeoutError{fmt.Sprintf("nothing listened on %s", l.Addr), timeout}
		case <-time.After(waitPause):
		}
	}
	return l.Addr, nil
}
