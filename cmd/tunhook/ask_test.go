package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// asks makes a world with routes asks://HOST:PORT of a program that does that before it listens, with $ask to ask by.
func asks(t *testing.T, script string) *world {
	t.Helper()
	w := newWorld(t)
	program := w.path("asks")
	check(t, tunneltest.WriteProgram(program, []byte("#!/bin/sh\nask=$SSH_ASKPASS\n"+script+"\nexec tunhook relay --listen \"$1\" 127.0.0.1:9\n")))
	config := w.path("home", ".config", "tunhook")
	check(t, os.MkdirAll(config, 0o700))
	check(t, os.WriteFile(filepath.Join(config, "config.toml"), []byte("[provider.asks]\ncommand = [\""+program+"\", \"{listen}\"]\n"), 0o600))
	return w
}

const route = "asks://desk:1"

// echoes tells whether a terminal shows what is typed.
func (term terminal) echoes(t *testing.T) bool {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(term.Fd()), getSettings)
	check(t, err)
	return settings.Lflag&unix.ECHO != 0
}

// leavesNoQuestions checks that no socket is left.
func (w *world) leavesNoQuestions() {
	w.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(w.runDir(), "socket-*")); len(left) > 0 {
		w.t.Errorf("left behind: %q", left)
	}
}

func TestStartAsksOnItsTerminal(t *testing.T) {
	t.Parallel()
	w := asks(t, `
secret=$("$ask" "Enter passphrase for key 'x': ") || exit 8
known=$("$ask" "The authenticity of 'gate' can't be established.
Are you sure you want to continue connecting (yes/no/[fingerprint])? ") || exit 8
SSH_ASKPASS_PROMPT=none "$ask" "Touch the key" || exit 8
echo "<$secret> <$known>"`)
	p := port(t)
	term := onTerminal(t, w.command("start", route, p))
	term.expect(t, "Enter passphrase for key 'x': ")
	if term.echoes(t) {
		t.Error("what is typed would be seen")
	}
	typed("open sesame\n")(t, term)
	shown := term.expect(t, "can't be established.\r\nAre you sure you want to continue connecting (yes/no/[fingerprint])? ")
	if strings.Contains(shown, "sesame") {
		t.Errorf("the terminal shows %q", shown)
	}
	if !term.echoes(t) {
		t.Error("what is typed would not be seen")
	}
	typed("yes\n")(t, term)
	if shown := term.expect(t, "127.0.0.1:"+p); !strings.Contains(shown, "Touch the key\r\n") { // they may come at once
		t.Errorf("the terminal shows %q", shown)
	}
	check(t, term.cmd.Wait())
	w.leavesNoQuestions()
	if log := w.do("logs", route, p); !strings.Contains(log.stdout, "<open sesame> <yes>\n") {
		t.Errorf("logs: %v", log)
	}
	if stop := w.do("stop", route, p); stop.status != 0 {
		t.Errorf("stop: %v", stop)
	}
}

func TestStartThatIsEndedAsksNoMore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script string
		do     func(*testing.T, terminal)
		status int
	}{
		"by the user":         {`"$ask" "secret? "; sleep 600`, typed("\x03"), 130},
		"by its program":      {`(until [ -e "$HOME/asked" ]; do sleep 0.1; done; kill $$) & "$ask" "secret? "`, nil, exitFailed},
		"with its asker gone": {`"$ask" "secret? " & until [ -e "$HOME/asked" ]; do sleep 0.1; done; kill $!; exit 3`, nil, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := asks(t, tc.script)
			term := onTerminal(t, w.command("start", route))
			term.expect(t, "secret? ")
			if tc.do != nil {
				tc.do(t, term)
			}
			check(t, os.WriteFile(w.path("home", "asked"), nil, 0o600))
			_ = term.cmd.Wait()
			if status := shellStatus(term.cmd.ProcessState); status != tc.status {
				t.Errorf("exit status %d, want %d", status, tc.status)
			}
			if !term.echoes(t) {
				t.Error("the terminal shows nothing that is typed any more")
			}
			w.leavesNoQuestions()
		})
	}
}

func TestNobodyIsAskedWhoCannotAnswer(t *testing.T) {
	t.Parallel()
	w := asks(t, `echo "<$ask>"; exit 3`)
	if r := w.do("start", route); !strings.Contains(r.stderr, "\n    <>\n") {
		t.Errorf("without a terminal: %v", r)
	}
	own := w.with("DISPLAY=:99", "SSH_ASKPASS=/usr/bin/their-own")
	term := onTerminal(t, own.command("start", route))
	term.expect(t, "    </usr/bin/their-own>\r\n")
	_ = term.cmd.Wait()
	w.leavesNoQuestions()
}
