package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// TestEachMeaningIsToldInOnePlace: by the message, the status and the hint.
func TestEachMeaningIsToldInOnePlace(t *testing.T) {
	t.Parallel()
	rec := pidfile.Record{Route: "desk:3389", Program: "prog"}
	said := map[string]bool{}
	for _, means := range tunnel.Meanings() {
		row, ok := diagnoses()[means]
		if !ok || row.hint == "" || row.status == 0 {
			t.Errorf("%s: %+v", means, row)
			continue
		}
		failed := &hook.FailedError{Record: rec, Reason: "waited 3m for somebody to sign in, and nobody did", Err: tunnel.ErrClosed, Means: means}
		text, _ := explain(failed)
		if !strings.HasPrefix(text, "prog for desk:3389 ") || !strings.Contains(text, ": "+row.hint) || said[text] {
			t.Errorf("%s: %s", means, text)
		}
		said[text] = true
		if down := strings.Contains(text, "route is down"); down != (means == tunnel.Down) || exitStatus(failed, false) != row.status || down != (row.status == exitRouteDown) {
			t.Errorf("%s: %s, status %d", means, text, exitStatus(failed, false))
		}
		failed.Hint = "turn it off and on"
		if text, _ = explain(fmt.Errorf("again: %w", failed)); !strings.Contains(text, ": turn it off and on") {
			t.Errorf("%s: the provider's hint is not in %s", means, text)
		}
	}
	if len(said) != len(diagnoses()) {
		t.Errorf("%d meanings, %d rows", len(said), len(diagnoses()))
	}
}

func TestTheFirstRowOfTheTableOfErrorsCounts(t *testing.T) {
	t.Parallel()
	failed := func(err error) error { return &hook.FailedError{Err: err} }
	for _, tc := range []struct {
		err    error
		status int
	}{
		{errors.New("who knows"), exitUnexpected},
		{failed(tunnel.ErrEnded), exitFailed},
		{failed(tunnel.ErrClosed), exitRouteDown},
		{failed(context.DeadlineExceeded), exitTimeout},
		{failed(&tunnel.ProtocolError{}), exitProtocol},
		{errors.Join(failed(hook.ErrRefused), errors.New("and more")), exitFailed},
		{&hook.NobodyError{NoTunnelError: &hook.NoTunnelError{}}, exitNoTunnel},
		{&hook.TakenError{}, exitTaken},
		{&tunnel.ProgramError{}, exitNoProgram},
		{usagef("no"), exitUsage},
	} {
		if got := exitStatus(tc.err, false); got != tc.status {
			t.Errorf("%T %v: status %d, want %d", tc.err, tc.err, got, tc.status)
		}
	}
}
