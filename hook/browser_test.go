package hook_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestBrowserOutlivesTheTunnelThatOpenedIt: stop ends the tunnel's whole session, and the user's browser must not be part of it.
func TestBrowserOutlivesTheTunnelThatOpenedIt(t *testing.T) {
	t.Parallel()
	w, port := newWorld(t), freePort(t)
	page := w.path("page")
	script := func(name, text string) {
		t.Helper()
		check(t, os.WriteFile(w.path("bin", name), []byte("#!/bin/sh\n"+text), 0o700))
	}
	script("xdg-open", fmt.Sprintf("echo $$ $(ulimit -f) \"$1\" \"token=$%s\" >%s; exec sleep 60\n", pidfile.TokenVariable, page))
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
	browser, err := pidfile.Identify(pid)
	check(t, err)
	t.Cleanup(func() {
		if p, err := pidfile.Open(browser); err == nil {
			defer p.Close()
			check(t, p.Signal(syscall.SIGKILL))
		}
	})
	if most, err := exec.Command("/bin/sh", "-c", "ulimit -Hf").Output(); err != nil || strings.TrimSpace(string(most)) != limit {
		t.Errorf("the browser can write files of %s blocks, the user of %s (%v)", limit, most, err)
	}
	began := time.Now()
	w.nothingLeft(w.stop("page://a:1", port).Record)
	if took := time.Since(began); took > time.Second {
		t.Errorf("stop took %s: it waited for the browser", took)
	}
	if !browser.Alive() {
		t.Error("the browser has ended with the tunnel")
	}
}
