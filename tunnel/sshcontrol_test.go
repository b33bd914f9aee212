package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
	"golang.org/x/sys/unix"
)

// fakeMaster is a master that carries each connection by saying it back, and refuses what leads to the ports 0 and 1.
func fakeMaster(t *testing.T) (path string) {
	t.Helper()
	return masterOf(t, true)
}

// masterOf is a fakeMaster whose connection to the gateway is alive, or dead: then nothing comes of what it is to carry.
func masterOf(t *testing.T, alive bool) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = serveControl(&sshControl{UnixConn: conn}, alive)
			}()
		}
	}()
	return path
}

func serveControl(c *sshControl, alive bool) error {
	if err := c.send(controlHello, uint32(controlVersion)); err != nil {
		return err
	}
	if _, _, err := c.receive(); err != nil {
		return err
	}
	for {
		kind, rest, err := c.receive()
		if err != nil {
			return err
		}
		id, fields := binary.BigEndian.Uint32(rest), rest[4:]
		refused := len(fields) >= 4 && binary.BigEndian.Uint32(fields[len(fields)-4:]) <= 1
		switch {
		case kind == controlCarry && !alive:
			_, _ = io.Copy(io.Discard, c)
			return nil
		case kind == controlAsk:
			err = c.send(uint32(controlThere), id, os.Getpid())
		case kind == controlCarry:
			err = carryFake(c, id, refused)
		case refused:
			err = c.send(uint32(controlFailed), id, "Port forwarding\x1b[2J failed")
		default:
			err = c.send(uint32(controlOK), id)
		}
		if err != nil {
			return err
		}
	}
}

func carryFake(c *sshControl, id uint32, refused bool) error {
	var ends []*os.File
	for range 2 {
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), oob)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return err
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			return err
		}
		ends = append(ends, os.NewFile(uintptr(fds[0]), "end"))
	}
	defer ends[0].Close()
	defer ends[1].Close()
	if refused {
		return c.send(uint32(controlFailed), id, "Session open refused by peer")
	}
	if err := c.send(uint32(controlCarries), id, uint32(7)); err != nil {
		return err
	}
	_, err := io.Copy(ends[1], ends[0])
	return errors.Join(err, io.EOF) // the connection is over, and so is this one
}

func TestSSHControlAsksForForwards(t *testing.T) {
	t.Parallel()
	c, err := dialControl(fakeMaster(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if pid, err := c.pid(); err != nil || pid != os.Getpid() {
		t.Errorf("pid %d, %v", pid, err)
	}
	if err := c.forward("[::1]:3389", "desk:3389"); err != nil {
		t.Error(err)
	}
	if err := c.forward("[::1]:3389", "desk:1"); err == nil || err.Error() != "ssh says: Port forwarding failed" {
		t.Errorf("%v, want what ssh says", err)
	}
}

func TestWhatIsNoMasterIsNotShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, says := range map[string]string{"silent": "", "other": "SSH-2.0-OpenSSH_9.2\r\n", "newer": "\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x05"} {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if conn, err := l.Accept(); err == nil {
				_, _ = io.WriteString(conn, says)
				conn.Close()
			}
		}()
		if _, _, err := (SSH{}).shared(path); err == nil {
			t.Errorf("%s: it is shared", name)
		}
		l.Close()
	}
	if _, _, err := (SSH{}).shared(dir); err == nil {
		t.Error("a directory is shared")
	}
}

func TestSSHThroughASharedConnection(t *testing.T) {
	t.Parallel()
	for target, works := range map[string]bool{"desk:3389": true, "desk:1": false} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			log, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			s := SSH{Listen: freeAddr(t), Target: target, Log: log}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.through(ctx, fakeMaster(t), os.Getpid()) }()
			defer func() { cancel(); <-done }()
			up(t, s.Listen, done)
			conn := connect(t, s.Listen)
			_, _ = conn.Write([]byte("all of it"))
			_ = conn.CloseWrite()
			said, err := io.ReadAll(conn)
			if works && (err != nil || string(said) != "all of it") || !works && len(said) > 0 {
				t.Errorf("%q, %v", said, err)
			}
			if text, _ := os.ReadFile(log.Name()); !works && !strings.Contains(string(text), "ssh says: Session open refused by peer") {
				tunneltest.Eventually(t, "why in the log", func() bool {
					text, _ = os.ReadFile(log.Name())
					return strings.Contains(string(text), "ssh says: Session open refused by peer")
				})
			}
		})
	}
}

func TestSSHThroughAMasterThatIsGoneEnds(t *testing.T) {
	t.Parallel()
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	master := startHelper(t, "idle")
	master.line(t)
	done := make(chan error, 1)
	s := SSH{Listen: freeAddr(t), Target: "desk:3389", Log: log}
	go func() { done <- s.through(context.Background(), "/nowhere", master.pid()) }()
	master.kill()
	select {
	case err := <-done:
		if !errors.Is(err, errMaster) {
			t.Errorf("%v, want %v", err, errMaster)
		}
	case <-time.After(deadline):
		t.Error("it has outlived the master")
	}
}

// TestADeadMasterIsNotReliedOn, though it says that it is there: ssh makes a connection of its own, and where it cannot, that is told.
func TestADeadMasterIsNotReliedOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := tunneltest.WriteProgram(path, []byte("#!/bin/sh\n"+text)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(alive bool, tunhook string) (string, error) {
		t.Helper()
		log, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ssh := script("ssh", "echo controlpath "+masterOf(t, alive)+"\n")
		s := SSH{Argv: []string{ssh, "-p", "22", "gate"}, Listen: freeAddr(t), Target: "desk:3389", Log: log, Self: tunhook}
		if alive {
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			up(t, s.Listen, done)
			cancel()
			err = <-done
		} else {
			err = s.Run(ctx)
		}
		text, readErr := os.ReadFile(log.Name())
		if readErr != nil {
			t.Fatal(readErr)
		}
		return string(text), err
	}

	refuses := script("tunhook", "echo \"asked: $*\"\necho 'Permission denied (publickey).' >&2\nexit 255\n")
	if said, _ := run(true, refuses); strings.Contains(said, "dead") || !strings.Contains(said, "through the ssh connection that is open already") {
		t.Errorf("with one that lives: %q", said)
	}
	said, err := run(false, refuses)
	for _, part := range []string{"--ssh desk:3389 -- ", " -o ControlPath=none -p 22 gate\n", "does not answer, and no other can be made: ssh -O exit"} {
		if err == nil || !strings.Contains(said, part) {
			t.Errorf("%v: %q, want %q", err, said, part)
		}
	}
}
