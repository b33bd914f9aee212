package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/hook/autostart"
	"github.com/tunhook/tunhook/hook/doctor"
	"github.com/tunhook/tunhook/hook/remmina"
	"github.com/tunhook/tunhook/hook/sessionbus"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// TestEveryFindingHasARemedy, and is said in words of its own.
func TestEveryFindingHasARemedy(t *testing.T) {
	t.Parallel()
	why := errors.New("operation not permitted")
	entry := autostart.Entry{Route: nowhere, Address: netip.MustParseAddrPort("127.0.0.1:3389"), Program: "/gone/tunhook", By: autostart.BySystemd}
	profile := remmina.Profile{Path: "/home/a/desk.remmina", Name: "desk"}
	findings := []any{
		doctor.Hangs{After: time.Second},
		doctor.NoHandles{Err: why},
		doctor.Blind{Err: why},
		doctor.NoLoopback{Address: entry.Address.Addr(), Err: why},
		doctor.NoBus{},
		doctor.NoBus{Address: "unix:path=/gone", Err: why},
		doctor.NoBus{Address: "tcp:host=a", Err: sessionbus.ErrNone},
		doctor.NoNotifier{Err: why},
		doctor.NoManager{Needed: true, Err: why},
		doctor.ManagerLacks{Names: []string{"DISPLAY"}},
		doctor.NoProgram{Err: &tunnel.ProgramError{Program: "x", Reason: "was not found on PATH"}, For: []string{"x://a"}},
		doctor.NoProgram{Err: &tunnel.ProgramError{Program: "x", Reason: "was not found on PATH", Install: "see x.example"}},
		doctor.NotOnDesktop{Name: "x", Path: "/home/a/bin/x", For: []string{"x://a"}},
		doctor.Old{Name: "x", Version: "1", Least: "2"},
		doctor.Silent{Name: "x", After: time.Second},
		doctor.Wildcard{Port: 3389},
		doctor.Unserved{Profile: profile},
		doctor.Unheard{Profile: profile},
		doctor.Strayed{Profile: profile},
		doctor.Proxied{Profile: profile},
		doctor.ByProxy{Entry: entry},
		doctor.Moved{Entry: entry},
		doctor.Halfway{Entry: entry, Missing: []string{"a.service"}},
		doctor.Changed{Entry: entry, Files: []string{"a.service"}},
		doctor.Stale{Record: pidfile.Record{Route: nowhere, Address: entry.Address}},
	}
	for _, trouble := range []remmina.Trouble{remmina.StartsTunnel, remmina.Misquoted, remmina.NeedsShell, remmina.ProgramGone} {
		findings = append(findings, doctor.Command{Profile: profile, Fault: remmina.Fault{Trouble: trouble, Command: "x"}})
	}
	for _, fact := range findings {
		words := sayRemark("check", doctor.Remark{Level: doctor.Finding, Fact: fact})
		if words.remedy == "" || words.text == "" || words.text == fmt.Sprint(fact) {
			t.Errorf("%T: %+v", fact, words)
		}
	}
}

// TestEveryFaultHasARemedy: of a configuration, of a profile and of the system, in the report and in JSON alike.
func TestEveryFaultHasARemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.toml")
	for text, want := range map[string]string{
		"[tunnel.x]\nroute = \"a\n":                                       "mend line 2 of " + config,
		"x = 1\n":                                                         "the known ones are provider, tunnel",
		"tunnel = 1\n":                                                    "write [tunnel.NAME]",
		"[tunnel.x]\nrout = \"\"\n":                                       "did you mean \"route\"?",
		"[tunnel.x]\nlisten = \"1\"\n":                                    "mend line 1 of " + config,
		"[tunnel.x]\nlisten = 1\n":                                        "mend line 2 of " + config,
		"[tunnel.x]\nroute = \"a:1\"\nlisten = \"x\"\n":                   "give PORT or IP:PORT",
		"[tunnel.x]\nroute = \"a:1\"\nready = \"x\"\n":                    "use ",
		"[tunnel.x]\nroute = \"a:1\"\ntimeout = \"x\"\n":                  "write a number with a unit",
		"[tunnel.x]\nroute = \"gopher://a\"\n":                            "known are ",
		"[tunnel.x]\nroute = \"sssh://a\"\n":                              "did you mean ssh://?",
		"[tunnel.x]\nroute = \"desk.example.com\"\n":                      "write the route there",
		"[tunnel.x]\nroute = \"ssh://a\"\n":                               "mend line 2 of " + config,
		"[tunnel.x]\nroute = \"a:1\"\nenv = { A = 1.5 }\n":                "mend line 3 of " + config,
		"[provider.x]\nargs = [\"a\"]\n":                                  "mend line 1 of " + config,
		"[provider.x]\ncommand = [\"a\", \"{b}\"]\n":                      "the known ones are {route}",
		"[provider.ssh]\nsignal = \"x\"\n":                                "use HUP, ",
		"[provider.ssh]\nrefused = \"(\"\n":                               "mend line 1 of " + config,
		"[provider.x]\ncommand = [\"x\"]\nlist = { command = [\"x\"] }\n": "mend line 3 of " + config,
	} {
		check(t, os.WriteFile(config, []byte(text), 0o600))
		faults := tunnel.LoadConfig(config).Faults()
		if len(faults) != 1 {
			t.Errorf("%q: faults %v", text, faults)
			continue
		}
		words := sayFault(faults[0])
		if !strings.HasPrefix(words.remedy, want) || !strings.Contains(words.text, config) || strings.Contains(words.text, words.remedy) {
			t.Errorf("%q: %+v, want the remedy %q", text, words, want)
		}
	}
	profile := filepath.Join(dir, "a.remmina")
	cause := &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}
	for want, err := range map[string]error{
		"make it readable for you": cause,
		"mend /x":                  &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOTDIR},
		"move it away, or save it anew in Remmina":       &remmina.FileError{Path: profile, Err: errors.New("not a Remmina profile")},
		"set server, precommand and ":                    &remmina.DamagedError{Path: profile, Err: errors.New("x")},
		"set HOME to your home directory":                usagef("HOME is not set, nor is %s: set HOME to your home directory", "XDG_STATE_HOME"),
		"correct it, or unset it":                        usagef("%s is %q, which is not an absolute path: correct it, or unset it", "XDG_STATE_HOME", "a: b"),
		"give PORT or IP:PORT":                           &tunnel.ListenError{Listen: "x", Reason: "has no port between 1 and 65535: give PORT or IP:PORT"},
		"enable it again: tunhook enable ":               &hook.EntryError{Entry: autostart.Entry{Route: nowhere}, Reason: "nothing listens there"},
		"choose another listen address":                  &hook.TakenError{Address: netip.MustParseAddrPort("127.0.0.1:3389")},
		"put it there, or take away what names it":       &tunnel.ConfigError{Path: "/x", Err: fmt.Errorf("cannot be read: %w", syscall.ENOENT)},
		"chmod 600 /x":                                   &tunnel.ConfigError{Path: "/x", Err: errors.New("the value of A: the file is open to others: chmod 600 /x")},
		"put that right, and look again: tunhook doctor": errors.New("no space left on device"),
	} {
		if words := sayFault(err); !strings.HasPrefix(words.remedy, want) || words.text == "" || strings.Contains(words.text, words.remedy) {
			t.Errorf("%v: %+v, want the remedy %q", err, words, want)
		}
	}
}
