package main

import (
	"os/exec"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// scene is the world around tunhook: the desktop, and the gateway before it if there is one.
type scene struct {
	home    *sandbox.Home
	desktop *tunneltest.Responder
	gateway *tunneltest.Gateway // nil without pomerium-cli

	route string
	intro string
}

// deskRoute is a name that leads nowhere but through the gateway.
const deskRoute = "desk.example.com:3389"

func newScene(home *sandbox.Home) (*scene, error) {
	desktop, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.RDP})
	if err != nil {
		return nil, err
	}
	s := &scene{home: home, desktop: desktop}
	program, err := exec.LookPath("pomerium-cli")
	if err != nil {
		s.route = "relay://" + desktop.Addr()
		s.intro = "pomerium-cli is not installed, so the tunnel program is tunhook's own relay."
		return s, nil
	}
	s.route = deskRoute
	s.intro = "The tunnel program is " + program + "."
	if err := s.startGateway(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// startGateway starts the gateway and has every pomerium-cli of this home use it, as a user would: in the configuration.
func (s *scene) startGateway() (err error) {
	s.gateway, err = tunneltest.StartGateway(tunneltest.GatewayOptions{Routes: map[string]string{deskRoute: s.desktop.Addr()}})
	if err != nil {
		return err
	}
	config, err := s.gateway.Config(s.home.Dir)
	if err != nil {
		return err
	}
	_, err = s.home.Write(".config/tunhook/config.toml", config, 0o600)
	return err
}

func (s *scene) close() {
	if s.gateway != nil {
		_ = s.gateway.Close()
	}
	_ = s.desktop.Close()
}
