package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// play shows the steps of one remote-desktop session. Each step checks what it shows.
func (s *scene) play(ctx context.Context, p *page) error {
	began := time.Now()
	fmt.Println("tunhook: a tunnel for exactly as long as a remote-desktop client needs it")
	fmt.Println(s.intro)

	p.title("The client's \"before connecting\" command starts the tunnel.")
	address, err := s.start(ctx, p)
	if err != nil {
		return err
	}
	p.shows("It returned when the tunnel's own process listened, and not before.")
	program, err := s.program(ctx)
	if err != nil {
		return err
	}

	p.title("The client connects: the first bytes of RDP, through the tunnel and back.")
	if err := handshake(ctx, p, address); err != nil {
		return err
	}

	p.title("What is running?")
	if err := s.status(ctx, p); err != nil {
		return err
	}

	p.title("A second window starts the same tunnel: it is there already.")
	if err := s.startAgain(ctx, p, address, program); err != nil {
		return err
	}

	p.title("The client's \"after connecting\" command stops it.")
	if err := s.stop(ctx, p); err != nil {
		return err
	}

	p.title("Nothing is left.")
	if err := s.nothingLeft(p, address, program); err != nil {
		return err
	}
	fmt.Printf("\nAll of it took %d ms.\n", time.Since(began).Milliseconds())
	return nil
}

// run runs tunhook as a person would, and shows the command with the time it took.
func (s *scene) run(ctx context.Context, p *page, args ...string) (string, error) {
	began := time.Now()
	out, err := s.home.Tunhook(ctx, args...)
	if err == nil {
		p.did("$ tunhook "+strings.Join(args, " "), time.Since(began))
		p.shows(out)
	}
	return out, err
}

func (s *scene) start(ctx context.Context, p *page) (address string, err error) {
	out, err := s.run(ctx, p, "start", s.route)
	return strings.TrimSpace(out), err
}

func (s *scene) status(ctx context.Context, p *page) error {
	_, err := s.run(ctx, p, "status")
	return err
}

func (s *scene) stop(ctx context.Context, p *page) error {
	_, err := s.run(ctx, p, "stop", s.route)
	return err
}

// program gives the identity of the tunnel program.
func (s *scene) program(ctx context.Context) (process.Identity, error) {
	out, err := s.home.Tunhook(ctx, "status", "--json", s.route)
	if err != nil {
		return process.Identity{}, err
	}
	var status struct{ Tunnels []struct{ PID int } }
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return process.Identity{}, err
	}
	if len(status.Tunnels) != 1 {
		return process.Identity{}, fmt.Errorf("%d tunnels are running, not one", len(status.Tunnels))
	}
	return process.Identify(status.Tunnels[0].PID)
}

// startAgain insists on the same address and the same process.
func (s *scene) startAgain(ctx context.Context, p *page, address string, program process.Identity) error {
	again, err := s.start(ctx, p)
	if err != nil {
		return err
	}
	now, err := s.program(ctx)
	if err != nil {
		return err
	}
	if again != address || now != program {
		return fmt.Errorf("the second start gave %s of process %d, not %s of process %d", again, now.PID, address, program.PID)
	}
	p.shows(fmt.Sprintf("The same address, and the same process: pid %d.", program.PID))
	return nil
}

// The first two messages of an RDP connection: the client's X.224 Connection Request, which offers TLS and NLA, and the
// beginning of the server's Connection Confirm ([MS-RDPBCGR] sections 2.2.1.1 and 2.2.1.2).
const (
	connectionRequest = "030000130ee000000000000100080003000000"
	connectionConfirm = "030000130ed0"
)

// handshake is the client's first try. There is no second one.
func handshake(ctx context.Context, p *page, address string) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request, err := hex.DecodeString(connectionRequest)
	if err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	answer := make([]byte, len(request))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("no RDP answer through the tunnel: %w", err)
	}
	if !strings.HasPrefix(hex.EncodeToString(answer), connectionConfirm) {
		return fmt.Errorf("what answered through the tunnel does not speak RDP: % x", answer)
	}
	p.did("connect to "+address, time.Since(began))
	p.shows(fmt.Sprintf("sent  % x  (X.224 Connection Request)", request[:6]))
	p.shows(fmt.Sprintf("got   % x  (X.224 Connection Confirm)", answer[:6]))
	return nil
}

// nothingLeft proves it: no process, no record, and an address that can be bound.
func (s *scene) nothingLeft(p *page, address string, program process.Identity) error {
	if program.Alive() {
		return fmt.Errorf("process %d is still there", program.PID)
	}
	p.shows(fmt.Sprintf("process  %d is gone", program.PID))
	records, err := filepath.Glob(filepath.Join(s.home.Runtime, "tunhook", "*"))
	if err != nil {
		return err
	}
	if len(records) != 0 {
		return fmt.Errorf("left behind: %s", strings.Join(records, ", "))
	}
	p.shows("records  none, and no lock either")
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(errors.New("the listen address is not free"), err)
	}
	p.shows("address  " + address + " is free: it was just bound again")
	return ln.Close()
}
