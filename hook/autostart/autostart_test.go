package autostart

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// nasty is an entry of what the two forms have escapes for. The route has all that a route may have.
func nasty(by By) Entry {
	return Entry{
		By: by, Route: "ssh://a%b@gäte.example.com:22/[2001:db8::1]:3389,x=y+z~", Address: netip.MustParseAddrPort("127.4.5.6:3389"),
		Program: `/opt/my tools/100%/$HOME/tunhook`,
		Args:    []string{"listen", "--notify", "always", "ROUTE", "127.4.5.6:3389", "--", "", ";", "%h%%", "$HOME ${X}", `q"'\`, "line\nbreak\ttab", "`id`", "|&<>*?#~()"},
		Environ: []string{`PATH=/home/me/100%/bin:/with space:/usr/bin`, `XDG_STATE_HOME=/st"a\te`},
	}
}

const goldenService = marker + `
[Unit]
Description=tunhook: ssh://a%%b@gäte.example.com:22/[2001:db8::1]:3389,x=y+z~ on 127.4.5.6:3389
Documentation=man:tunhook(1)
StartLimitIntervalSec=0

[Service]
ExecStart=:"/bin/sh" "-c" SCRIPT "/opt/my tools/100%%/$HOME/tunhook" "listen" "--notify" "always" "ROUTE" "127.4.5.6:3389" "--" "" ";" "%%h%%%%" "$HOME ${X}" "q\"'\\" "line\x0abreak\x09tab" "` + "`id`" + `" "|&<>*?#~()"
Environment="PATH=/home/me/100%%/bin:/with space:/usr/bin"
Environment="XDG_STATE_HOME=/st\"a\\te"
KillMode=process

[X-Tunhook]
X-Tunhook-Route=ssh://a%b@gäte.example.com:22/[2001:db8::1]:3389,x=y+z~
X-Tunhook-Address=127.4.5.6:3389
X-Tunhook-Program="/opt/my tools/100%/$HOME/tunhook"
`

const goldenSocket = marker + `
[Unit]
Description=tunhook: relay://desk:5900 on 127.4.5.6:5900
Documentation=man:tunhook(1)
StartLimitIntervalSec=0

[Socket]
ListenStream=127.4.5.6:5900
TriggerLimitIntervalSec=2
TriggerLimitBurst=200

[Install]
WantedBy=sockets.target

[X-Tunhook]
X-Tunhook-Route=relay://desk:5900
X-Tunhook-Address=127.4.5.6:5900
X-Tunhook-Program="/usr/bin/tunhook"
`

const goldenDesktop = marker + `[Desktop Entry]
Type=Application
Name=tunhook: relay://desk:5900 on 127.4.5.6:5900
Comment=Starts the tunnel when somebody connects
Exec=/usr/bin/env PATH=/home/me/100%%/bin "/opt/my tools/50%%/tunhook" listen relay://desk:5900 127.4.5.6:5900 -- "\\$HOME" "\\\\\\"'" ""
Terminal=false
NoDisplay=true
X-Tunhook-Route=relay://desk:5900
X-Tunhook-Address=127.4.5.6:5900
X-Tunhook-Program="/opt/my tools/50%/tunhook"
`

func plainEntry(by By) Entry {
	return Entry{
		By: by, Route: "relay://desk:5900", Address: netip.MustParseAddrPort("127.4.5.6:5900"),
		Program: "/usr/bin/tunhook", Args: []string{"listen", "relay://desk:5900", "127.4.5.6:5900"}, Environ: []string{"PATH=/usr/bin:/bin"},
	}
}

func TestFilesAreAsWritten(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(strings.Replace(goldenService, "SCRIPT", unitQuote(startOrTurnAway), 1), nasty(BySystemd).serviceUnit()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(goldenSocket, plainEntry(BySystemd).socketUnit()); diff != "" {
		t.Error(diff)
	}
	desktop := plainEntry(ByDesktop)
	desktop.Program, desktop.Environ = "/opt/my tools/50%/tunhook", []string{"PATH=/home/me/100%/bin"}
	desktop.Args = append(desktop.Args, "--", "$HOME", `\"'`, "")
	if diff := cmp.Diff(goldenDesktop, desktop.desktopEntry()); diff != "" {
		t.Error(diff)
	}
}

// TestSocketOfANetworkAddressDoesNotNeedTheNetwork at login, when it may not be there yet.
func TestSocketOfANetworkAddressDoesNotNeedTheNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{"127.4.5.6:5900": false, "[::1]:5900": false, "0.0.0.0:5900": false, "192.0.2.7:5900": true} {
		e := plainEntry(BySystemd)
		e.Address = netip.MustParseAddrPort(address)
		if got := strings.Contains(e.socketUnit(), "\nListenStream="+address+"\nFreeBind=yes\n"); got != want {
			t.Errorf("%s: %s", address, e.socketUnit())
		}
	}
}

// TestWordsComeBackFromUnits as systemd reads them: systemd.syntax(7), then the specifiers of systemd.unit(5).
func TestWordsComeBackFromUnits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word(), 1, 6).Draw(t, "words")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = unitQuote(w)
		}
		line := strings.Join(quoted, " ")
		if strings.Contains(line, "\n") || strings.HasSuffix(line, `\`) {
			t.Fatalf("%q does not stay on its line", line)
		}
		if got := readUnitWords(t, line); !slices.Equal(got, words) {
			t.Fatalf("%q became %q and came back as %q", words, line, got)
		}
	})
}

// TestWordsComeBackFromDesktopEntries as a desktop reads them: the escapes of strings, field codes, then quotes.
func TestWordsComeBackFromDesktopEntries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word(), 1, 6).Draw(t, "words")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = execQuote(w)
		}
		line := stringValue(strings.Join(quoted, " "))
		if strings.Contains(line, "\n") {
			t.Fatalf("%q does not stay on its line", line)
		}
		if got := readExecWords(t, line); !slices.Equal(got, words) {
			t.Fatalf("%q became %q and came back as %q", words, line, got)
		}
	})
}

func word() *rapid.Generator[string] {
	return rapid.StringOf(rapid.RuneFrom([]rune("ab%hs$\"'\\ \t\n\r;`~|&<>*?#()={}é\x01\x7f")))
}

func readUnitWords(t *rapid.T, line string) []string {
	var words []string
	for rest := line; rest != ""; rest = strings.TrimPrefix(rest, " ") {
		if rest[0] != '"' {
			t.Fatalf("%q: no quote", rest)
		}
		var b strings.Builder
		i := 1
		for ; rest[i] != '"'; i++ {
			if rest[i] != '\\' {
				b.WriteByte(rest[i])
				continue
			}
			i++
			if rest[i] != 'x' {
				b.WriteByte(rest[i])
				continue
			}
			c, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteByte(byte(c))
			i += 2
		}
		words, rest = append(words, withoutCodes(t, b.String())), rest[i+1:]
	}
	return words
}

func withoutCodes(t *rapid.T, text string) string {
	if strings.Contains(strings.ReplaceAll(text, "%%", ""), "%") {
		t.Fatalf("%q has a code", text)
	}
	return strings.ReplaceAll(text, "%%", "%")
}

func readExecWords(t *rapid.T, line string) []string {
	text := withoutCodes(t, strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r").Replace(line))
	var words []string
	for text != "" {
		var b strings.Builder
		i := 0
		if text[0] == '"' {
			for i = 1; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				} else if strings.IndexByte("`$", text[i]) >= 0 {
					t.Fatalf("%q has a bare %c", text, text[i])
				}
				b.WriteByte(text[i])
			}
			i++
		} else {
			for ; i < len(text) && text[i] != ' '; i++ {
				b.WriteByte(text[i])
			}
		}
		words = append(words, b.String())
		text = strings.TrimPrefix(text[i:], " ")
	}
	return words
}

// TestSystemdUnderstandsTheUnits, where it is installed.
func TestSystemdUnderstandsTheUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	home := t.TempDir()
	program := filepath.Join(home, `my 100% $tools "'\`, "tunhook")
	check(t, os.MkdirAll(filepath.Dir(program), 0o700))
	check(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))
	s := Store{filepath.Join(home, ".config")}
	e := nasty(BySystemd)
	e.Program, e.For = program, `/home/me/My "desk" 100% $HOME\`
	wrote, err := s.Write(e)
	check(t, err)
	if !wrote.Any {
		t.Error("nothing was written")
	}
	verify := func() (string, error) {
		cmd := exec.Command(analyze, "--user", "--man=no", "verify", filepath.Join(s.UnitDir(), e.Socket()), filepath.Join(s.UnitDir(), e.Service()))
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+s.ConfigHome, "XDG_RUNTIME_DIR="+home)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := verify(); err != nil || strings.Contains(out, e.Name()) {
		t.Errorf("%v: %s", err, out)
	}
	service := filepath.Join(s.UnitDir(), e.Service())
	check(t, os.WriteFile(service, []byte(strings.Replace(e.serviceUnit(), `"listen"`, `"listen`, 1)), 0o600))
	if out, err := verify(); err == nil {
		t.Errorf("a service without a quote passes, so that this test shows nothing: %s", out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
