package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/flatpak"
	"github.com/tunhook/tunhook/hook/notify"
	"github.com/tunhook/tunhook/pidfile/process"
	"golang.org/x/term"
)

// instanceVariable tells tunhook on the host from which sandbox it was called: there "--end-with parent" means the sandbox.
const instanceVariable = "TUNHOOK_FLATPAK_INSTANCE"

// onHost runs the command line again on the host, where the tunnel programs are, if this is the inside of a Flatpak sandbox.
func (c *command) onHost(ctx context.Context, args []string) (status int, left bool) {
	sandbox, inside := flatpak.Inside(os.DirFS("/"))
	if !inside {
		return 0, false
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, hook.PassedOn()...)
	defer signal.Stop(signals)
	status, err := sandbox.Run(context.WithoutCancel(ctx), c.environ, flatpak.Command{
		Argv:    append([]string{hostProgram()}, args[1:]...),
		Dir:     c.hostDir(),
		Env:     []string{instanceVariable + "=" + sandbox.InstanceID},
		Stdin:   c.stdin,
		Stdout:  c.ui.stdout,
		Stderr:  c.ui.stderr,
		Signals: signals,
	})
	if err == nil {
		return status, true
	}
	isStop := calls(args, "stop") // which the client calls as well: once is enough
	if !isStop && !term.IsTerminal(int(c.ui.stderr.Fd())) {
		c.ui.notifier = notify.Open(c.environ)
		defer c.ui.notifier.Close()
	}
	c.ui.failure(err)
	return hostStatus(err), true
}

func hostStatus(err error) int {
	var program *flatpak.ProgramError
	if errors.As(err, &program) && errors.Is(err, fs.ErrNotExist) {
		return exitNoProgram
	}
	return exitUnexpected
}

// hostProgram is this program as the host knows it: by the same path where the sandbox shows the host's files, which those of
// /app and /usr are not, otherwise by name.
func hostProgram() string {
	self, err := os.Executable()
	if err != nil || strings.HasPrefix(self, "/app/") || strings.HasPrefix(self, "/usr/") {
		return "tunhook"
	}
	return self
}

// hostDir is the working directory, where the host has the same one.
func (c *command) hostDir() string {
	home := c.variable("HOME")
	if dir, err := os.Getwd(); err == nil && home != "" && (dir == home || strings.HasPrefix(dir, home+"/")) {
		return dir
	}
	return "/"
}

// parent is the process that "--end-with parent" means: the one that called tunhook, or the application in the sandbox that did.
func (c *command) parent(args []string) (process.Identity, error) {
	host := flatpak.Host{RuntimeDir: c.variable("XDG_RUNTIME_DIR"), Proc: os.DirFS("/proc")}
	instance := c.variable(instanceVariable)
	if instance == "" && filepath.IsAbs(host.RuntimeDir) {
		if sandbox, ok := host.Caller(args); ok {
			instance = sandbox.InstanceID
		}
	}
	if instance == "" {
		return callerOf(os.Getppid())
	}
	pid, err := host.MainProcess(instance)
	if err != nil {
		return process.Identity{}, err
	}
	return process.Identify(pid)
}

// callerOf is the process that called tunhook, whose parent now is ppid: process 1 takes in those whose own parent has ended.
func callerOf(ppid int) (process.Identity, error) {
	if ppid <= 1 {
		return process.Identity{}, process.ErrGone
	}
	return process.Identify(ppid)
}
