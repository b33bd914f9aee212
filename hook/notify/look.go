package notify

import (
	"context"
	"errors"
	"slices"

	"github.com/godbus/dbus/v5"
	"github.com/tunhook/tunhook/hook/sessionbus"
)

// ErrNoServer says that nobody on the session bus shows notifications, nor would be started to.
var ErrNoServer = errors.New("no notification server")

// Server is what shows notifications.
type Server struct {
	Name, Version string // "" for one that is started when it is needed
}

// Look looks for the server of the session that environ belongs to, until ctx is done. It shows nothing and starts nobody. The error is
// ErrNoServer, or says why the bus or the server does not answer.
func Look(ctx context.Context, environ []string) (Server, error) {
	conn, err := sessionbus.Dial(ctx, environ)
	if err != nil {
		return Server{}, err
	}
	defer conn.Close()
	var there bool
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, service).Store(&there); err != nil {
		return Server{}, err
	}
	if !there {
		var names []string
		err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names)
		if err == nil && !slices.Contains(names, service) {
			err = ErrNoServer
		}
		return Server{}, err
	}
	var s Server
	var vendor, spec string
	err = conn.Object(service, object).CallWithContext(ctx, service+".GetServerInformation", dbus.FlagNoAutoStart).Store(&s.Name, &vendor, &s.Version, &spec)
	if errors.As(err, new(dbus.Error)) {
		err = nil // it is there, and does not tell its name
	}
	return s, err
}
