//go:build e2e

package e2e

import "testing"

func TestDunstKeepsEveryNotification(t *testing.T) {
	t.Parallel()
	d := newDesktop(t)
	d.startDunst()
	d.must("/usr/bin/notify-send", "--app-name=first", "one", "<b>bold</b> & more")
	d.must("/usr/bin/notify-send", "--app-name=second", "two")
	if shown := d.shownNotifications(); shown != 2 {
		t.Errorf("%d notifications are shown, want 2", shown)
	}
	d.screenshot("notifications")

	got := d.notifications()
	if len(got) != 2 {
		t.Fatalf("got %+v, want two notifications", got)
	}
	if got[0].summary != "two" || got[1].appName != "first" {
		t.Errorf("got %+v, want the newest first", got)
	}
}

func TestNoNotificationDaemonStartsByItself(t *testing.T) {
	t.Parallel()
	d := newDesktop(t)
	if got := d.run("/usr/bin/notify-send", "one"); got.status == 0 {
		t.Errorf("somebody took a notification: %v", got)
	}
}
