package hook_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// opener is a world with the links that tunnel programs find, and with programs on PATH that note the pages they open.
type opener struct {
	*world
	links, bin, pages string
	patience          time.Duration
}

func newOpener(t *testing.T) *opener {
	w := newWorld(t)
	o := &opener{world: w, links: w.path("browser"), bin: w.path("bin"), pages: w.path("pages"), patience: time.Hour}
	o.install("xdg-open", "")
	o.install("x-www-browser", "")
	check(t, os.Mkdir(o.links, 0o700))
	o.link(o.links, w.Self)
	return o
}

func (o *opener) link(dir, tunhook string) {
	o.t.Helper()
	check(o.t, tunnel.LinkBrowserOpeners(dir, tunhook, o.bin))
}

// install installs a command that notes what it was called for, and its PATH. It ends when that has happened too often.
func (o *opener) install(name, then string) {
	o.t.Helper()
	text := fmt.Sprintf("#!/bin/sh\necho \"%s $1 $PATH\" >>%s\n[ $(wc -l <%[2]s) -lt 20 ] || exit 99\n%s\n",
		name, o.pages, then)
	check(o.t, tunneltest.WriteProgram(filepath.Join(o.bin, name), []byte(text)))
}

// open calls xdg-open as a tunnel program with that environment does, and returns what has been noted, a line a page.
func (o *opener) open(environ ...string) (pages []string, status int, stderr string) {
	o.t.Helper()
	check(o.t, os.WriteFile(o.pages, nil, 0o600))
	var said strings.Builder
	cmd := &exec.Cmd{
		Path: filepath.Join(o.links, "xdg-open"), Args: []string{"xdg-open", "https://sign.in/"},
		Env: append(environ, patienceVariable+"="+o.patience.String()), Dir: o.dir, Stderr: &said,
	}
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		o.t.Fatal(err)
	}
	text, err := os.ReadFile(o.pages)
	check(o.t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), cmd.ProcessState.ExitCode(), said.String()
}

// TestPageIsOpenedOnceWhateverTheTunnelProgramHasChanged: tunhook must find the real command, and never itself.
func TestPageIsOpenedOnceWhateverTheTunnelProgramHasChanged(t *testing.T) {
	t.Parallel()
	o := newOpener(t)
	check(t, os.Symlink(o.links, o.path("alias")))
	more := o.path("more") // another tunhook's
	program, err := os.ReadFile(o.Self)
	check(t, err)
	check(t, os.Mkdir(more, 0o700))
	check(t, tunneltest.WriteProgram(o.path("copy"), program))
	o.link(more, o.path("copy"))
	check(t, os.Mkdir(o.path("mixed"), 0o700)) // a directory of the user's own, with one such link in it
	check(t, os.Symlink(o.Self, o.path("mixed", "xdg-open")))

	home, rest := "HOME="+o.dir, ":"+o.bin+":/usr/bin:/bin"
	for name, environ := range map[string][]string{
		"nothing":              {home, "PATH=" + o.links + rest},
		"HOME":                 {"HOME=/nonexistent", "PATH=" + o.links + rest},
		"no HOME":              {"PATH=" + o.links + rest},
		"XDG_STATE_HOME":       {home, "XDG_STATE_HOME=relative", "PATH=" + o.links + rest},
		"links twice":          {home, "PATH=" + o.links + ":/nonexistent:" + o.links + rest},
		"another spelling":     {home, "PATH=" + o.dir + "//bin/../browser/" + rest},
		"a relative path":      {home, "PATH=browser" + rest},
		"a link to it":         {home, "PATH=" + o.path("alias") + rest},
		"another tunhook":      {home, "PATH=" + o.links + ":" + more + rest},
		"a directory of one's": {home, "PATH=" + o.path("mixed") + rest},
	} {
		pages, status, said := o.open(environ...)
		if len(pages) != 1 || status != 0 || said != "" {
			t.Errorf("%s: status %d, %q, pages %q", name, status, said, pages)
			continue
		}
		for _, dir := range []string{"browser", "alias", "more"} {
			if strings.Contains(pages[0], dir) {
				t.Errorf("%s: the browser has the links on its PATH: %s", name, pages[0])
			}
		}
	}
}

func TestCommandThatOpensAPageMayCallAnother(t *testing.T) {
	t.Parallel()
	o := newOpener(t)
	o.install("xdg-open", "PATH="+o.links+":$PATH exec x-www-browser \"$1\"")
	pages, status, said := o.open("PATH=" + o.links + ":" + o.bin + ":/usr/bin:/bin")
	if status != 0 || said != "" || len(pages) != 2 || !strings.HasPrefix(pages[1], "x-www-browser https://sign.in/ ") {
		t.Errorf("status %d, %q, pages %q", status, said, pages)
	}
}

func TestCommandThatCallsItselfIsStopped(t *testing.T) {
	t.Parallel()
	o := newOpener(t)
	o.install("xdg-open", "PATH="+o.links+":$PATH exec x-www-browser \"$1\"")
	o.install("x-www-browser", "PATH="+o.links+":$PATH exec xdg-open \"$1\"")
	pages, status, said := o.open("PATH=" + o.links + ":" + o.bin + ":/usr/bin:/bin")
	if status != 126 || !strings.Contains(said, "xdg-open leads back to tunhook") || len(pages) != 2 {
		t.Errorf("status %d, %q, pages %q", status, said, pages)
	}
}

// TestTunnelStartedFromABrowserOpensAPageToo: what a browser was opened with is in the environment of all that is
// started from it.
func TestTunnelStartedFromABrowserOpensAPageToo(t *testing.T) {
	t.Parallel()
	o := newOpener(t)
	o.install("opens-a-page", "xdg-open https://sign.in/ &\nexec "+o.Self+" relay --listen \"$1\" 127.0.0.1:9\n")
	config := "[provider.page]\ncommand = [\"opens-a-page\", \"{listen}\"]\n"
	check(t, os.WriteFile(o.path("config.toml"), []byte(config), 0o600))
	o.Environ = append(o.Environ, "TUNHOOK_OPENING=xdg-open")
	o.start("page://a:1", freePort(t))
	tunneltest.Eventually(t, "the page is open", func() bool {
		text, _ := os.ReadFile(o.pages)
		return strings.Contains(string(text), "xdg-open https://sign.in/")
	})
}

// TestABrowserThatStaysKeepsNobodyWaiting: the tunnel program waits for its command, and perhaps reads what that writes, to the end.
func TestABrowserThatStaysKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"in the foreground":   "exec sleep 300",
		"beside its launcher": "sleep 300 & echo $! >\"$0.pid\"; exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOpener(t)
			o.install("xdg-open", "echo $$ >\"$0.pid\"; echo opened >&2\n"+script)
			o.patience = 20 * time.Second
			pages, status, said := o.open("PATH=" + o.links + ":" + o.bin + ":/usr/bin:/bin") // reads stderr through a pipe
			if status != 0 || len(pages) != 1 || said != "opened\n" {
				t.Errorf("status %d, %q, pages %q", status, said, pages)
			}
			text, err := os.ReadFile(filepath.Join(o.bin, "xdg-open.pid"))
			check(t, err)
			var pid int
			_, err = fmt.Sscan(string(text), &pid)
			check(t, err)
			browser, err := process.Identify(pid)
			if err != nil {
				t.Fatalf("the browser has ended: %v", err)
			}
			kill(browser)
		})
	}
}

func TestThatNothingCanOpenAPageIsSaid(t *testing.T) {
	t.Parallel()
	o := newOpener(t)
	pages, status, said := o.open("PATH=" + o.links)
	if status != 127 || pages[0] != "" || !strings.HasPrefix(said, "no program that could open the page was found") {
		t.Errorf("status %d, %q, pages %q", status, said, pages)
	}
}

// TestBrowserOutlivesTheTunnelThatOpenedIt: stop ends the tunnel's whole session, and the user's browser must not be part of it.
func TestBrowserOutlivesTheTunnelThatOpenedIt(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	page := w.path("page")
	script := func(name, text string) {
		t.Helper()
		check(t, tunneltest.WriteProgram(w.path("bin", name), []byte("#!/bin/sh\n"+text)))
	}
	script("xdg-open", fmt.Sprintf("echo $$ $(ulimit -f) \"$1\" \"token=$%s\" >%s; exec sleep 60\n", process.TokenVariable, page))
	script("opens-a-page", fmt.Sprintf("xdg-open https://sign.in/ &\nexec %s relay --listen \"$1\" 127.0.0.1:9\n", w.Self))
	check(t, os.WriteFile(w.path("config.toml"), []byte("[provider.page]\ncommand = [\"opens-a-page\", \"{listen}\"]\n"), 0o600))

	w.start("page://a:1", port)
	var pid int
	var limit string
	tunneltest.Eventually(t, "the page is open", func() bool {
		text, _ := os.ReadFile(page)
		_, err := fmt.Sscan(string(text), &pid, &limit)
		return err == nil && strings.Contains(string(text), "https://sign.in/ token=\n")
	})
	browser, err := process.Identify(pid)
	check(t, err)
	t.Cleanup(func() {
		if p, err := process.Open(browser); err == nil {
			defer p.Close()
			check(t, p.Signal(syscall.SIGKILL))
		}
	})
	if most, err := exec.Command("/bin/sh", "-c", "ulimit -Hf").Output(); err != nil || strings.TrimSpace(string(most)) != limit {
		t.Errorf("the browser can write files of %s blocks, the user of %s (%v)", limit, most, err)
	}
	w.nothingLeft(w.stop("page://a:1", port).Record)
	if !browser.Alive() {
		t.Error("the browser has ended with the tunnel")
	}
}
