package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestOnePageForWhoHasNotSignedInAndOneLaunchForWhoHas, with the commands that open pages as they are released.
func TestOnePageForWhoHasNotSignedInAndOneLaunchForWhoHas(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const desk = "desk.example.com:3389"
	server, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	check(t, err)
	t.Cleanup(func() { _ = server.Close() })
	gateway := a.startGateway(tunneltest.GatewayOptions{DemandSignIn: true, Routes: map[string]string{desk: server.Addr()}})
	config, err := gateway.Config(a.dir)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(a.dir, "home", ".config", "tunhook", "config.toml"), []byte(config), 0o600))
	tabs := filepath.Join(a.dir, "tabs")
	bin := filepath.Join(a.dir, "browsers")
	check(t, os.Mkdir(bin, 0o700))
	check(t, tunneltest.WriteProgram(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >>'"+tabs+"'\n")))
	for i, v := range a.environ {
		if rest, ok := strings.CutPrefix(v, "PATH="); ok {
			a.environ[i] = "PATH=" + bin + ":" + rest
		}
	}
	opened := func() []string {
		text, _ := os.ReadFile(tabs)
		return strings.Fields(string(text))
	}

	signedIn := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), tunneltest.Patience)
		defer cancel()
		for len(opened()) == 0 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		signedIn <- gateway.SignIn(ctx, strings.Join(opened(), ""))
	}()
	e := a.do("start", desk, a.address, "--ready", "rdp")
	check(t, <-signedIn)
	pages := opened()
	if e.status != exitDone || len(pages) != 1 || !strings.Contains(e.stderr, "tunhook: sign in at https://") || strings.Count(e.stderr, "sign in at") != 1 {
		t.Errorf("pages %q, start: %+v", pages, e)
	}
	if log := a.must("logs", desk, a.address); strings.Count("\n"+log, "\n--- ") != 3 {
		t.Errorf("want it tried, signed in, and at its address:\n%s", log)
	}
	a.must("stop", desk, a.address)
	before := a.logged()
	if got := a.must("start", desk, a.address, "--ready", "rdp"); got != a.address {
		t.Errorf("start says %q", got)
	}
	if launched := strings.Count("\n"+a.logged()[len(before):], "\n--- "); launched != 1 || len(opened()) != 1 {
		t.Errorf("launched %d times, pages %q", launched, opened())
	}
	a.must("stop", desk, a.address)
	a.nothingRuns()
}

// logged is what all logs of the account hold.
func (a *account) logged() (all string) {
	logs, _ := filepath.Glob(filepath.Join(a.dir, "home", ".local", "state", "tunhook", "log", "*.log"))
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		all += string(text)
	}
	return all
}
