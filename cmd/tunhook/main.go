// Command tunhook starts a tunnel when a remote-desktop client is about to connect, and ends it when the client is done.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	os.Exit(run(os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program with its surroundings as values; it returns the exit status.
func run(args, environ []string, stdin, stdout, stderr *os.File) int {
	ctx, stop := notifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	c := &command{
		environ: environ,
		stdin:   stdin,
		ui:      newUI(stdout, stderr),
	}
	return c.main(ctx, args)
}

// signalError says which signal ended a wait.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return "interrupted by " + unix.SignalName(e.signal) }

// notifyContext is signal.NotifyContext, except that the context's cause says which signal came: the exit status tells it. A
// second signal has its usual effect.
func notifyContext(parent context.Context, signals ...os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, signals...)
	go func() {
		select {
		case s := <-caught:
			cancel(signalError{s.(syscall.Signal)})
			signal.Stop(caught)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(caught)
		cancel(nil)
	}
}
