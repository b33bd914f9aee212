package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// client is the program "client", which stands in for a remote-desktop client:
//
//	client hold ADDRESS  connect, say "connected", and stay until the other side closes
//	client visit ADDRESS connect, and leave at once
//	client trap          say "ready", name each signal that comes, and exit with status 10 half a second after the first
func client(args []string) int {
	switch {
	case len(args) == 2 && args[0] == "hold":
		return hold(args[1])
	case len(args) == 2 && args[0] == "visit":
		return visit(args[1])
	case len(args) == 1 && args[0] == "trap":
		return trap()
	}
	fmt.Fprintf(os.Stderr, "client: unexpected arguments %q\n", args)
	return 2
}

func hold(address string) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer conn.Close()
	fmt.Println("connected")
	_, _ = conn.Read(make([]byte, 1))
	return 0
}

func visit(address string) int {
	if err := roundTrip(address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// trapped are signals that a person, a session manager or a terminal sends.
var trapped = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1}

func trap() int {
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, trapped...)
	signal.Ignore(syscall.SIGPIPE) // so that a terminal that is gone does not end it
	fmt.Println("ready")
	names := []string{(<-caught).String()}
	for over := time.After(500 * time.Millisecond); ; {
		select {
		case s := <-caught:
			names = append(names, s.String())
			continue
		case <-over:
		}
		text := "caught " + strings.Join(names, " and ") + "\n"
		fmt.Print(text)
		if path := os.Getenv("CLIENT_REPORT"); path != "" {
			_ = os.WriteFile(path, []byte(text), 0o600)
		}
		return 10
	}
}
