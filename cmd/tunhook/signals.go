package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals are those that would end this program, caught for its whole life: giving them back one by one would take time.
type signals struct {
	caught chan struct{} // closed when they are; nil where they never will be
}

// signalError says which signal ended a wait.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return "interrupted by " + unix.SignalName(e.signal) }

// catchSignals is signal.NotifyContext, except that the context's cause says which signal came: the exit status tells it. A second
// signal has its usual effect. It returns before they are caught: that takes a tenth of the time of a short command, and can be
// waited for when there is something that must not be left half-done.
func catchSignals(parent context.Context) (context.Context, signals) {
	ctx, cancel := context.WithCancelCause(parent)
	s := signals{make(chan struct{})}
	go func() {
		came := make(chan os.Signal, 1)
		for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if !signal.Ignored(sig) { // by nohup, say
				signal.Notify(came, sig)
			}
		}
		close(s.caught)
		cancel(signalError{(<-came).(syscall.Signal)})
		signal.Stop(came)
	}()
	return ctx, s
}

// await waits until the signals are caught.
func (s signals) await() {
	if s.caught != nil {
		<-s.caught
	}
}

// onSignal calls do at each such signal, until stop is called.
func onSignal(do func(), sig os.Signal) (stop func()) {
	came := make(chan os.Signal, 1)
	signal.Notify(came, sig)
	go func() {
		for range came {
			do()
		}
	}()
	return func() {
		signal.Stop(came)
		close(came)
	}
}

// hangsUp returns true when nobody can read any more what is written to a pipe, a socket or a terminal. Poll(2) tells of that also where
// it is asked for nothing. It returns false where it cannot be told.
func hangsUp(out *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(out.Fd())}}
	for {
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
}
