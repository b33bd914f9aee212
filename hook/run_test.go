package hook_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/hook"
)

// run runs a client and gives its output.
func (w *world) run(ctx context.Context, req hook.RunRequest) (output string, status int, err error) {
	w.t.Helper()
	r, out, err := os.Pipe()
	check(w.t, err)
	defer r.Close()
	req.Stdout, req.Stderr = out, out
	status, err = w.Run(ctx, req)
	out.Close()
	text, readErr := io.ReadAll(r)
	check(w.t, readErr)
	return string(text), status, err
}

func TestRunFillsInTheAddressAndEndsTheTunnel(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	var ready hook.Started
	output, status, err := w.run(t.Context(), hook.RunRequest{
		Start:  hook.StartRequest{Route: relayRoute, Listen: port},
		Client: []string{"sh", "-c", `echo {address} {host} {port} {route_host} {route_port} {args} $TUNHOOK_ADDRESS; exit 7`},
		Ready:  func(s hook.Started) { ready = s },
	})
	want := "127.0.0.1:" + port + " 127.0.0.1 " + port + " 127.0.0.1 9 {args} 127.0.0.1:" + port + "\n"
	if err != nil || status != 7 || output != want {
		t.Errorf("status %d, %v, output %q; want 7 and %q", status, err, output, want)
	}
	if ready.Record.ForGood || len(ready.Record.EndWith) != 1 || ready.Record.EndWith[0].PID != os.Getpid() {
		t.Errorf("the record while it ran: %+v", ready.Record)
	}
	w.nothingLeft(ready.Record)
}

func TestRunOfAClientThatCannotRunStartsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	check(t, os.WriteFile(w.path("plain"), nil, 0o600))
	for client, found := range map[string]bool{"no-such-client": false, w.path("none"): false, w.path("plain"): true, w.dir: true} {
		var failed *hook.ClientError
		_, _, err := w.run(t.Context(), hook.RunRequest{Start: hook.StartRequest{Route: relayRoute}, Client: []string{client}})
		if !errors.As(err, &failed) || failed.Found != found || !strings.Contains(err.Error(), client) {
			t.Errorf("%s: %v", client, err)
		}
	}
	if _, err := os.Stat(w.RunDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was started: %v", err)
	}
}

// TestRunLeavesATunnelThatAStartHasMade, and one that a start has asked for meanwhile.
func TestRunLeavesATunnelThatAStartHasMade(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		w, port := newWorld(t), freePort(t)
		if before {
			w.start(relayRoute, port)
		}
		_, status, err := w.run(t.Context(), hook.RunRequest{
			Start: hook.StartRequest{Route: relayRoute, Listen: port}, Client: []string{"true"},
			Ready: func(hook.Started) {
				if !before {
					w.start(relayRoute, port)
				}
			},
		})
		if err != nil || status != 0 {
			t.Errorf("status %d, %v", status, err)
		}
		rec := w.eventualState(relayRoute, port, hook.Ready).Record
		if !rec.ForGood || len(rec.EndWith) > 0 {
			t.Errorf("the record is %+v", rec)
		}
		w.nothingLeft(w.stop(relayRoute, port).Record)
	}
}

func TestRunWhoseStartFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "TUNNELTEST_EXIT=1 no")
	_, _, err := w.run(t.Context(), hook.RunRequest{
		Start: hook.StartRequest{Route: pomeriumRoute, Listen: freePort(t)}, Client: []string{"touch", w.path("ran")},
	})
	var failed *hook.FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("%T: %v", err, err)
	}
	if _, err := os.Stat(w.path("ran")); err == nil {
		t.Error("the client ran")
	}
	w.nothingLeft(failed.Record)
}
