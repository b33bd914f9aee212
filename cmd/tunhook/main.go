// Command tunhook starts a tunnel when a remote-desktop client is about to connect, and ends it when the client is done.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
)

func main() {
	os.Exit(run(os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program with its surroundings as values; it returns the exit status.
func run(args, environ []string, stdin, stdout, stderr *os.File) int {
	if opener := filepath.Base(args[0]); tunnel.IsBrowserOpener(opener) { // before any signal is caught: it ends with its tunnel
		return (&command{environ: environ, stdin: stdin, ui: newUI(stdout, stderr)}).openPage(opener, args[1:])
	}
	if filepath.Base(args[0]) == hook.Askpass {
		return hook.AskStart(environ, args[1:], stdout)
	}
	ctx, signals := catchSignals(context.Background())
	c := &command{
		environ:  environ,
		stdin:    stdin,
		ui:       newUI(stdout, stderr),
		signals:  signals,
		patience: promptPatience,
	}
	c.ui.plain = c.variable("TERM") == "dumb"
	return c.main(ctx, args)
}
