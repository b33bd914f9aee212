package autostart

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// recorder is a systemctl that answers by the command and keeps what it was asked.
type recorder struct {
	answers map[string]string
	failing map[string]string
	calls   []string
}

func (r *recorder) systemd() Systemd {
	return Systemd{func(_ context.Context, args ...string) ([]byte, error) {
		r.calls = append(r.calls, strings.Join(args, " "))
		if reason, fails := r.failing[args[0]]; fails {
			return nil, &SystemdError{args, reason, errors.New("exit status 1")}
		}
		return []byte(r.answers[args[0]]), nil
	}}
}

func TestUnitsAreReadInTheOrderAsked(t *testing.T) {
	t.Parallel()
	r := &recorder{answers: map[string]string{"show": "Id=b.service\nLoadState=not-found\nActiveState=inactive\nNeedDaemonReload=no\n" +
		"\nId=a.socket\nLoadState=loaded\nActiveState=active\nNeedDaemonReload=no\n" +
		"\nId=c.socket\nLoadState=loaded\nActiveState=failed\nNeedDaemonReload=yes\n"}}
	units, err := r.systemd().Units(t.Context(), "a.socket", "b.service", "c.socket", "d.service")
	check(t, err)
	want := []Unit{{Loaded: true, Active: "active"}, {Active: "inactive"}, {Stale: true, Active: "failed"}, {}}
	if diff := cmp.Diff(want, units); diff != "" {
		t.Error(diff)
	}
}

func TestNamesOfTheEnvironmentAreRead(t *testing.T) {
	t.Parallel()
	r := &recorder{answers: map[string]string{"show-environment": "HOME=/home/me\nODD=$'a\\nDISPLAY=b'\nPATH=/usr/bin=x\n"}}
	names, err := r.systemd().Environment(t.Context())
	if want := []string{"HOME", "ODD", "PATH"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v", names, err)
	}
}

func TestManagerThatLooksElsewhereIsNoticed(t *testing.T) {
	t.Parallel()
	r := &recorder{answers: map[string]string{"show": "/home/me/.config/systemd/user /etc/systemd/user\n"}}
	if err := r.systemd().Looks(t.Context(), "/home/me/.config/systemd/user"); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"/me/.config/systemd/user", "/home/me/.config/systemd", "/x"} {
		if err := r.systemd().Looks(t.Context(), dir); !errors.As(err, new(*FileError)) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestEndingWhatIsNotLoadedIsNoError(t *testing.T) {
	t.Parallel()
	r := &recorder{failing: map[string]string{
		"stop":         "Failed to stop a.socket: Unit a.socket not loaded.",
		"reset-failed": "Failed to reset failed state of unit a.socket: Unit a.socket not loaded.",
	}}
	check(t, r.systemd().Stop(t.Context(), "a.socket", "a.service"))
	check(t, r.systemd().ResetFailed(t.Context(), "a.socket", "a.service"))
	if want := []string{"stop a.socket", "stop a.service", "reset-failed a.socket a.service"}; !slices.Equal(r.calls, want) {
		t.Errorf("systemctl was told %q, want %q", r.calls, want)
	}
	r.failing = map[string]string{"stop": "Connection refused", "reset-failed": "Connection refused"}
	if r.systemd().Stop(t.Context(), "a.socket") == nil || r.systemd().ResetFailed(t.Context(), "a.socket") == nil {
		t.Error("no error")
	}
}

func systemctl(t *testing.T, script string) Systemd {
	path := filepath.Join(t.TempDir(), "systemctl")
	check(t, tunneltest.WriteProgram(path, []byte("#!/bin/sh\n"+script)))
	return Systemctl(path, []string{"PATH=/usr/bin:/bin"}, nil)
}

func TestFailureOfSystemctlIsOneLine(t *testing.T) {
	t.Parallel()
	_, err := systemctl(t, "echo 'no bus' >&2; echo more >&2; exit 1").Run(t.Context(), "start", "a.socket")
	if err == nil || err.Error() != "systemctl --user start a.socket: no bus" {
		t.Error(err)
	}
	_, err = systemctl(t, "exit 3").Run(t.Context(), "start", "a.socket")
	if err == nil || err.Error() != "systemctl --user start a.socket: exit status 3" {
		t.Error(err)
	}
	_, err = Systemctl("", nil, nil).Run(t.Context(), "start")
	if err == nil || !strings.Contains(err.Error(), "no systemctl on PATH") {
		t.Error(err)
	}
}

// TestStuckSystemctlIsGivenUp, though what it has started goes on and has its output open.
func TestStuckSystemctlIsGivenUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := systemctl(t, "sleep 5 & exec sleep 60").Run(ctx, "show-environment")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
