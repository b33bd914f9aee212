// Command session-manager-plugin is a stand-in for the program of that name which aws runs for a session. It takes what aws gives the
// real one and prints what the real one prints (aws/session-manager-plugin, src/sessionmanagerplugin/session: session.go,
// portsession/muxportforwarding.go). It connects to the host by itself, where the real one has the service and an agent do so.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// responseVariable has the response, which holds a token, where it is named in place of the response: aws does so from the version on
// that comes after 1.2.497.
const (
	responseVariable = "AWS_SSM_START_SESSION_RESPONSE"
	version          = "1.2.677.0"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	fmt.Printf("Cannot perform start session: %v\n", run(os.Args))
}

// run takes the response of the service, its region, StartSession, a profile, what aws asked the service for, and the service's URL.
// It returns only where it fails.
func run(args []string) error {
	if len(args) != 7 || args[3] != "StartSession" {
		return fmt.Errorf("unexpected arguments %q", args[1:])
	}
	response := args[1]
	if strings.HasPrefix(response, responseVariable) {
		response = os.Getenv(response)
	}
	var session struct{ SessionId, TokenValue, StreamUrl string }
	var asked struct {
		Target     string
		Parameters struct{ Host, PortNumber, LocalPortNumber []string }
	}
	if err := json.Unmarshal([]byte(response), &session); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(args[5]), &asked); err != nil {
		return err
	}
	p := asked.Parameters
	if session.TokenValue == "" || session.StreamUrl == "" || len(p.Host) != 1 || len(p.PortNumber) != 1 || len(p.LocalPortNumber) != 1 {
		return fmt.Errorf("unexpected arguments %q", args[1:])
	}
	fmt.Printf("\nStarting session with SessionId: %s\n", session.SessionId)
	go endOnSignal(session.SessionId)
	ln, err := net.Listen("tcp", net.JoinHostPort("localhost", p.LocalPortNumber[0]))
	if err != nil {
		return err
	}
	fmt.Printf("Port %s opened for sessionId %s.\nWaiting for connections...\n", p.LocalPortNumber[0], session.SessionId)
	var once sync.Once
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		once.Do(func() { fmt.Printf("\nConnection accepted for session [%s]\n", session.SessionId) })
		go relay(conn, net.JoinHostPort(p.Host[0], p.PortNumber[0]))
	}
}

func endOnSignal(session string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP)
	<-signals
	fmt.Printf("Terminate signal received, exiting.\n\n\nExiting session with sessionId: %s.\n\n", session)
	os.Exit(0)
}

func relay(conn net.Conn, address string) {
	defer conn.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Printf("\nConnection to destination port failed, check SSM Agent logs.\n")
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{conn, server}, {server, conn}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}
