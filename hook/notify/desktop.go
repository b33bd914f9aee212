package notify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/tunhook/tunhook/hook/sessionbus"
)

const (
	service = "org.freedesktop.Notifications"
	object  = dbus.ObjectPath("/org/freedesktop/Notifications")

	// appName also stands where servers show no icon. The hint "desktop-entry" is left out on purpose: GNOME Shell takes the
	// notifications of an application that it knows away as soon as their sender leaves the bus, which a hook does at once.
	appName = "tunhook"

	// normal is an urgency level. A failure is no more than that: "critical" stays until it is clicked away and breaks through
	// "do not disturb", which a tunnel that did not start is not worth.
	normal = byte(1)

	serverDecides = time.Duration(-1)
)

// desktop is the notification server, as far as one goroutine has come to know it.
type desktop struct {
	environ []string
	tried   bool
	conn    *dbus.Conn // nil: not connected
	signals chan *dbus.Signal
	can     []string // the server's capabilities
	signIn  signIn
}

type notification struct {
	replaces uint32 // an id, or 0
	icon     string
	message  Message
	actions  []string // keys and labels in turn
	hints    map[string]dbus.Variant
	expire   time.Duration // 0 is never
}

// connect tells whether there is a server. It looks for one only once: one that came too late or hung is not waited for again.
func (d *desktop) connect(ctx context.Context) bool {
	if d.tried {
		return d.conn != nil
	}
	d.tried = true
	dialling, done := context.WithTimeout(ctx, callPatience)
	defer done()
	conn, err := sessionbus.Dial(dialling, d.environ)
	if err != nil {
		return false
	}
	d.conn = conn
	d.signals = make(chan *dbus.Signal, 16)
	conn.Signal(d.signals)
	err = conn.AddMatchSignalContext(dialling, dbus.WithMatchSender(service), dbus.WithMatchInterface(service), dbus.WithMatchObjectPath(object))
	if err == nil && d.call(ctx, "GetCapabilities", []any{&d.can}) {
		return true
	}
	d.disconnect()
	return false
}

func (d *desktop) disconnect() {
	if d.conn == nil {
		return
	}
	d.conn.Close()
	d.conn, d.signals, d.signIn = nil, nil, signIn{}
}

// call calls a method of the server and stores what it returns. A server that answers with an error may do better with the next
// call (it has forgotten an id, say); one that does not answer is given up.
func (d *desktop) call(ctx context.Context, method string, results []any, args ...any) bool {
	ctx, done := context.WithTimeout(ctx, callPatience)
	defer done()
	err := d.conn.Object(service, object).CallWithContext(ctx, service+"."+method, 0, args...).Store(results...)
	if answered := (dbus.Error{}); err != nil && !errors.As(err, &answered) {
		d.disconnect()
	}
	return err == nil
}

func (d *desktop) fail(ctx context.Context, m Message) {
	d.show(ctx, notification{
		icon:    "network-error", // Icon Naming Specification, status icons
		message: m,
		hints: map[string]dbus.Variant{
			"urgency":  dbus.MakeVariant(normal),
			"category": dbus.MakeVariant("network.error"),
		},
		expire: serverDecides,
	})
}

// show returns the id under which the server shows the notification, and 0 where it does not.
func (d *desktop) show(ctx context.Context, n notification) (id uint32) {
	if !d.connect(ctx) {
		return 0
	}
	body := clip(n.message.Body, maxBody)
	if slices.Contains(d.can, "body-markup") {
		body = escape(body)
	}
	if n.actions == nil {
		n.actions = []string{}
	}
	expire := int32(-1)
	if n.expire != serverDecides {
		expire = int32(min(n.expire, 24*time.Hour).Milliseconds())
	}
	d.call(ctx, "Notify", []any{&id}, appName, n.replaces, n.icon, line(n.message.Summary, maxSummary), body, n.actions, n.hints, expire)
	return id
}

// owner is the bus name, unique and never given again, of the server that runs now, and empty where that cannot be told.
func (d *desktop) owner(ctx context.Context) (name string) {
	if d.conn == nil {
		return ""
	}
	ctx, done := context.WithTimeout(ctx, callPatience)
	defer done()
	err := d.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, service).Store(&name)
	if answered := (dbus.Error{}); err != nil && !errors.As(err, &answered) {
		d.disconnect()
	}
	return name
}

// receive acts on a signal; nil comes from a connection that has ended. Match rules keep out only what is sent to everybody:
// anybody on the bus can send a signal straight to us. So it must come from the server that shows the notification. One that
// takes its place does not show it, and gives its number to another.
func (d *desktop) receive(s *dbus.Signal) {
	if s == nil {
		d.disconnect()
		return
	}
	if len(s.Body) != 2 || s.Path != object || s.Sender == "" || s.Sender != d.signIn.server {
		return
	}
	id, ok := s.Body[0].(uint32)
	if !ok || id == 0 || id != d.signIn.id {
		return
	}
	text, _ := s.Body[1].(string)
	switch s.Name {
	case service + ".ActivationToken":
		d.signIn.activation = text
	case service + ".ActionInvoked":
		openURL(d.environ, d.signIn.url, d.signIn.activation)
	case service + ".NotificationClosed":
		d.signIn.id = 0
	}
}

func (d *desktop) leave(ctx context.Context) {
	d.closeSignIn(ctx)
	d.disconnect()
}
