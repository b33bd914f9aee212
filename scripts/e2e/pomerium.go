//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// The routes of a pomerium.
const (
	deskRoute    = "desk.corp.example.com:3389"    // leads to the server
	refusedRoute = "secret.corp.example.com:3389"  // 403
	deadRoute    = "retired.corp.example.com:3389" // 503
)

// A pomerium is a gateway that demands a sign-in, a user whose pomerium-cli is set up
// for it, and the browser that this opens.
type pomerium struct {
	gateway *tunneltest.Gateway
	user    *user
	tabFile string
	ownDesk string   // as deskRoute, but nobody else's, and so is its stable address
	args    []string // of a pomerium-cli that is told about gateway and browser
}

// startPomerium starts a gateway in front of a server's address and puts a pomerium-cli
// on the user's PATH, which finds gateway and browser without being told.
func (u *user) startPomerium(server string) *pomerium {
	u.t.Helper()
	ownDesk := strings.Replace(filepath.Base(u.dir), "e2e", "desk", 1) + ".corp.example.com:3389"
	gateway, err := tunneltest.StartGateway(tunneltest.GatewayOptions{
		Routes:       map[string]string{deskRoute: server, ownDesk: server, deadRoute: freeAddress(u.t)},
		Refused:      []string{refusedRoute},
		DemandSignIn: true,
	})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		if err := gateway.Close(); err != nil {
			u.t.Errorf("closing the gateway: %v", err)
		}
	})
	authority, err := gateway.CAFile(u.dir)
	if err != nil {
		u.t.Fatal(err)
	}
	u.own(authority)

	browser := filepath.Join(u.dir, "browser")
	p := &pomerium{
		gateway: gateway,
		user:    u,
		tabFile: filepath.Join(u.dir, "tabs"),
		ownDesk: ownDesk,
		args:    []string{"--pomerium-url", gateway.URL(), "--alternate-ca-path", authority, "--browser-cmd", browser},
	}
	u.write(browser, fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$1\" >>'%s'\n", p.tabFile))
	u.write(filepath.Join(u.binDir, "pomerium-cli"), fmt.Sprintf(
		"#!/bin/sh\nexec %s \"$@\" '%s'\n", pomeriumCommand(u.t), strings.Join(p.args, "' '")))
	return p
}

// pomeriumCommand is how a shell calls the stand-in for pomerium-cli, or the real one.
func pomeriumCommand(t testing.TB) string {
	t.Helper()
	return "env '" + strings.Join(tunneltest.ProgramEnviron(), "' '") + "' '" + pomeriumBinary(t) + "'"
}

// tabs returns the URLs that the browser was asked to open.
func (p *pomerium) tabs() []string {
	return strings.Fields(p.user.read(p.tabFile))
}

// signInAgain has somebody sign in at a second tab too, where a client that ends with a
// reset has made pomerium-cli forget its token.
func (p *pomerium) signInAgain() {
	if release().resets {
		p.signInAfter(0)
	}
}

// signInAfter has somebody sign in at the browser, that long after the first tab opens.
// Where none opens, the test may end without them.
func (p *pomerium) signInAfter(thinking time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		page, err := p.gateway.NextSignIn(ctx)
		if err != nil {
			return // the test is over
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(thinking):
		}
		// The program that wants the token may have ended: that is the test's to judge.
		if err := p.gateway.SignIn(ctx, page); err != nil {
			p.user.t.Logf("signing in: %v", err)
		}
	}()
	p.user.t.Cleanup(func() {
		cancel()
		<-done
	})
}
