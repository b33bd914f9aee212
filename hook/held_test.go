package hook_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// newBrowsing is an account whose pomerium-cli opens its pages as it does where nobody has named a browser.
func newBrowsing(t *testing.T, environ ...string) *account {
	t.Helper()
	w := newAccount(t, tunneltest.ResponderOptions{}, environ...)
	config, err := w.gateway.Config(w.dir)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(w.dir, "config.toml"), []byte(config), 0o600))
	w.browser("xdg-open")
	return w
}

// browser installs a command that notes the pages that it opens.
func (w *account) browser(name string) {
	w.t.Helper()
	script := "#!/bin/sh\necho \"$1\" >>'" + w.tabsFile() + "'\n"
	check(w.t, tunneltest.WriteProgram(filepath.Join(w.dir, name), []byte(script)))
}

func (w *account) tabsFile() string { return filepath.Join(w.dir, "tabs") }

// tabs are the pages that were opened.
func (w *account) tabs() []string {
	text, _ := os.ReadFile(w.tabsFile())
	return strings.Fields(string(text))
}

// nextTab waits for the first page, which must be the only one.
func (w *account) nextTab() string {
	w.t.Helper()
	tunneltest.Eventually(w.t, "a page is opened", func() bool { return len(w.tabs()) > 0 })
	return w.onlyTab()
}

func (w *account) onlyTab() string {
	w.t.Helper()
	tabs := w.tabs()
	if len(tabs) != 1 {
		w.t.Fatalf("opened %q, want one page", tabs)
	}
	return tabs[0]
}

// signIn signs in for good.
func (w *account) signIn() {
	w.t.Helper()
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	check(w.t, w.gateway.SignIn(w.context(), w.nextTab()))
	check(w.t, (<-done).err)
	w.mustStop(hook.StopRequest{Route: desk})
	check(w.t, os.Remove(w.tabsFile()))
}

// launches counts those in a log from a byte offset on, by the line that tunhook writes before each: the program's own may come later
// than its socket.
func (w *account) launches(log string, from int) int {
	w.t.Helper()
	text, err := os.ReadFile(log)
	check(w.t, err)
	return strings.Count("\n"+string(text)[from:], "\n--- ")
}

func TestWhoHasSignedInHasTheProgramLaunchedOnce(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"": nil, "another browser": {"--browser-cmd", "firefox"}, "none": {"--browser-cmd="}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newBrowsing(t)
			w.browser("firefox")
			w.signIn()
			info, err := os.Stat(w.logFile())
			check(t, err)
			req := w.request(desk, tunnel.ReadyRDP)
			req.Args = args
			rec := w.mustStart(req).Record
			if got := w.launches(rec.Log, int(info.Size())); got != 1 || len(w.tabs()) != 0 {
				t.Errorf("%d launches, pages %q; want one and none", got, w.tabs())
			}
			if now := w.mustRecord(); now.Tried || now.Asking || now.Starter != (process.Identity{}) || !now.Tunnel.Alive() {
				t.Errorf("recorded is %+v", now)
			}
			check(t, w.answers())
			w.mustStop(hook.StopRequest{Route: desk})
			w.nothingLeft()
		})
	}
}

func (w *account) logFile() string {
	return filepath.Join(w.LogDir, pidfile.Key{Route: desk, Listen: w.address}.Name()+".log")
}

// TestWhoHasNotSignedInSeesOnePage, that of the program that lives, however impatient their client is.
func TestWhoHasNotSignedInSeesOnePage(t *testing.T) {
	t.Parallel()
	w := newBrowsing(t)
	told := make(chan string, 10)
	w.SignIn = func(_ pidfile.Record, url string) func() {
		told <- url
		return func() {}
	}
	over := make(chan struct{})
	impatient := make(chan struct{})
	go func() {
		defer close(impatient)
		for {
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
				_ = w.greets()
			}
		}
	}()
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextTab()
	w.never(time.Second, "the address is served before anybody has signed in", w.served)
	if got := <-told; got != page || w.onlyTab() != page {
		t.Errorf("told %q, opened %q", got, w.tabs())
	}
	log, err := os.ReadFile(w.logFile())
	check(t, err)
	if n := strings.Count(string(log), "/sign_in?"); n == 0 || n != strings.Count(string(log), page) {
		t.Errorf("the log names other pages than %q:\n%s", page, log)
	}
	close(over)
	<-impatient
	check(t, w.gateway.SignIn(w.context(), page))
	check(t, (<-done).err)
	check(t, w.answers())
	if w.onlyTab(); len(told) > 0 {
		t.Errorf("told %q besides", <-told)
	}
	if now := w.mustRecord(); now.Tried || now.Starter != (process.Identity{}) {
		t.Errorf("recorded is %+v", now)
	}
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

// greets connects as a client does that has something to say, and leaves.
func (w *account) greets() error {
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("hello"))
	return errors.Join(err, conn.Close())
}

// tryFrozen starts a tunnel whose user has not signed in, and returns when its program is being tried: its start is stopped then.
func (w *account) tryFrozen(req hook.StartRequest) *player {
	w.t.Helper()
	start := w.process("start", req)
	tunneltest.Eventually(w.t, "the program is tried", func() bool {
		rec, ok := w.record()
		return ok && rec.Tried && rec.Tunnel.PID != 0
	})
	w.freeze(start.id.PID)
	return start
}

// allHeld tells whether for each connection that the program has taken, none of which anybody has signed in for, a command waits to
// open a page.
func (w *account) allHeld() bool {
	files, _ := filepath.Glob(filepath.Join(w.dir, "browser", "*", "held"))
	text, err := os.ReadFile(strings.Join(files, ""))
	log, logErr := os.ReadFile(w.logFile())
	waiting := strings.Count(string(text), "?")
	return err == nil && logErr == nil && waiting > 0 && waiting == strings.Count(string(log), `"message":"connecting"`)
}

// TestAStartThatIsKilledAtItsTry leaves a tunnel to which a client may have come already.
func TestAStartThatIsKilledAtItsTry(t *testing.T) {
	t.Parallel()
	w := newBrowsing(t)
	killed := w.tryFrozen(w.request(desk, tunnel.ReadyRDP))
	tunneltest.Eventually(t, "a client is there", func() bool { return w.greets() == nil })
	tunneltest.Eventually(t, "all pages are held back", w.allHeld)
	w.never(300*time.Millisecond, "a page is opened", func() bool { return len(w.tabs()) > 0 })
	tunneltest.Eventually(t, "all pages are held back", w.allHeld)
	killed.kill()
	w.never(300*time.Millisecond, "a page is opened for nobody", func() bool { return len(w.tabs()) > 0 })
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	check(t, w.gateway.SignIn(w.context(), w.nextTab()))
	o := <-done
	check(t, o.err)
	check(t, w.answers())
	if w.onlyTab(); o.started.Record.Tried || w.mustRecord().Tried {
		t.Errorf("recorded is %+v", w.mustRecord())
	}
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

func TestStopDuringATry(t *testing.T) {
	t.Parallel()
	w := newBrowsing(t)
	start := w.tryFrozen(w.request(desk, tunnel.ReadyRDP))
	tunneltest.Eventually(t, "a client is there", func() bool { return w.greets() == nil })
	w.nextSignIn()
	w.mustStop(hook.StopRequest{Route: desk})
	send(t, start.id, syscall.SIGCONT)
	if !start.lines.Scan() || !strings.Contains(start.lines.Text(), "was stopped") {
		t.Errorf("start says %q", start.lines.Text())
	}
	start.kill()
	w.nothingLeft()
	if len(w.tabs()) != 0 {
		t.Errorf("opened %q", w.tabs())
	}
}

// TestOthersWaitForTheTry, whatever they wait for otherwise: what they would be given may be launched once more.
func TestOthersWaitForTheTry(t *testing.T) {
	t.Parallel()
	w := newBrowsing(t)
	start := w.tryFrozen(w.request(desk, tunnel.ReadyRDP))
	tunneltest.Eventually(t, "it listens", w.served)
	var others []<-chan outcome
	for _, ready := range []string{tunnel.ReadyListen, tunnel.ReadyRDP} {
		others = append(others, w.starting(w.context(), w.request(desk, ready)))
	}
	waited := make(chan error, 1)
	go func() {
		_, err := w.Wait(w.context(), desk, w.address, tunneltest.Patience)
		waited <- err
	}()
	if tunnels, _, err := w.Status(desk, w.address); err != nil || len(tunnels) != 1 || tunnels[0].State != hook.Starting {
		t.Errorf("status tells %+v, %v", tunnels, err)
	}
	w.never(500*time.Millisecond, "somebody is given it", func() bool { return len(others[0])+len(others[1])+len(waited) > 0 })
	send(t, start.id, syscall.SIGCONT)
	page := w.nextTab()
	w.never(300*time.Millisecond, "somebody is given it", func() bool { return len(others[0])+len(others[1])+len(waited) > 0 })
	check(t, w.gateway.SignIn(w.context(), page))
	check(t, start.cmd.Wait())
	for _, other := range others {
		if o := <-other; o.err != nil || o.started.Record.Tunnel != w.mustRecord().Tunnel {
			t.Errorf("another start was given %+v, %v", o.started.Record, o.err)
		}
	}
	check(t, <-waited)
	w.onlyTab()
}

// TestWhoWaitsForATryInVainIsToldSo: somebody has signed in, the address is served, and the server does not answer.
func TestWhoWaitsForATryInVainIsToldSo(t *testing.T) {
	t.Parallel()
	w := newBrowsing(t)
	w.signIn()
	start := w.tryFrozen(w.request(desk, tunnel.ReadyRDP))
	tunneltest.Eventually(t, "it listens", w.served)
	req := w.request(desk, tunnel.ReadyListen)
	req.Timeout = time.Second
	var failed *hook.FailedError
	if _, err := w.Start(w.context(), req); !errors.As(err, &failed) || !strings.Contains(failed.Reason, "for another start") {
		t.Errorf("start: %v", err)
	}
	var late *hook.TimeoutError
	if _, err := w.Wait(w.context(), desk, w.address, time.Second); !errors.As(err, &late) || strings.Contains(err.Error(), "signed in") {
		t.Errorf("wait: %v", err)
	}
	send(t, start.id, syscall.SIGCONT)
	check(t, start.cmd.Wait())
	check(t, w.answers())
	w.mustStop(hook.StopRequest{Route: desk})
	w.nothingLeft()
}

// TestABrowserOfOnesOwnIsNotTried: it would open a page that nobody could hold back.
func TestABrowserOfOnesOwnIsNotTried(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]func(browser string) []string{
		"in a word of its own": func(b string) []string { return []string{"--browser-cmd", b} },
		"in one word":          func(b string) []string { return []string{"--browser-cmd=" + b} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newBrowsing(t)
			w.browser("mybrowser")
			req := w.request(desk, tunnel.ReadyRDP)
			req.Args = args(filepath.Join(w.dir, "mybrowser"))
			w.signsInAtPrivateAddress(req)
		})
	}
	t.Run("in a script", func(t *testing.T) {
		t.Parallel()
		w := newBrowsing(t)
		w.browser("mybrowser")
		real := filepath.Join(w.dir, "real", "pomerium-cli")
		check(t, os.Mkdir(filepath.Dir(real), 0o700))
		check(t, os.Symlink(w.Self, real))
		w.replaceProgram(func(path string) error {
			return tunneltest.WriteProgram(path, []byte("#!/bin/sh\nexec '"+real+"' \"$@\" --browser-cmd '"+filepath.Join(w.dir, "mybrowser")+"'\n"))
		})
		w.signsInAtPrivateAddress(w.request(desk, tunnel.ReadyRDP))
	})
}

// signsInAtPrivateAddress signs in while the tunnel's own address is not served.
func (w *account) signsInAtPrivateAddress(req hook.StartRequest) {
	w.t.Helper()
	served := make(chan bool, 1)
	ctx := w.context()
	done := w.starting(ctx, req)
	go func() {
		page := w.nextTab()
		served <- w.served()
		_ = w.gateway.SignIn(ctx, page)
	}()
	check(w.t, (<-done).err)
	if <-served {
		w.t.Error("the address was served while somebody had to sign in")
	}
	w.onlyTab()
	if got := w.launches(w.logFile(), 0); got != 2 || w.gateway.SignIns() != 1 {
		w.t.Errorf("%d launches, %d pages; want two, the second one when somebody has signed in", got, w.gateway.SignIns())
	}
}

// asking is a tunnel program that somebody has to sign in at, which they have when there is a file "signed" in the account. It asks
//
//	early   before it listens
//	late    when it is connected to, as cloudflared does
//	itself  likewise, and opens the page without a command that does so
func asking(kind, address, target string) error {
	ask := func() error {
		signed := filepath.Join(os.Getenv(dirVariable), "signed")
		for asked := false; ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(signed); err == nil {
				return nil
			}
			if asked {
				continue
			}
			asked = true
			page := fmt.Sprintf("https://sign.in/%d", os.Getpid())
			fmt.Println("sign in at", page)
			if kind == "itself" {
				continue
			}
			if err := exec.Command("xdg-open", page).Run(); err != nil {
				return err
			}
		}
	}
	if kind == "early" {
		if err := ask(); err != nil {
			return err
		}
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		client, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := ask(); err != nil {
			return err
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(server, client)
			server.Close()
		}()
		go func() {
			_, _ = io.Copy(client, server)
			client.Close()
		}()
	}
}

// TestAPageIsFreedWhereTheProgramIsLeftToIt, and told once: where no client can have asked for it, and where it is open already. A
// program that asks late is tried, signed in at, and launched at its address.
func TestAPageIsFreedWhereTheProgramIsLeftToIt(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]struct{ launches, tabs int }{"early": {1, 1}, "itself": {1, 0}, "late": {3, 1}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newAccount(t, tunneltest.ResponderOptions{})
			w.browser("xdg-open")
			config := "[provider." + kind + "]\ncommand = [\"{tunhook}\", \"asking\", \"" + kind + "\", \"{listen}\", \"{host}:{port}\"]\n" +
				"sign_in = 'sign in at (\\S+)'\nopener = []\n"
			check(t, os.WriteFile(filepath.Join(w.dir, "config.toml"), []byte(config), 0o600))
			told := make(chan string, 10)
			w.SignIn = func(_ pidfile.Record, url string) func() {
				told <- url
				return func() {}
			}
			done := w.starting(w.context(), w.request(kind+"://"+w.server.Addr(), tunnel.ReadyRDP))
			page := <-told
			tunneltest.Eventually(t, "the page is opened", func() bool { return len(w.tabs()) == want.tabs })
			if tabs := w.tabs(); want.tabs == 1 && tabs[0] != page {
				t.Errorf("told %q, opened %q", page, tabs)
			}
			w.never(300*time.Millisecond, "the start is over", func() bool { return len(done) > 0 })
			check(t, os.WriteFile(filepath.Join(w.dir, "signed"), nil, 0o600))
			o := <-done
			check(t, o.err)
			check(t, w.answers())
			if got := w.launches(o.started.Record.Log, 0); got != want.launches || len(w.tabs()) != want.tabs || len(told) > 0 {
				t.Errorf("%d launches, pages %q, told %d more", got, w.tabs(), len(told))
			}
			if left, _ := filepath.Glob(filepath.Join(w.dir, "browser", "*", "held")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestAKeeperOpensNoPage that nobody has asked for, where it replaces a tunnel that may be dead: the next start does, in one call.
func TestAKeeperOpensNoPage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys  string
		stay  bool // the old program is left as it is
		hasty bool // the next start comes when the new program has been launched
	}{
		"of a program that is known to ask first":                    {"sign_in = 'sign in at (\\S+)'\nsign_in_first = true\n", true, false},
		"of a program that asks first":                               {"", false, false},
		"of a program that asks first, and a start waits for it yet": {"", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			w.browser("xdg-open")
			signed := filepath.Join(w.dir, "signed")
			sign := func() { check(t, os.WriteFile(signed, nil, 0o600)) }
			config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
			check(t, err)
			_, err = config.WriteString("[provider.early]\ncommand = ['{tunhook}', 'asking', 'early', '{listen}', '{host}:{port}']\n" + test.keys)
			check(t, errors.Join(err, config.Close()))
			sign()
			holder := w.holder()
			req := w.request(w.odd("early"), tunnel.ReadyListen)
			req.EndWith, req.KeepAlive = append(req.EndWith, holder.id), true
			old := w.mustStart(req).Record
			w.awaitKeeper()
			if !test.stay {
				w.sleeps(time.Hour)
				tunneltest.Eventually(t, "it is replaced while nobody has to sign in", func() bool { return w.mustRecord().Tunnel != old.Tunnel && w.served() })
				check(t, w.answers())
				old = w.mustRecord()
			}
			check(t, os.Remove(signed))
			w.sleeps(2 * time.Hour)
			switch {
			case test.stay:
				tunneltest.Eventually(t, "it is left", func() bool { return w.logged("it is left to the next start") })
				w.never(2*time.Second, "it is replaced", func() bool { return !old.Tunnel.Alive() })
			case test.hasty:
				tunneltest.Eventually(t, "it is replaced", func() bool { return !old.Tunnel.Alive() })
			default:
				tunneltest.Eventually(t, "its program has given way", w.gone)
			}
			if tabs := w.tabs(); len(tabs) > 0 {
				t.Errorf("opened %q", tabs)
			}
			done := w.starting(w.context(), req)
			w.nextTab()
			sign()
			o := <-done
			check(t, o.err)
			if o.started.Record.Tunnel == old.Tunnel {
				t.Error("the next start has not replaced it")
			}
			check(t, w.answers())
			w.onlyTab()
			w.mustStop(hook.StopRequest{Route: w.odd("early")})
			holder.kill()
			w.nothingLeft()
		})
	}
}

// TestAKeeperHasNobodyAsked by ssh's own program on the desktop, where it replaces a tunnel that may be dead, whatever the user's
// environment says; a start does.
func TestAKeeperHasNobodyAsked(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	w.Environ = append(w.Environ, "SSH_ASKPASS_REQUIRE=prefer")
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = config.WriteString("[provider.tells]\ncommand = ['sh', '-c', 'echo \"askpass: $SSH_ASKPASS_REQUIRE\"; exec \"$@\"', 'sh',\n" +
		"  '{tunhook}', 'odd', 'lost', '{listen}', '{host}:{port}']\n")
	check(t, errors.Join(err, config.Close()))
	holder := w.holder()
	req := w.request(w.odd("tells"), tunnel.ReadyListen)
	req.EndWith, req.KeepAlive = append(req.EndWith, holder.id), true
	old := w.mustStart(req).Record
	if !w.logged("askpass: prefer") {
		t.Error("the start's program was launched without the user's environment")
	}
	w.awaitKeeper()
	w.sleeps(time.Hour)
	tunneltest.Eventually(t, "it is replaced", func() bool { return w.mustRecord().Tunnel != old.Tunnel && w.served() })
	if !w.logged("askpass: never") {
		t.Error("the keeper's program may ask somebody on the desktop")
	}
	w.mustStop(hook.StopRequest{Route: w.odd("tells")})
	holder.kill()
	w.nothingLeft()
}
