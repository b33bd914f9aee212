package hook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"golang.org/x/sys/unix"
)

// RunRequest says which client to run over which tunnel.
type RunRequest struct {
	Start  StartRequest
	Client []string // the client and its arguments, with placeholders: {address}, {host}, {port}, {route_host}, {route_port}
	Stdin  *os.File
	Stdout *os.File
	Stderr *os.File
	Ready  func(Started) // told when the tunnel is ready, before the client starts; may be nil
}

// ClientError says that the client cannot be run.
type ClientError struct {
	Client string
	Err    error
	Found  bool // it is there, but cannot be executed
}

func (e *ClientError) Error() string {
	if e.Found {
		return fmt.Sprintf("client %s cannot be executed: %v", e.Client, e.Err)
	}
	return fmt.Sprintf("client %s was not found on PATH: install it, or give its full path", e.Client)
}

func (e *ClientError) Unwrap() error { return e.Err }

// LetGoError says why the tunnel could not be ended with its client, which has run.
type LetGoError struct{ Err error }

func (e *LetGoError) Error() string {
	return "the client has ended, but not its tunnel: " + e.Err.Error()
}

func (e *LetGoError) Unwrap() error { return e.Err }

// Run starts the tunnel, or joins it, runs the client, and lets go of the tunnel on every path out; a client that has
// handed over to another one leaves it to that. The status is the client's, 128+N where signal N ended it. Errors are
// those of Start, *ClientError, with which nothing was started, and *LetGoError, with which the status is the client's
// all the same.
func (h *Env) Run(ctx context.Context, req RunRequest) (status int, err error) {
	path, err := findClient(req.Client[0], tunnel.Getenv(h.Environ, "PATH"))
	if err != nil {
		return 0, err
	}
	self, err := process.Self()
	if err != nil {
		return 0, err
	}
	t, err := h.target(req.Start.Route, req.Start.Listen)
	if err != nil {
		return 0, err
	}
	caught := caughtForClient()
	req.Start.EndWith = append(req.Start.EndWith, self) // its end is noticed also when it is killed
	started, err := h.Start(ctx, req.Start)
	if err != nil {
		return 0, err
	}
	visits := tunnel.WatchVisits(started.Address)
	defer visits.Close()
	handedOver := false
	defer func() {
		if started.Reused == nil {
			err = h.letGo(ctx, req.Client[0], started.Record, self, handedOver, err)
		}
	}()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, caught...)
	defer signal.Stop(signals)
	if ctx.Err() != nil { // the signal came when the tunnel had just become ready
		return 0, ctx.Err()
	}
	if req.Ready != nil {
		req.Ready(started)
	}
	status, told, err := h.runClient(path, req, placeholders(started.Address, t.route), signals)
	handedOver = err == nil && status == 0 && !told && notUsed(visits)
	return status, err
}

// letGo lets go of a run's tunnel, and adds to the error of the run what comes of that.
func (h *Env) letGo(
	ctx context.Context, client string, rec pidfile.Record, self process.Identity, handedOver bool, runErr error,
) error {
	left, err := h.leave(context.WithoutCancel(ctx), rec, self, handedOver)
	if left {
		to, _ := tunnel.Clients(rec.Address) // only for the message
		h.notice(HandedOver{client, rec, to})
	}
	if err != nil && runErr == nil {
		err = &LetGoError{err}
	}
	return errors.Join(runErr, err)
}

// notUsed tells, of a client that has ended well, whether it has not used the tunnel itself: no connection has come and
// gone. So it has left the tunnel to another process, which may be connected already: one that ran before and was asked
// to open another window, or a child.
func notUsed(visits *tunnel.Visits) bool {
	for range 50 { // one that was reset the kernel tells of a little later
		if visits.EndedByNow() {
			return false
		}
		time.Sleep(visitPause)
	}
	return true
}

// visitPause is the time between two looks for the end of a connection that ended with the client.
const visitPause = 10 * time.Millisecond

// caughtForClient are the signals to catch while the client runs: those that are passed on to it, but for one that this
// process was started with ignored, which stays so in the client too: nohup(1) does that. It must be asked before
// anything is launched, after which that cannot be told any more. A signal that is caught has its default action in the
// client, which is what undoes tunnel.IgnoredByLaunch.
func caughtForClient() []os.Signal {
	return append(slices.DeleteFunc(PassedOn(), signal.Ignored), tunnel.IgnoredByLaunch)
}

// findClient finds the client as a shell would.
func findClient(client, path string) (string, error) {
	if strings.Contains(client, "/") {
		return client, executableClient(client, client)
	}
	var found error = &ClientError{Client: client, Err: exec.ErrNotFound}
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + client
		err := executableClient(client, file)
		if err == nil {
			return file, nil
		}
		if c := new(ClientError); errors.As(err, &c) && c.Found {
			found = err
		}
	}
	return "", found
}

func executableClient(client, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return &ClientError{Client: client, Err: err}
	}
	if info.IsDir() {
		return &ClientError{client, syscall.EISDIR, true}
	}
	if err := unix.Access(file, unix.X_OK); err != nil {
		return &ClientError{client, err, true}
	}
	return nil
}

// placeholders gives {address} and the like with their values, and the environment variables that say the same.
func placeholders(address netip.AddrPort, route tunnel.Route) map[string]string {
	return map[string]string{
		"{address}":    address.String(),
		"{host}":       address.Addr().String(),
		"{port}":       strconv.Itoa(int(address.Port())),
		"{route_host}": route.Host(),
		"{route_port}": strconv.Itoa(int(route.Port())),
	}
}

func fillIn(args []string, values map[string]string) []string {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, name, value)
	}
	replacer := strings.NewReplacer(pairs...)
	filled := make([]string, len(args))
	for i, a := range args {
		filled[i] = replacer.Replace(a)
	}
	return filled
}

// PassedOn are the signals that a run hands to its client.
func PassedOn() []os.Signal {
	return []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT,
	}
}

// runClient gives the client's status, and whether a signal has told it to end.
func (h *Env) runClient(path string, req RunRequest, values map[string]string, signals <-chan os.Signal) (
	status int, told bool, err error,
) {
	cmd := &exec.Cmd{
		Path: path, Args: fillIn(req.Client, values),
		Env: append(withoutProxy(slices.Clone(h.Environ), netip.MustParseAddr(values["{host}"])),
			"TUNHOOK_ADDRESS="+values["{address}"], "TUNHOOK_HOST="+values["{host}"], "TUNHOOK_PORT="+values["{port}"]),
		Stdin: req.Stdin, Stdout: req.Stdout, Stderr: req.Stderr,
	}
	if err := cmd.Start(); err != nil {
		return 0, false, &ClientError{req.Client[0], underlying(err), true}
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state says it all
		close(ended)
	}()
	for {
		select {
		case sig := <-signals:
			told = told || asksToEnd(sig)
			if !fromTerminal(sig) {
				_ = cmd.Process.Signal(sig) // it may have ended by itself
			}
		case <-ended:
			return tunnel.ExitStatus(cmd.ProcessState), told, nil
		}
	}
}

// asksToEnd tells whether a signal asks a client to end.
func asksToEnd(sig os.Signal) bool {
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
		return true
	}
	return false
}

// fromTerminal tells whether the client has got the signal itself: the terminal sends SIGINT and the like to its whole
// foreground process group.
func fromTerminal(sig os.Signal) bool {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
	default:
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

func underlying(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
