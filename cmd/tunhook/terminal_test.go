package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
	"pgregory.net/rapid"
)

// hostile holds what a terminal obeys: a title, a cleared screen, a control sequence of one byte and of one character, text that
// runs backwards, and bytes that are no character.
const hostile = "\x1b]0;pwned\a\x1b[2J\x9b31m\u009b31m\u0085\u202etxt\u2066\x7f\x00\x08\xff"

// obeyed tells what a terminal would obey in text, "" for nothing.
func obeyed(text string) string {
	if !utf8.ValidString(text) {
		return "invalid UTF-8"
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// TestNothingHostileReachesATerminal by any command that shows what others have written.
func TestNothingHostileReachesATerminal(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	program := w.path("prog")
	check(t, tunneltest.WriteProgram(program, []byte("#!/bin/sh\nprintf '%s refused %s' \"$0\" '"+hostile+"text' >&2\nexit 3\n")))
	config := w.path("home", ".config", "tunhook")
	check(t, os.MkdirAll(config, 0o700))
	check(t, os.WriteFile(filepath.Join(config, "config.toml"),
		[]byte("[provider.p]\nroutes = [\"p://{host}:{port}\"]\ncommand = [\""+program+"\", \"{listen_port}\"]\n"), 0o600))
	profiles := w.path("home", ".local", "share", "remmina")
	check(t, os.MkdirAll(profiles, 0o700))
	for file, text := range map[string]string{
		"a.remmina":                  "[remmina]\nname=n1" + hostile + "\nprotocol=RDP" + hostile + "\nserver=desk:1\n",
		"b.remmina":                  "[remmina]\nname=n2\nprotocol=RDP\nserver=desk" + hostile + ":1\nprecommand=true " + hostile + "\n",
		"c\x1b[2J\u202e\xff.remmina": "[remmina]\nname=n3" + hostile + "\nbroken\n",
	} {
		check(t, os.WriteFile(filepath.Join(profiles, file), []byte(strings.ReplaceAll(text, "\x00", "")), 0o600))
	}
	for _, args := range [][]string{
		{"start", "--notify", "never", "p://a:1", p},
		{"logs", "p://a:1", p},
		{"logs", "-f", "p://a:1", p},
		{"remmina", "list"},
		{"remmina", "show", "n2"},
		{"remmina", "enable", "--route", "desk:1", "--listen", p, "n2"},
		{"remmina", "disable", "n2"},
		{"remmina", "show", hostile[:5]},
		{"stop", "a" + hostile[1:5]},
		{hostile[:5]},
		{"status", "--" + hostile[:5]},
	} {
		term := onTerminal(t, w.command(args...))
		check(t, term.SetReadDeadline(time.Now().Add(tunneltest.Patience)))
		shown, _ := io.ReadAll(term)               // the error says that the other end is closed
		_ = term.cmd.Wait()                        // what is asked is not how it ends
		own := strings.NewReplacer("\r\x1b[K", "") // of the line that moves while something takes its time
		if bad := obeyed(own.Replace(string(shown))); bad != "" || len(shown) == 0 {
			t.Errorf("tunhook %q shows %q, of which a terminal would obey %q", args, shown, bad)
		}
	}
}

// TestLogIntoAPipeIsByteExact, whatever the tunnel program has written.
func TestLogIntoAPipeIsByteExact(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	w.must("start", "relay://127.0.0.1:9", p)
	log := w.record().Log
	w.must("stop", "relay://127.0.0.1:9", p)
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString(hostile + "\r\nno end\t")
	check(t, err)
	check(t, f.Close())
	want, err := os.ReadFile(log)
	check(t, err)
	for _, args := range [][]string{{"logs"}, {"logs", "-f"}} {
		if got := w.do(append(args, "relay://127.0.0.1:9", p)...); got.status != 0 || got.stdout != string(want) {
			t.Errorf("%q: %v, want %q", args, got, want)
		}
	}
}

// TestSafeLinesComeOutWholeAndSafe is not parallel: TestModel sets the flags of rapid.
func TestSafeLinesComeOutWholeAndSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab \t\r\n\x1b[]2Jm;\a\u009b\u202eä\U0001F600"))).Draw(t, "text") +
			string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		var got bytes.Buffer
		lines := &safeLines{to: &got}
		for rest := []byte(text); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if _, err := lines.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := lines.Close(); err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for line := range strings.Lines(text) {
			ended := strings.HasSuffix(line, "\n")
			want.WriteString(safe(strings.TrimSuffix(line, "\n")))
			if ended {
				want.WriteByte('\n')
			}
		}
		if bad := obeyed(got.String()); bad != "" || got.String() != want.String() {
			t.Fatalf("%q: %q, want %q; a terminal would obey %q", text, got.String(), want.String(), bad)
		}
	})
}

func TestLineWithoutEndIsNotHeldForEver(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	lines := &safeLines{to: &got}
	_, err := lines.Write(bytes.Repeat([]byte("x"), 3*maxHeld))
	check(t, err)
	if held := 3*maxHeld - got.Len(); held < 0 || held > maxHeld {
		t.Errorf("%d bytes are held", held)
	}
}

// TestJSONIsTheSameWithoutWhatATerminalObeys: only its escapes differ. It is not parallel: TestModel sets the flags of rapid.
func TestJSONIsTheSameWithoutWhatATerminalObeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.OneOf(rapid.String(), rapid.Just("\u009b\u202e\x7f\U000E0001"+hostile)).Draw(t, "text")
		var out bytes.Buffer
		if err := writeJSON(&out, []string{want}); err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 1 || utf8.ValidString(want) && got[0] != want {
			t.Fatalf("%q: %s, which is %q, %v", want, out.String(), got, err)
		}
		if bad := obeyed(out.String()); bad != "" {
			t.Fatalf("%q: a terminal would obey %q", out.String(), bad)
		}
	})
}
