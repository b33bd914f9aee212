package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// asksFirst is a tunnel program that notes where it was to listen, asks somebody to sign in, and goes on when the file "signed" is
// there. What it says comes from its first argument.
const asksFirst = `#!/bin/sh
echo "$2" >>DIR/asked
printf "$1"
while [ ! -e DIR/signed ]; do sleep 0.1; done
exec DIR/bin/tunhook relay --listen "$2" TARGET
`

// TestWhoAsksBeforeItListensAsksOnce: launched again, at the tunnel's own address, it would ask once more.
func TestWhoAsksBeforeItListensAsksOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ says, keys string }{
		"as is known of it":       {"Go to https://sign.in/one\\n", "sign_in = 'Go to (\\S+)'\nsign_in_first = true\n"},
		"as turns out":            {"Go to https://sign.in/one\\n", "sign_in = 'Go to (\\S+)'\n"},
		"in words that most have": {"Please visit the following URL: https://sign.in/one\\n", ""},
		"and keeps it to itself":  {"Only in memory\\n", "sign_in = 'Go to (\\S+)'\nsign_in_lost = 'in memory'\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			target := strings.TrimPrefix(relayTo(t, tunneltest.ResponderOptions{}), "relay://")
			write := func(path, text string, mode os.FileMode) {
				t.Helper()
				check(t, os.MkdirAll(filepath.Dir(filepath.Join(a.dir, path)), 0o700))
				check(t, os.WriteFile(filepath.Join(a.dir, path), []byte(strings.NewReplacer("DIR", a.dir, "TARGET", target).Replace(text)), mode))
			}
			write("asks-first", asksFirst, 0o700)
			write("home/.config/tunhook/config.toml", "[provider.first]\ncommand = [\"/bin/sh\", \"DIR/asks-first\", \""+tc.says+"\", \"{listen}\"]\n"+tc.keys, 0o600)
			done := make(chan ended, 1)
			start := a.command("start", "--ready", "rdp", "first://desk:3389", a.address)
			start.Path, start.Args = "/bin/sh", append([]string{"sh", "-c", `exec "$0" "$@" 2>told`, start.Path}, start.Args[1:]...)
			go func() { done <- a.finish(start) }()
			tunneltest.Eventually(t, "it asks", func() bool {
				asked, _ := os.ReadFile(filepath.Join(a.dir, "asked"))
				return len(asked) > 0
			})
			told := func() bool {
				text, _ := os.ReadFile(filepath.Join(a.dir, "told"))
				return strings.Contains(string(text), "sign in at https://sign.in/one\n")
			}
			if strings.Contains(tc.says, "https") {
				tunneltest.Eventually(t, "it is told where to sign in", told)
			} else {
				time.Sleep(200 * time.Millisecond)
			}
			write("signed", "", 0o600)
			if e := <-done; e.status != exitDone || e.stdout != a.address+"\n" || strings.Contains(tc.says, "https") != told() {
				t.Errorf("%+v", e)
			}
			if asked, err := os.ReadFile(filepath.Join(a.dir, "asked")); err != nil || strings.Count(string(asked), "\n") != 1 {
				t.Errorf("it was launched at %q, %v; want once", asked, err)
			}
			a.must("stop", "first://desk:3389", a.address)
			a.nothingRuns()
		})
	}
}
