package hook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// await waits until the tunnel is ready. No lock is held meanwhile: a stop may come at any time, and wins.
func (s *start) await(ctx context.Context, rec pidfile.Record) (Started, error) {
	if s.launched == nil && rec.ArgsHash != hashArgs(rec.Token, s.route.Args(s.req.Args)) {
		s.notice(OtherArgs{rec})
	}
	began := time.Now()
	err := s.waitReady(ctx, rec, s.req.Timeout)
	if err == nil {
		return Started{Address: rec.Address, Record: rec, Found: s.launched == nil}, nil
	}
	failed := s.failure(rec, err, time.Since(began))
	if s.launched != nil {
		if endErr := s.abandon(rec); endErr != nil {
			return Started{}, errors.Join(failed, endErr)
		}
	}
	return Started{}, failed
}

// waitReady waits until the record's tunnel is ready, for at most timeout.
func (h *Hook) waitReady(ctx context.Context, rec pidfile.Record, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer h.waiting(fmt.Sprintf("for %s to listen on %s", rec.Program, rec.Address))()
	program, err := pidfile.Open(rec.Tunnel)
	if err != nil {
		if len(memberPIDs(rec)()) == 0 {
			return tunnel.ErrEnded
		}
		return tunnel.WaitListening(ctx, rec.Address, ended{rec.Tunnel.PID}, memberPIDs(rec))
	}
	defer program.Close()
	return tunnel.WaitListening(ctx, rec.Address, program, memberPIDs(rec))
}

// failure puts into words why the tunnel did not become ready.
func (s *start) failure(rec pidfile.Record, err error, waited time.Duration) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	now, readErr := s.dir.Read(rec.Key())
	stopped := readErr != nil || now.Token != rec.Token || now.Ending
	if errors.Is(err, tunnel.ErrEnded) && stopped && rec.Tunnel != (pidfile.Identity{}) {
		return &StoppedError{rec}
	}
	if holder, held := tunnel.Holder(rec.Address); held && !slices.Contains(memberPIDs(rec)(), holder.PID) {
		return &TakenError{rec.Address, holder, ""}
	}
	failed := &FailedError{Record: rec, Err: err, Waited: waited, Lines: tunnel.LastLines(rec.Log, rec.LogFrom, 5)}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		failed.Reason = fmt.Sprintf("did not listen on %s within %s", rec.Address, s.req.Timeout)
	case errors.Is(err, tunnel.ErrEnded) && s.launched != nil:
		failed.Reason = fmt.Sprintf("ended before it listened on %s (%s)", rec.Address, s.launched.Ended())
	case errors.Is(err, tunnel.ErrEnded):
		failed.Reason = fmt.Sprintf("ended before it listened on %s", rec.Address)
	default:
		failed.Reason = "failed: " + err.Error()
	}
	return failed
}

// abandon ends a tunnel that this start has launched and that is not wanted any more.
func (s *start) abandon(rec pidfile.Record) error {
	s.launched = nil
	ctx := context.Background() // also where the caller's is done: what was begun is ended
	return s.end(ctx, s.dir, rec, endGrace)
}
