package notify

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/tunhook/tunhook/hook/sessionbus/bustest"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// waits is how long a test waits for what must happen: far longer than it takes, on a machine that has much else to do.
const waits = time.Minute

// server is a notification server that remembers what it was asked for.
type server struct {
	*bustest.Bus
	calls chan bustest.Call
}

func startServer(t *testing.T, capabilities ...string) *server {
	s := &server{calls: make(chan bustest.Call, 100)}
	var last uint32
	s.Bus = bustest.Start(t, func(_ *bustest.Bus, c bustest.Call) ([]any, *dbus.Error) {
		switch c.Method {
		case service + ".GetCapabilities":
			return []any{capabilities}, nil
		case service + ".Notify":
			s.calls <- c
			if id := c.Args[1].(uint32); id != 0 {
				return []any{id}, nil
			}
			last++
			return []any{last}, nil
		case service + ".CloseNotification":
			s.calls <- c
			return nil, nil
		}
		return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownMethod", nil)
	})
	return s
}

// next is the next call that asked for something to be shown or closed.
func (s *server) next(t *testing.T) shown {
	t.Helper()
	select {
	case c := <-s.calls:
		return describe(c)
	case <-time.After(waits):
		t.Fatal("the server was not called")
		panic("unreachable")
	}
}

// shown is a call in words.
type shown struct {
	Close                       uint32 // the id to close; the rest is empty then
	App, Icon, Summary, Body    string
	Replaces                    uint32
	Actions                     []string
	Urgency, Category, Resident any
	Expire                      int32
}

func describe(c bustest.Call) shown {
	if strings.HasSuffix(c.Method, ".CloseNotification") {
		return shown{Close: c.Args[0].(uint32)}
	}
	hints := c.Args[6].(map[string]dbus.Variant)
	return shown{
		App: c.Args[0].(string), Replaces: c.Args[1].(uint32), Icon: c.Args[2].(string),
		Summary: c.Args[3].(string), Body: c.Args[4].(string), Actions: c.Args[5].([]string),
		Urgency: hints["urgency"].Value(), Category: hints["category"].Value(), Resident: hints["resident"].Value(),
		Expire: c.Args[7].(int32),
	}
}

func open(t *testing.T, environ []string) *Notifier {
	n := Open(environ)
	t.Cleanup(n.Close)
	return n
}

var signInMessage = SignIn{
	Message: Message{Summary: "Sign in to desk", Body: "A browser window is waiting"},
	URL:     "https://login.example.com/?a=1&b=2", Button: "Open", Expire: time.Minute,
}

func TestFailureIsShownAndLeftOnTheScreen(t *testing.T) {
	s := startServer(t, "body", "body-markup", "actions")
	n := open(t, s.Environ())
	n.Fail(Message{Summary: "desk:\n3389 failed", Body: "a <b> & \x1b[31mc\x00\nsecond line"})
	n.Close()
	want := shown{
		App: "tunhook", Icon: "network-error", Summary: "desk: 3389 failed", Body: "a &lt;b&gt; &amp; [31mc\nsecond line",
		Actions: []string{}, Urgency: normal, Category: "network.error", Expire: -1,
	}
	if diff := cmp.Diff(want, s.next(t)); diff != "" {
		t.Error(diff)
	}
	if len(s.calls) > 0 {
		t.Error("further calls, the first", describe(<-s.calls))
	}
}

func TestTextIsNotEscapedWhereTheServerReadsNoMarkup(t *testing.T) {
	s := startServer(t, "body")
	n := open(t, s.Environ())
	n.Fail(Message{Body: "a <b> & c"})
	if got := s.next(t).Body; got != "a <b> & c" {
		t.Errorf("body %q", got)
	}
}

func TestSignInIsReplacedInPlaceAndTakenAway(t *testing.T) {
	s := startServer(t, "body", "actions")
	n := open(t, s.Environ())
	n.SignIn(signInMessage)
	want := shown{
		App: "tunhook", Icon: "dialog-password", Summary: "Sign in to desk", Body: "A browser window is waiting",
		Actions: []string{"default", "Open", "open", "Open"}, Urgency: normal, Resident: true, Expire: 60000,
	}
	if diff := cmp.Diff(want, s.next(t)); diff != "" {
		t.Error(diff)
	}
	n.SignIn(signInMessage)
	want.Replaces = 1
	if diff := cmp.Diff(want, s.next(t)); diff != "" {
		t.Error(diff)
	}
	n.SignedIn()
	if diff := cmp.Diff(shown{Close: 1}, s.next(t)); diff != "" {
		t.Error(diff)
	}
	n.Close()
	if len(s.calls) > 0 {
		t.Error("further calls, the first", describe(<-s.calls))
	}
}

func TestCloseTakesAWaitingSignInAwayAndLeavesTheBus(t *testing.T) {
	s := startServer(t, "actions")
	n := open(t, s.Environ())
	n.SignIn(signInMessage)
	n.Close()
	s.next(t)
	if diff := cmp.Diff(shown{Close: 1}, s.next(t)); diff != "" {
		t.Error(diff)
	}
	tunneltest.Eventually(t, "the connection ends", func() bool { return s.Clients() == 0 })
}

func TestSignInThatTheUserClosedStaysClosed(t *testing.T) {
	s := startServer(t, "actions")
	n := open(t, s.Environ())
	n.SignIn(signInMessage)
	s.next(t)
	s.Emit(object, service+".NotificationClosed", uint32(1), uint32(2))
	tunneltest.Eventually(t, "the sign-in is not shown again", func() bool {
		n.SignIn(signInMessage)
		n.Fail(Message{Summary: "marks the end of what the sign-in led to"})
		if s.next(t).Icon == "network-error" {
			return true
		}
		s.next(t)
		return false
	})
	another := signInMessage
	another.URL = "https://login.example.com/another"
	n.SignIn(another)
	if got := s.next(t); got.Icon != "dialog-password" || got.Replaces != 0 {
		t.Errorf("a sign-in at another address was not shown anew: %+v", got)
	}
}

func TestServerWithoutButtonsShowsTheAddress(t *testing.T) {
	s := startServer(t, "body", "body-markup")
	n := open(t, s.Environ())
	n.SignIn(signInMessage)
	got := s.next(t)
	if want := "A browser window is waiting\nhttps://login.example.com/?a=1&amp;b=2"; got.Body != want || len(got.Actions) > 0 {
		t.Errorf("body %q, actions %q", got.Body, got.Actions)
	}
}

// TestLongAddressIsOpenedByAClick: an address with a signed request in it is longer than a notification.
func TestLongAddressIsOpenedByAClick(t *testing.T) {
	s := startServer(t, "body", "actions")
	environ, opened := fakeBrowser(t)
	n := open(t, append(environ, s.Environ()...))
	long := signInMessage
	long.URL += strings.Repeat("x", 20*maxBody)
	n.SignIn(long)
	if got := s.next(t); len(got.Actions) == 0 {
		t.Fatalf("no button: %+v", got)
	}
	s.Emit(object, service+".ActionInvoked", uint32(1), "open")
	tunneltest.Eventually(t, "xdg-open runs", func() bool { return strings.HasSuffix(opened(), "\n") })
	if want := "[" + long.URL + "] \n"; opened() != want {
		t.Errorf("xdg-open got %d characters, want %d", len(opened()), len(want))
	}
}

func TestServerWithoutButtonsShowsAnAddressWholeOrNotAtAll(t *testing.T) {
	s := startServer(t, "body")
	n := open(t, s.Environ())
	for _, length := range []int{maxBody / 2, maxBody - 2, maxBody - 1, maxBody, 20 * maxBody} {
		m := signInMessage
		m.URL += strings.Repeat("x", length-len(m.URL))
		n.SignIn(m)
		got := s.next(t).Body
		whole, none := strings.HasSuffix(got, "\n"+m.URL), got == m.Body
		if whole == none || none != (length > maxBody-2) || utf8.RuneCountInString(got) > maxBody {
			t.Errorf("an address of %d characters: a body of %d, ending in %.20q", length, len(got), got[max(0, len(got)-20):])
		}
	}
}

func TestAddressThatIsNotOfTheWebGetsNoButton(t *testing.T) {
	s := startServer(t, "body", "actions")
	n := open(t, s.Environ())
	bad := signInMessage
	bad.URL = "file:///etc/passwd"
	n.SignIn(bad)
	if got := s.next(t); len(got.Actions) > 0 || strings.Contains(got.Body, "file:") {
		t.Errorf("%+v", got)
	}
}

func TestClickOpensTheAddress(t *testing.T) {
	s := startServer(t, "actions")
	environ, opened := fakeBrowser(t)
	n := open(t, append(environ, s.Environ()...))
	n.SignIn(signInMessage)
	s.next(t)
	s.Emit(object, service+".ActivationToken", uint32(1), "token-7")
	s.Emit(object, service+".ActionInvoked", uint32(1), "open")
	tunneltest.Eventually(t, "xdg-open runs", func() bool { return strings.HasSuffix(opened(), "\n") })
	if want := "[https://login.example.com/?a=1&b=2] token-7\n"; opened() != want {
		t.Errorf("xdg-open got %q, want %q", opened(), want)
	}
}

// TestStrangersClickIsNone: whoever is on the bus can send a signal straight to us.
func TestStrangersClickIsNone(t *testing.T) {
	s := startServer(t, "actions")
	environ, opened := fakeBrowser(t)
	n := open(t, append(environ, s.Environ()...))
	n.SignIn(signInMessage)
	s.next(t)
	for _, stranger := range []string{":1.66", "org.freedesktop.DBus", service, ""} {
		s.EmitFrom(stranger, object, service+".ActivationToken", uint32(1), "forged")
		s.EmitFrom(stranger, object, service+".ActionInvoked", uint32(1), "open")
		s.EmitFrom(stranger, object, service+".NotificationClosed", uint32(1), uint32(2))
	}
	s.Emit("/elsewhere", service+".ActionInvoked", uint32(1), "open")
	s.Emit(object, service+".ActionInvoked", uint32(1), "open") // the user's click, after all of those
	tunneltest.Eventually(t, "xdg-open runs", func() bool { return strings.HasSuffix(opened(), "\n") })
	n.Close()
	if want := "[https://login.example.com/?a=1&b=2] \n"; opened() != want {
		t.Errorf("xdg-open got %q, want %q once", opened(), want)
	}
}

func TestSignalAboutAnotherNotificationIsNotOurs(t *testing.T) {
	want := signIn{id: 1, server: bustest.Owner, url: signInMessage.URL}
	d := desktop{signIn: want}
	for _, name := range []string{"ActivationToken", "NotificationClosed"} {
		d.receive(&dbus.Signal{Sender: bustest.Owner, Path: object, Name: service + "." + name, Body: []any{uint32(2), "x"}})
	}
	if d.signIn != want {
		t.Errorf("got %+v", d.signIn)
	}
}

// TestServerOfWhichNothingIsKnownIsNotBelieved: where the bus does not tell who the server is, the button is dead, and open to nobody.
func TestServerOfWhichNothingIsKnownIsNotBelieved(t *testing.T) {
	want := signIn{id: 1, url: signInMessage.URL}
	d := desktop{signIn: want}
	for _, sender := range []string{"", bustest.Owner} {
		d.receive(&dbus.Signal{Sender: sender, Path: object, Name: service + ".ActivationToken", Body: []any{uint32(1), "x"}})
	}
	if d.signIn != want {
		t.Errorf("got %+v", d.signIn)
	}
}

func TestErrorForOneNotificationDoesNotSilenceTheNext(t *testing.T) {
	failed := false
	calls := make(chan string, 10)
	bus := bustest.Start(t, func(_ *bustest.Bus, c bustest.Call) ([]any, *dbus.Error) {
		switch {
		case strings.HasSuffix(c.Method, ".GetCapabilities"):
			return []any{[]string{"actions"}}, nil
		case !failed:
			failed = true
			return nil, dbus.NewError("org.freedesktop.Notifications.MaxNotificationsExceeded", nil)
		}
		calls <- c.Method
		return []any{uint32(1)}, nil
	})
	n := open(t, bus.Environ())
	n.Fail(Message{Summary: "first"})
	n.Fail(Message{Summary: "second"})
	n.Close()
	if len(calls) != 1 {
		t.Errorf("%d notifications arrived, want the second", len(calls))
	}
}

func TestNothingHappensWithoutADesktop(t *testing.T) {
	noService := bustest.Start(t, func(*bustest.Bus, bustest.Call) ([]any, *dbus.Error) {
		return nil, dbus.NewError("org.freedesktop.DBus.Error.ServiceUnknown", nil)
	})
	for name, environ := range map[string][]string{
		"no bus":         nil,
		"no such socket": {"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(t.TempDir(), "none")},
		"nonsense":       {"DBUS_SESSION_BUS_ADDRESS=nonsense"},
		"no server":      noService.Environ(),
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t, environ)
			n.Fail(Message{Summary: "x"})
			n.SignIn(signInMessage)
			n.SignedIn()
			endsByItself(t, n)
			n.Fail(Message{Summary: "after Close"})
		})
	}
}

func TestDesktopThatHangsDelaysNobodyForLong(t *testing.T) {
	silent, err := net.Listen("unix", filepath.Join(t.TempDir(), "bus"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	stuck := make(chan struct{})
	hangs := bustest.Start(t, func(*bustest.Bus, bustest.Call) ([]any, *dbus.Error) {
		<-stuck
		return nil, nil
	})
	t.Cleanup(func() { close(stuck) })
	slow := bustest.Start(t, func(_ *bustest.Bus, c bustest.Call) ([]any, *dbus.Error) {
		time.Sleep(patience * 2 / 3)
		if strings.HasSuffix(c.Method, ".GetCapabilities") {
			return []any{[]string{}}, nil
		}
		return []any{uint32(1)}, nil
	})
	for name, environ := range map[string][]string{
		"bus":         {"DBUS_SESSION_BUS_ADDRESS=unix:path=" + silent.Addr().String()},
		"server":      hangs.Environ(),
		"slow server": slow.Environ(),
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t, environ)
			took := duration(func() {
				for range 1000 {
					n.SignIn(signInMessage)
				}
				n.Fail(Message{Summary: "x"})
				n.Close()
			})
			if took > waits { // far less than one call that is waited for would make a thousand times
				t.Errorf("all calls together took %v", took)
			}
			select {
			case <-n.ended:
			case <-time.After(waits):
				t.Error("the goroutine did not end")
			}
		})
	}
}

func TestBusThatEndsIsNotWaitedFor(t *testing.T) {
	s := startServer(t, "actions")
	n := open(t, s.Environ())
	n.SignIn(signInMessage)
	s.next(t)
	s.Disconnect()
	n.SignIn(signInMessage)
	endsByItself(t, n)
}

// endsByItself: Close has nothing to wait for.
func endsByItself(t *testing.T, n *Notifier) {
	t.Helper()
	n.close.Do(func() { close(n.closing) }) // Close without its patience
	select {
	case <-n.ended:
	case <-time.After(waits):
		t.Error("it does not end unless it is told to give up")
	}
}

func TestNilNotifierShowsNothing(t *testing.T) {
	var n *Notifier
	n.Fail(Message{})
	n.SignIn(SignIn{})
	n.SignedIn()
	n.Close()
}

// fakeBrowser is an environment with an xdg-open that notes what it was called with; opened gives that back.
func fakeBrowser(t *testing.T) (environ []string, opened func() string) {
	dir := t.TempDir()
	script := "#!/bin/sh\nprintf '[%s] %s\\n' \"$*\" \"$XDG_ACTIVATION_TOKEN\" >>\"$OUT\"\n"
	if err := tunneltest.WriteProgram(filepath.Join(dir, "xdg-open"), []byte(script)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	return []string{"PATH=relative:" + dir, "OUT=" + out}, func() string {
		text, _ := os.ReadFile(out)
		return string(text)
	}
}

func duration(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
