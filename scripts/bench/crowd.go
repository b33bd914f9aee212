package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
)

// crowd is many processes that sleep: each reads from a pipe that only this process can write to, so they end with it,
// whatever becomes of it.
type crowd struct {
	sleepers []*exec.Cmd
	pipe     io.Closer
}

// newCrowd starts so many processes that the machine has at least total.
func newCrowd(total int) (*crowd, error) {
	running, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	return newSleepers(total - len(running))
}

func newSleepers(n int) (c *crowd, err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	c = &crowd{pipe: writer}
	for range n {
		cmd := exec.Command("cat")
		cmd.Stdin, cmd.SysProcAttr = reader, &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.sleepers = append(c.sleepers, cmd)
	}
	return c, nil
}

// close ends the processes and waits for each.
func (c *crowd) close() error {
	err := c.pipe.Close()
	for _, cmd := range c.sleepers {
		err = errors.Join(err, cmd.Wait())
	}
	return err
}

// newRecords fills a runtime directory with the records of n tunnels, all of a process that lives until the crowd is closed.
func newRecords(ctx context.Context, runtimeDir string, n int) (*crowd, error) {
	sleeper, err := newSleepers(1)
	if err != nil {
		return nil, err
	}
	if err := writeRecords(ctx, runtimeDir, n, sleeper.sleepers[0].Process.Pid); err != nil {
		return nil, errors.Join(err, sleeper.close())
	}
	return sleeper, nil
}

func writeRecords(ctx context.Context, runtimeDir string, n, pid int) error {
	if err := os.Mkdir(runtimeDir, 0o700); err != nil {
		return err
	}
	dir, err := pidfile.PrivateDir(filepath.Join(runtimeDir, "tunhook"), true, true)
	if err != nil {
		return err
	}
	id, err := process.Identify(pid)
	if err != nil {
		return err
	}
	for i := range n {
		address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), 3389)
		rec := pidfile.Record{
			Route: "desk" + strconv.Itoa(i) + ".example.com:3389", Listen: address.String(), Address: address,
			Provider: "pomerium", Program: "pomerium-cli", Signal: "TERM",
			Token: process.NewToken(), Tunnel: id, Started: time.Now(), Promise: pidfile.Promise{ForGood: true},
		}
		if err := writeRecord(ctx, dir, rec); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	return nil
}

func writeRecord(ctx context.Context, dir pidfile.Dir, rec pidfile.Record) error {
	lock, err := dir.Lock(ctx, rec.Key())
	if err != nil {
		return err
	}
	return errors.Join(lock.Write(rec), lock.Unlock())
}
