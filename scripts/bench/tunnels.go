package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
)

// maxTunnels bounds each command with very many tunnels up ÷ with one.
const maxTunnels = 1.3

// newTunnels brings so many tunnels up, each with its record in that runtime directory, on the port of addr, as those of "stable"
// are: of a tunnel program there is only what tunhook looks at, a session of its own that has the token and the listening socket.
func newTunnels(ctx context.Context, runtimeDir, addr string, n int) (c *crowd, err error) {
	own, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(runtimeDir, 0o700); err != nil {
		return nil, err
	}
	dir, err := pidfile.PrivateDir(filepath.Join(runtimeDir, "tunhook"), true, true)
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	c = &crowd{pipe: writer}
	for i := range n {
		address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 2, byte(i >> 8), byte(i)}), own.Port())
		cmd, rec, err := newTunnel(address, reader)
		if err == nil {
			c.sleepers = append(c.sleepers, cmd)
			err = writeRecord(ctx, dir, rec)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tunnel %d: %w", i, err), c.close())
		}
	}
	return c, nil
}

// newTunnel starts a process that listens on the address and ends with its stdin.
func newTunnel(address netip.AddrPort, stdin *os.File) (*exec.Cmd, pidfile.Record, error) {
	rec := pidfile.Record{
		Route: "desk" + address.Addr().String() + ":3389", Listen: address.String(), Address: address,
		Provider: "pomerium", Program: "pomerium-cli", Signal: "TERM", Token: process.NewToken(), Started: time.Now(), Promise: pidfile.Promise{ForGood: true},
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(address))
	if err != nil {
		return nil, rec, err
	}
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return nil, rec, err
	}
	defer socket.Close()
	cmd := exec.Command("cat")
	cmd.Stdin, cmd.ExtraFiles, cmd.SysProcAttr = stdin, []*os.File{socket}, &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), process.TokenVariable+"="+rec.Token)
	if err := cmd.Start(); err != nil {
		return nil, rec, err
	}
	if rec.Tunnel, err = process.Identify(cmd.Process.Pid); err != nil {
		return nil, rec, errors.Join(err, end(cmd))
	}
	return cmd, rec, nil
}

// tunnelRows compare the commands with very many tunnels up and with one. The tunnels take long to bring up, so the two sides are
// not measured in turns: those with one come before and after, so that a machine that becomes slower favours neither.
func (b *bench) tunnelRows() error {
	rounds := max(2, b.rounds/4)
	var one, many [3][]float64
	for _, block := range []struct {
		tunnels, rounds int
		times           *[3][]float64
	}{{1, rounds / 2, &one}, {manyRecords, rounds, &many}, {1, rounds - rounds/2, &one}} {
		if err := b.withTunnels(block.tunnels, block.rounds, block.times); err != nil {
			return err
		}
	}
	for i, command := range []string{"start", "stop", "status"} {
		shown := side{command: b.table.show(b.tunhook, command, route, b.addr)}
		ratios := make([]float64, rounds)
		for r := range ratios {
			ratios[r] = many[i][r] / one[i][r]
		}
		b.table.row(row{name: fmt.Sprintf("%s, %d tunnels up ÷ 1", command, manyRecords), ours: shown, other: shown, bound: maxTunnels},
			result{quartilesOf(ratios), quartilesOf(many[i]), quartilesOf(one[i]), rounds})
	}
	return nil
}

// withTunnels measures start, stop and status with so many tunnels up, and takes those down again.
func (b *bench) withTunnels(tunnels, rounds int, times *[3][]float64) error {
	dir := filepath.Join(b.home.Runtime, "tunnels")
	up, err := newTunnels(b.ctx, dir, b.addr, tunnels)
	if err != nil {
		return err
	}
	home := b.home.With("XDG_RUNTIME_DIR=" + dir)
	for i := 0; i <= rounds && err == nil; i++ {
		var took [3]time.Duration
		if took[0], err = b.started(home); err == nil {
			took[2], err = b.run(home, b.tunhook, "status", route, b.addr)
			var stopErr error
			took[1], stopErr = b.stopped(home)
			err = errors.Join(err, stopErr, b.ctx.Err())
		}
		for j := range times {
			if i > 0 { // the first round finds cold caches
				times[j] = append(times[j], milliseconds(took[j]))
			}
		}
	}
	return errors.Join(err, up.close(), os.RemoveAll(dir))
}
