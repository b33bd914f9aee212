package notify

import (
	"context"
	"slices"

	"github.com/godbus/dbus/v5"
)

// signIn is the sign-in notification that was shown last.
type signIn struct {
	id         uint32 // 0: not on the screen, or no more
	server     string // the bus name of the server that shows it
	url        string
	activation string // the XDG activation token that came with the last click
}

func (d *desktop) showSignIn(ctx context.Context, s SignIn) {
	dismissed := d.signIn.id == 0 && d.signIn.url != "" && d.signIn.url == s.URL
	if dismissed {
		return
	}
	if !d.connect(ctx) {
		return
	}
	n := notification{
		replaces: d.signIn.id,
		icon:     "dialog-password", // Icon Naming Specification, status icons
		message:  s.Message,
		hints: map[string]dbus.Variant{
			"urgency":  dbus.MakeVariant(normal),
			"resident": dbus.MakeVariant(true), // stays after a click, so that a closed tab can be opened again
		},
		expire: s.Expire,
	}
	switch {
	case !webAddress(s.URL):
	case slices.Contains(d.can, "actions"):
		// "default" is a click on the notification itself, which not every server shows as a button.
		n.actions = []string{"default", line(s.Button, maxSummary), "open", line(s.Button, maxSummary)}
	case len(s.URL) < maxBody-1: // half of an address is of no use
		n.message.Body = clip(s.Body, maxBody-1-len(s.URL)) + "\n" + s.URL
	}
	if id := d.show(ctx, n); id != 0 {
		d.signIn = signIn{id: id, url: s.URL}
		d.signIn.server = d.owner(ctx) // which may find that the bus has ended, and with it all this
	}
}

func (d *desktop) closeSignIn(ctx context.Context) {
	if id := d.signIn.id; id != 0 {
		d.call(ctx, "CloseNotification", nil, id)
	}
	d.signIn = signIn{}
}
