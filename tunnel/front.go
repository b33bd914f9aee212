package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// Front is a tunnel program that cannot listen where its tunnel shall, with a relay before it that does.
type Front struct {
	Listen, Program netip.AddrPort // where the relay listens, and where the program does
	Argv, Environ   []string
	Token           string // of the tunnel
	Stdout, Stderr  *os.File
}

// frontGrace is how long the program gets to end with its front: who ends a tunnel signals both.
const frontGrace = time.Second

// Run runs the program, and relays connections from when it listens until it ends, or until ctx is done, when it ends
// the program. The exit status is the program's, 128 and its number for a signal. Nothing listens before the program
// does: what tells that a tunnel is ready would be told too early.
func (f Front) Run(ctx context.Context) (status int, err error) {
	self, err := process.Self()
	if err != nil {
		return 0, err
	}
	signal.Ignore(IgnoredByLaunch) // this program's runtime has not left it ignored for another one
	cmd := &exec.Cmd{Path: f.Argv[0], Args: f.Argv, Env: f.Environ, Stdout: f.Stdout, Stderr: f.Stderr}
	if err := cmd.Start(); err != nil {
		return 0, &ProgramError{f.Argv[0], "cannot be executed (" + underlying(err).Error() + ")", ""}
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state says it all
		close(ended)
		stop()
	}()
	err = WaitListening(serving, f.Program, process.Session{Leader: self, Token: f.Token})
	if err == nil {
		err = Relay(serving, f.Listen.String(), f.Program.String(), f.Stderr)
	}
	stop()
	if errors.Is(err, context.Canceled) { // the program has ended, or shall
		err = nil
	}
	return endChild(cmd, ended, err != nil), err
}

// endChild waits for a program that has been told to end, or tells it.
func endChild(cmd *exec.Cmd, ended <-chan struct{}, now bool) (status int) {
	grace := time.After(frontGrace)
	if now {
		grace = time.After(0)
	}
	select {
	case <-ended:
	case <-grace:
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
		<-ended
	}
	return ExitStatus(cmd.ProcessState)
}
