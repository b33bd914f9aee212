// Package sessionbus connects to the D-Bus session bus that an environment names. It starts nothing: where no bus runs, there is
// none.
package sessionbus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/tunhook/tunhook/tunnel"
)

// ErrNone says that the environment leads to no session bus.
var ErrNone = errors.New("no session bus")

// Dial connects to the session bus of environ, which has the form of os.Environ. ctx bounds the connecting only; the connection
// outlives it, belongs to the caller alone, and is the caller's to close. The error is ErrNone, the end of ctx, or says why the
// bus did not let us in.
func Dial(ctx context.Context, environ []string) (*dbus.Conn, error) {
	address := Address(environ)
	if address == "" {
		return nil, ErrNone
	}
	conn, err := dbus.Dial(address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // ends the reads that neither Auth nor Hello bounds
	err = enter(conn)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func enter(conn *dbus.Conn) error {
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return err
	}
	return conn.Hello()
}

// Address is the address of the session bus in the form of the D-Bus Specification, "Server Addresses", and empty where environ
// names none that is reached through a local socket. Without DBUS_SESSION_BUS_ADDRESS it is the socket at which systemd's user
// manager listens, where that exists. An "autolaunch:" address would start a bus, one over TCP may keep its caller waiting:
// neither is used.
func Address(environ []string) string {
	if set := tunnel.Getenv(environ, "DBUS_SESSION_BUS_ADDRESS"); set != "" {
		var local []string
		for address := range strings.SplitSeq(set, ";") {
			if strings.HasPrefix(address, "unix:") {
				local = append(local, address)
			}
		}
		return strings.Join(local, ";")
	}
	dir := tunnel.Getenv(environ, "XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		return ""
	}
	socket := filepath.Join(dir, "bus")
	if info, err := os.Stat(socket); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return ""
	}
	return "unix:path=" + dbus.EscapeBusAddressValue(socket)
}
