package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"golang.org/x/sys/unix"
)

// Stdio is a program that carries one connection, on its standard input and output.
type Stdio struct {
	Argv   []string       // its absolute path, and its arguments
	Signal syscall.Signal // what asks it to end
	Log    *os.File       // where its standard error goes
}

// How long a program is given to end by itself once its connection has, and then again once it was asked to.
const stdioPatience = 2 * time.Second

// Relay listens on listen and runs the program for every connection of this user's, until ctx is done. The program ends
// with its connection, and the connection with the program, also when this process is killed. What the program has to
// say is in the log.
func (s Stdio) Relay(ctx context.Context, listen string) error {
	return relayOwn(ctx, listen, s.Log, s.carry)
}

// carry runs the program for one connection. The program gets pipes and not the socket itself: one that closes its
// standard output and reads on has ended one direction only, which nobody would notice of a socket that its standard
// input still holds open.
func (s Stdio) carry(ctx context.Context, client *net.TCPConn, ends *Ends) error {
	cmd := &exec.Cmd{Path: s.Argv[0], Args: s.Argv, Stderr: s.Log, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	DieWithParent(cmd.SysProcAttr)
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		return err
	}
	child, err := holdChild(cmd)
	if err != nil {
		return err
	}
	gone, over, carried := make(chan struct{}, 2), make(chan struct{}), make(chan struct{})
	go func() {
		if broken := feed(stdin, client); broken || ends.awaitClosed(client, over) {
			gone <- struct{}{}
		}
	}()
	go func() {
		defer close(carried)
		if err := deliver(client, stdout.(*os.File)); err != nil {
			gone <- struct{}{}
			return
		}
		_ = client.CloseWrite()
	}()
	var wanted error // why it is no fault of the program's that it ends
	select {
	case <-child.ended:
	case <-gone:
		wanted = ErrLeft
		stdin.Close()
	case <-ctx.Done():
		wanted = ctx.Err()
		stdin.Close()
		child.signal(s.Signal)
	}
	child.end(s.Signal)
	_ = stdout.(*os.File).SetReadDeadline(time.Unix(1, 0)) // a daemon that it has left behind may hold its output open for ever
	select {
	case <-carried:
	case <-gone:
	case <-ctx.Done():
	}
	close(over)
	HangUp(client)
	err = child.reap()
	if wanted != nil || err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", filepath.Base(s.Argv[0]), err)
}

// feed passes on what the client says, and that it says no more; it tells whether the client has broken off. A program
// that does not listen any more may still have something to say.
func feed(stdin io.WriteCloser, client *net.TCPConn) (broken bool) {
	_, err := io.Copy(stdin, client)
	stdin.Close()
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		_, err = io.Copy(io.Discard, client)
	}
	return err != nil
}

// deliver passes on what the program says, to the end of it: once the read deadline is over, to the end of what it has
// said.
func deliver(client *net.TCPConn, stdout *os.File) error {
	if _, err := io.Copy(client, stdout); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	raw, err := stdout.SyscallConn()
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for n := 1; n > 0; {
		if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buffer) }); err != nil { // it does not block
			return err
		}
		if _, err := client.Write(buffer[:max(n, 0)]); err != nil {
			return err
		}
	}
	return nil
}

// child is a program that leads a process group of its own.
type child struct {
	cmd   *exec.Cmd
	hold  *process.Process
	ended chan struct{} // closed when it has ended; it is still a zombie then, so that its group's number is nobody else's
}

func holdChild(cmd *exec.Cmd) (*child, error) {
	id, err := process.Identify(cmd.Process.Pid)
	var hold *process.Process
	if err == nil {
		hold, err = process.Open(id)
	}
	c := &child{cmd, hold, make(chan struct{})}
	switch {
	case errors.Is(err, process.ErrGone): // as quickly as that
		close(c.ended)
	case err != nil:
		c.signal(syscall.SIGKILL)
		return nil, errors.Join(err, cmd.Wait())
	default:
		go func() {
			hold.Wait(math.MaxInt64)
			close(c.ended)
		}()
	}
	return c, nil
}

func (c *child) signal(sig syscall.Signal) { _ = syscall.Kill(-c.cmd.Process.Pid, sig) }

// end ends the program and its group, with patience.
func (c *child) end(sig syscall.Signal) {
	for _, sig := range []syscall.Signal{sig, syscall.SIGKILL} {
		select {
		case <-c.ended:
		case <-time.After(stdioPatience):
			c.signal(sig)
		}
	}
	<-c.ended
	c.signal(syscall.SIGKILL) // whoever it has left behind
}

// reap gives how a program ended that has.
func (c *child) reap() error {
	if c.hold != nil {
		c.hold.Close()
	}
	return c.cmd.Wait()
}
