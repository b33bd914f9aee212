// Command demo shows tunhook's main job on real sockets, step by step: what a remote-desktop client's "before connecting"
// command does, the client's first handshake, and what its "after connecting" command leaves behind, which is nothing.
//
// The tunnel program is pomerium-cli where that is installed, with a gateway that runs here too; otherwise it is tunhook's
// own relay, which needs nothing installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
	"golang.org/x/term"
)

func main() {
	tunhook := flag.String("tunhook", "./tunhook", "the tunhook `PROGRAM` to show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a reader that leaves, as "| head" does, must not prevent the cleaning up
	if err := show(ctx, *tunhook); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// show runs the demonstration in a home of its own, which is gone afterwards.
func show(ctx context.Context, tunhook string) (err error) {
	home, err := sandbox.New(tunhook)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	s, err := newScene(home)
	if err != nil {
		return err
	}
	defer s.close()
	bold := term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""
	return s.play(ctx, &page{bold: bold})
}
