package main

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func (c *command) listenCommand() *cli.Command {
	return &cli.Command{
		Name:      "listen",
		Usage:     "wait for connections: the first starts the tunnel, the last ends it",
		UsageText: "tunhook listen [flags] ROUTE [LISTEN] [-- TUNNEL-ARG...]",
		Description: "For clients that run no commands: they connect to LISTEN (if left out, the configuration's or else \"stable\"), which is " +
			"printed, and wait there while you sign in. A port check starts nothing. Processes of other users are refused. \"tunhook enable\" does this at every login.\n\n" +
			example + "  tunhook listen desk.corp.example.com:3389",
		Flags:  listenFlags("auto"),
		Action: c.listen,
	}
}

// listenFlags are the flags of listen and enable alike.
func listenFlags(notify string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ready", Usage: "what the clients speak: `KIND` is " + tunnel.OneOf(tunnel.ReadyKinds()[1:]) + ", or listen for anything else", DefaultText: "the configuration's, or what fits the route's port"},
		&cli.DurationFlag{Name: "linger", Usage: "end the tunnel `TIME` after its last connection has ended", DefaultText: hook.DefaultLinger.String()},
		&cli.DurationFlag{Name: "timeout", Usage: "close a connection that was not answered after `TIME`, for instance because nobody has signed in; a server that is not there is tried again until then", DefaultText: "3m, or the configuration's where that is longer"},
		notifyFlag(notify),
	}
}

func (c *command) listen(ctx *cli.Context) error {
	err := c.openNotifier(ctx.String("notify"))
	if err != nil {
		return err
	}
	req := hook.ListenRequest{Ready: ctx.String("ready"), Args: c.afterDashes, Failed: c.ui.failure}
	if req.Route, req.Listen, err = positionals(ctx, true); err != nil {
		return err
	}
	c.ui.route = req.Route
	if err := checkReady(req.Ready); err != nil {
		return err
	}
	if req.Linger, err = positive(ctx, "linger"); err != nil {
		return err
	}
	if req.Timeout, err = positive(ctx, "timeout"); err != nil {
		return err
	}
	if req.Socket, err = c.handedOver(); err != nil {
		return err
	}
	h, err := c.hook()
	if err != nil {
		return err
	}
	req.Listening = c.ui.listening
	stayResident()
	return h.Listen(ctx.Context, req)
}

func checkReady(ready string) error {
	if err := tunnel.CheckReady(ready); err != nil {
		return usagef("--ready is %q: give %s", ready, tunnel.OneOf(tunnel.ReadyKinds()))
	}
	return nil
}

// activated tells whether a service manager has started this process with sockets, sd_listen_fds(3).
func (c *command) activated() bool { return c.variable("LISTEN_PID") == strconv.Itoa(os.Getpid()) }

// takeSockets takes the sockets of the service manager, which stay open. From then on the variables that tell of them
// are gone: other programs would misunderstand them.
func (c *command) takeSockets() []*os.File {
	if c.activated() {
		c.sockets = socketsFrom(c.variable("LISTEN_FDS"))
		c.environ = slices.DeleteFunc(slices.Clone(c.environ), func(v string) bool { return strings.HasPrefix(v, "LISTEN_") })
	}
	return c.sockets
}

// socketsFrom takes as many descriptors as a service manager says that it hands over, as far as they are open. They are
// closed in the programs that are launched, sd_listen_fds(3).
func socketsFrom(count string) (sockets []*os.File) {
	const first = 3 // SD_LISTEN_FDS_START
	n, _ := strconv.Atoi(count)
	for fd := first; fd < first+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			break
		}
		sockets = append(sockets, os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd)+" of the service manager"))
	}
	return sockets
}

// handedOver gives the one listening socket of the service manager; nil where there is no such thing.
func (c *command) handedOver() (*net.TCPListener, error) {
	if !c.activated() {
		return nil, nil
	}
	sockets := c.takeSockets()
	if len(sockets) != 1 {
		return nil, usagef("the service manager has handed over %d sockets: %s", len(sockets), oneStream)
	}
	listener, err := net.FileListener(sockets[0])
	if socket, ok := listener.(*net.TCPListener); ok && tunnel.Listens(sockets[0]) {
		return socket, nil
	}
	if err != nil {
		return nil, usagef("the service manager has handed over what takes no connections: %s", oneStream)
	}
	listener.Close()
	if _, ok := listener.(*net.TCPListener); ok {
		return nil, usagef("the service manager has handed over a connection, and no socket to take more from: leave Accept= out of the unit")
	}
	return nil, usagef("the service manager has handed over a socket that is not TCP's: %s", oneStream)
}

// oneStream is what the socket's unit must have.
const oneStream = "the unit must have one ListenStream=, with an address and a port"
