//go:build e2e

package e2e

import (
	"context"
	"encoding/json"

	"github.com/godbus/dbus/v5"
	"github.com/tunhook/tunhook/hook/sessionbus"
)

// A notification is what dunst showed to the user.
type notification struct {
	summary, body, appName string
}

// startDunst starts a notification daemon that shows every notification until it is
// closed, so that screenshots have them.
func (d *desktop) startDunst() *process {
	d.t.Helper()
	config := d.path(".config", "dunst", "dunstrc")
	d.write(config, `[global]
font = DejaVu Sans 11
width = (0, 600)
height = 400
idle_threshold = 0
history_length = 1000
[urgency_low]
timeout = 0
[urgency_normal]
timeout = 0
[urgency_critical]
timeout = 0
`)
	dunst := d.start("/usr/bin/dunst", "-config", config)
	eventually(d.t, patience, "dunst answers", func() bool {
		return d.run("/usr/bin/dunstctl", "is-paused").status == 0
	})
	return dunst
}

// shownNotifications returns how many notifications are on the screen.
func (d *desktop) shownNotifications() int {
	d.t.Helper()
	var count int
	d.unmarshal(d.must("/usr/bin/dunstctl", "count", "displayed"), &count)
	return count
}

// notifications closes all notifications and returns every one that there has been and
// that was not replaced, newest first.
func (d *desktop) notifications() []notification {
	d.t.Helper()
	d.must("/usr/bin/dunstctl", "close-all")
	var all []notification
	for _, n := range d.dunstHistory() {
		text := func(name string) string {
			value, _ := n[name].Value().(string)
			return value
		}
		all = append(all, notification{summary: text("summary"), body: text("body"), appName: text("appname")})
	}
	return all
}

// dunstHistory is what "dunstctl history" prints, which needs systemd's busctl for it.
func (d *desktop) dunstHistory() (history []map[string]dbus.Variant) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	bus, err := sessionbus.Dial(ctx, d.env())
	if err != nil {
		d.t.Fatal(err)
	}
	defer bus.Close()
	dunst := bus.Object("org.freedesktop.Notifications", "/org/freedesktop/Notifications")
	if err := dunst.CallWithContext(ctx, "org.dunstproject.cmd0.NotificationListHistory", 0).Store(&history); err != nil {
		d.t.Fatal(err)
	}
	return history
}

func (d *desktop) unmarshal(text string, value any) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(text), value); err != nil {
		d.t.Fatalf("%v in %s", err, text)
	}
}
