//go:build linux

// Command standin is the programs that the model test of tunhook runs: a tunnel program, what such a program leaves behind, and
// the clients. It is small because thousands of it are started.
//
//	standin tunnel ADDRESS   echo what comes to ADDRESS; ends its first thread, and serves on, when SIGUSR1 comes
//	standin client           take commands on standard input, see client.go
//	standin hold ADDRESS F   connect, create F.up, and stay until F.end is there or the other side closes
//
// Variables change the tunnel program:
//
//	STANDIN_KID=1      a child serves the address
//	STANDIN_DAEMON=1   leave a daemon behind on the way, as ssh does with an agent
//	STANDIN_CANARY=F   serve nothing; write to F each signal that comes
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	runtime.LockOSThread() // so that tunnel knows which thread is the first
	args := append(os.Args[1:], "", "", "")
	switch args[0] {
	case "tunnel":
		if reports := os.Getenv("STANDIN_CANARY"); reports != "" {
			canary(reports)
		}
		tunnel(args[1])
	case "kid":
		serve(args[1])
	case "detach":
		start([]string{"daemon"}, &syscall.SysProcAttr{Setsid: true})
	case "daemon":
		time.Sleep(10 * time.Minute)
	case "client":
		client()
	case "hold":
		hold(args[1], args[2])
	default:
		fail(fmt.Errorf("unexpected arguments %q", os.Args[1:]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func tunnel(address string) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGUSR1)
	if os.Getenv("STANDIN_DAEMON") != "" {
		fail(start([]string{"detach"}, nil).Wait())
	}
	if os.Getenv("STANDIN_KID") != "" {
		fail(start([]string{"kid", address}, nil).Wait())
		return
	}
	go serve(address)
	<-ended
	// The scheduler takes this thread's processor away, as from any long system call.
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

// start runs this program once more. What it is to do once is not for its children.
func start(args []string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.SysProcAttr = attr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STANDIN_") })
	fail(cmd.Start())
	return cmd
}

func serve(address string) {
	ln, err := net.Listen("tcp4", address)
	fail(err)
	for {
		conn, err := ln.Accept()
		fail(err)
		go echo(conn.(*net.TCPConn))
	}
}

// echo answers with what comes and, when no more will come, with a byte now and then, until the client has gone.
func echo(conn *net.TCPConn) {
	defer conn.Close()
	b := make([]byte, 64)
	for {
		n, err := conn.Read(b)
		if n > 0 {
			_, err = conn.Write(b[:n])
		}
		if err != nil {
			break
		}
	}
	for {
		if _, err := conn.Write([]byte{'.'}); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func canary(reports string) {
	caught := make(chan os.Signal, 16)
	signal.Notify(caught)
	if os.Getenv("STANDIN_CHILD") == "" { // somebody with its group and session numbers
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), "STANDIN_CHILD=1")
		fail(cmd.Start())
		fmt.Println(cmd.Process.Pid)
		go func() {
			err := cmd.Wait()
			report(reports, fmt.Sprint("child ended: ", err))
		}()
	}
	for over := time.After(30 * time.Minute); ; {
		select {
		case s := <-caught:
			if s != syscall.SIGURG && s != syscall.SIGCHLD { // the runtime's own, and the child's end
				report(reports, s.String())
			}
		case <-over:
			os.Exit(0)
		}
	}
}

func report(path, text string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	fail(err)
	fmt.Fprintln(f, os.Getpid(), text)
	f.Close()
}

func hold(address, file string) {
	conn, err := net.Dial("tcp4", address)
	fail(err)
	fail(roundTrip(conn))
	fail(os.WriteFile(file+".up", nil, 0o600))
	closed := make(chan bool)
	go func() {
		_, _ = conn.Read(make([]byte, 1))
		close(closed)
	}()
	for {
		select {
		case <-closed:
			return
		case <-time.After(30 * time.Millisecond):
			if _, err := os.Stat(file + ".end"); err == nil {
				return
			}
		}
	}
}
