package hook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// patienceVariable says how long a command that opens a page is waited for, in place of hook.PageTaken: machines can be slow.
const patienceVariable = "TEST_PAGE_PATIENCE"

// TestMain makes the test binary into each program that the tests run: pomerium-cli by its name, and by its first argument
//
//	keeper                        a keeper, as tunhook is
//	relay --listen ADDRESS TARGET the tunnel program of relay:// routes, as tunhook is
//	start REQUEST, stop REQUEST   a process that starts or stops a tunnel; REQUEST is JSON
//	run REQUEST                   a process that runs a client over one
//	client ADDRESS                see client
//	odd KIND ADDRESS TARGET       a tunnel program as some are, see odd
//	asking KIND ADDRESS TARGET    a tunnel program to sign in at, see asking
func TestMain(m *testing.M) {
	var err error
	if self, err = os.Executable(); err != nil {
		panic(err)
	}
	name := filepath.Base(os.Args[0])
	if name == "pomerium-cli" {
		os.Exit(tunneltest.PomeriumCLI(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	if tunnel.IsBrowserOpener(name) { // what tunhook is under such a name, too
		patience := hook.PageTaken
		if p, err := time.ParseDuration(os.Getenv(patienceVariable)); err == nil {
			patience = p
		}
		status, err := hook.OpenPage(os.Environ(), self, name, os.Args[1:], os.Stdout, os.Stderr, patience)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(status)
	}
	if name == listenerName && os.Args[1] == "listen" {
		fmt.Println(listen(os.Args[2:]))
		os.Exit(1)
	}
	if raced = os.Getenv(racedVariable); raced != "" && raced != self && len(os.Args) > 1 && os.Args[1] == "keeper" {
		panic(syscall.Exec(raced, os.Args, os.Environ()))
	}
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(run(m))
}

// self is the test binary that plays the programs; raced the one with the race detector, "" where there is none, which plays keepers: no
// test has one of those in itself.
var self, raced string

const racedVariable = "TEST_RACED" // tells a program what raced is

// run runs the tests. With the race detector a process takes ten times as long to start, so most programs are played without it.
func run(m *testing.M) int {
	info, _ := debug.ReadBuildInfo()
	if !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "tunhook-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	raced, self = self, filepath.Join(dir, filepath.Base(self))
	build := exec.Command("go", "test", "-c", "-o", self, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	return m.Run()
}

var roles = map[string]func(args []string) error{
	"keeper": func([]string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		h := hookOf(os.Environ())
		h.SignIn = func(rec pidfile.Record, url string) func() {
			fmt.Printf("keeper: told %s %s\n", rec.Route, url)
			return func() { fmt.Println("keeper: told no more") }
		}
		return h.Keep(ctx, os.Stdout)
	},
	"before": func(args []string) error {
		return hookOf(os.Environ()).Before(context.Background(), args[1:], os.Stdout)
	},
	"relay": func(args []string) error {
		return tunnel.Relay(context.Background(), args[1], args[2], os.Stderr)
	},
	"start": func(args []string) error {
		var req hook.StartRequest
		if err := json.Unmarshal([]byte(args[0]), &req); err != nil {
			return err
		}
		_, err := hookOf(os.Environ()).Start(context.Background(), req)
		return err
	},
	"stop": func(args []string) error {
		var req hook.StopRequest
		if err := json.Unmarshal([]byte(args[0]), &req); err != nil {
			return err
		}
		_, err := hookOf(os.Environ()).Stop(context.Background(), req)
		return err
	},
	"run": func(args []string) error {
		var a runArgument
		if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
			return err
		}
		_, err := hookOf(os.Environ()).Run(context.Background(), hook.RunRequest{
			Start: a.Start, Client: a.Client, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		})
		return err
	},
	"client": func(args []string) error { return client(args[0]) },
	"odd":    func(args []string) error { return odd(args[0], args[1], args[2]) },
	"asking": func(args []string) error { return asking(args[0], args[1], args[2]) },
}

type runArgument struct {
	Start  hook.StartRequest
	Client []string
}

// dirVariable names the directory that is a test's whole account. It marks every process that was started in it, too.
const dirVariable = "TUNHOOK_TEST_DIR"

// hookOf is the Env of a process with that environment.
func hookOf(environ []string) *hook.Env {
	dir := tunnel.Getenv(environ, dirVariable)
	return &hook.Env{
		Config:  func() *tunnel.Config { return tunnel.LoadConfig(filepath.Join(dir, "config.toml")) },
		RunDir:  filepath.Join(dir, "run"),
		LogDir:  filepath.Join(dir, "log"),
		Self:    self,
		Environ: environ,
		Now:     time.Now,
		Slept:   func() time.Duration { return sleptIn(dir) },
	}
}

// sleptIn is for how long the machine has slept, to the processes of a test: what a file in its directory says.
func sleptIn(dir string) time.Duration {
	text, _ := os.ReadFile(filepath.Join(dir, "slept"))
	slept, _ := time.ParseDuration(string(text))
	return slept
}

// client stands in for a remote-desktop client: it connects and says "connected", and does as stdin says, until that ends.
// "leave" is answered with "left", "connect" with "connected" or with what went wrong.
func client(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("connected")
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		switch orders.Text() {
		case "leave":
			_ = conn.Close()
			fmt.Println("left")
		case "connect":
			if conn, err = net.Dial("tcp", address); err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Println("connected")
		}
	}
	return nil
}

// odd is a tunnel program of one of these kinds:
//
//	once  ends with its first connection, and takes no other
//	lost  ends with a connection that could not be made
//	mute  takes connections and answers none any more, once it has got SIGUSR1: its own connection is dead
//	shy   ends before it listens, or as soon as it does, while the file "offline" in the test's directory says "first" or "then"
func odd(kind, address, target string) error {
	offline, _ := os.ReadFile(filepath.Join(os.Getenv(dirVariable), "offline"))
	if kind == "shy" && string(offline) == "first" {
		return errors.New("no network")
	}
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, syscall.SIGUSR1) // before it listens: what is seen to listen may be told to be dead
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	if kind == "shy" && string(offline) == "then" {
		return errors.New("no network any more")
	}
	var mute atomic.Bool
	go func() {
		<-dead
		mute.Store(true)
		fmt.Println("mute now")
	}()
	for {
		client, err := ln.Accept()
		if err != nil {
			return err
		}
		if kind == "once" {
			ln.Close()
		}
		if mute.Load() {
			go func() { _, _ = io.Copy(io.Discard, client) }() // it stays open until the client closes it
			continue
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			if kind == "lost" {
				return err
			}
			continue
		}
		go func() {
			_, _ = io.Copy(client, server)
			client.Close()
		}()
		carry := func() {
			_, _ = io.Copy(server, client)
			server.Close()
		}
		if kind != "mute" {
			carry()
			return nil
		}
		go carry()
	}
}

// listenerName is what the test binary is called by where it stands in for tunhook's listeners.
const listenerName = "listener"

// listen stands in for a listener: it takes connections until it is told to end. With --ready vnc it ends at once, saying so.
func listen(args []string) error {
	if slices.Contains(args, "vnc") {
		return errors.New("no listener today")
	}
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	ln, err := net.Listen("tcp", args[len(args)-1])
	if err != nil {
		return err
	}
	for {
		if _, err := ln.Accept(); err != nil { // its connection stays open
			return err
		}
	}
}
