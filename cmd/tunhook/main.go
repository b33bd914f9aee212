// Command tunhook starts a tunnel when a remote-desktop client is about to connect, and ends it when the client is done.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/sys/unix"
)

func main() {
	os.Exit(run(os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program with its surroundings as values; it returns the exit status.
func run(args, environ []string, stdin, stdout, stderr *os.File) int {
	if opener := filepath.Base(args[0]); tunnel.IsBrowserOpener(opener) { // before any signal is caught: it ends with its tunnel
		return (&command{environ: environ, stdin: stdin, ui: newUI(stdout, stderr)}).openPage(opener, args[1:])
	}
	ctx := notifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
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
// second signal has its usual effect. It is for the whole life of the program: giving the signals back one by one takes time.
func notifyContext(parent context.Context, signals ...os.Signal) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	caught := make(chan os.Signal, 1)
	for _, s := range signals {
		if !signal.Ignored(s) { // by nohup, say
			signal.Notify(caught, s)
		}
	}
	go func() {
		s := <-caught
		cancel(signalError{s.(syscall.Signal)})
		signal.Stop(caught)
	}()
	return ctx
}
