//go:build e2e

package e2e

import (
	"encoding/json"
	"time"
)

// A notification is what dunst showed to the user.
type notification struct {
	summary, body, appName string
	id                     int
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
[urgency_low]
timeout = 0
[urgency_normal]
timeout = 0
[urgency_critical]
timeout = 0
`)
	dunst := d.start("/usr/bin/dunst", "-config", config)
	eventually(d.t, 10*time.Second, "dunst answers", func() bool {
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
	// D-Bus variants, each as {"type": …, "data": …}.
	type text struct{ Data string }
	type number struct{ Data int }
	var history struct {
		Data [][]struct {
			Summary, Body, AppName text
			ID                     number
		}
	}
	d.unmarshal(d.must("/usr/bin/dunstctl", "history"), &history)
	var all []notification
	for _, n := range history.Data[0] {
		all = append(all, notification{
			summary: n.Summary.Data,
			body:    n.Body.Data,
			appName: n.AppName.Data,
			id:      n.ID.Data,
		})
	}
	return all
}

func (d *desktop) unmarshal(text string, value any) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(text), value); err != nil {
		d.t.Fatalf("%v in %s", err, text)
	}
}
