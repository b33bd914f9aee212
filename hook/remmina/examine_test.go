package remmina

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestExamineFindsWhatACommandIsWrittenFor(t *testing.T) {
	runs := func(program string) bool { return !slices.Contains([]string{"/gone/hook", "nosuch"}, program) }
	for command, want := range map[string]Fault{
		`/usr/bin/true`:                       {},
		`notify-send "%h is next"`:            {},
		`'/opt/my tools/x' 'it'\''s' "a b"`:   {},
		`sh -c 'x=$HOME; ls | wc >/dev/null'`: {},
		`/bin/bash -c "sleep $N & exit"`:      {},
		`xdg-open http://a/?x=1&y=2`:          {},
		`echo '$HOME' '~' '|' \$x`:            {},
		`# nothing`:                           {},
		`echo 5$`:                             {},
		`%h`:                                  {},
		`/bin/x "a`:                           {Misquoted, "", `its " has no other end`},
		`/bin/x it's`:                         {Misquoted, "", `its ' has no other end`},
		`/bin/x \`:                            {Misquoted, "", `it ends with a backslash`},
		`~/bin/hook start`:                    {NeedsShell, "", "~"},
		`/bin/x ~/file`:                       {NeedsShell, "", "~"},
		`$HOME/bin/hook start`:                {NeedsShell, "", "$"},
		`/bin/x "$USER"`:                      {NeedsShell, "", "$"},
		`/bin/x ${USER}`:                      {NeedsShell, "", "$"},
		`/bin/x $(id)`:                        {NeedsShell, "", "$"},
		"/bin/x `id`":                         {NeedsShell, "", "`"},
		`/bin/x | /bin/y`:                     {NeedsShell, "", "|"},
		`/bin/x || true`:                      {NeedsShell, "", "||"},
		`/bin/x && /bin/y`:                    {NeedsShell, "", "&&"},
		`/bin/x; /bin/y`:                      {NeedsShell, "", ";"},
		`/bin/x &`:                            {NeedsShell, "", "&"},
		`/bin/x a&`:                           {NeedsShell, "", "&"},
		`/bin/x >/dev/null 2>&1`:              {NeedsShell, "", ">/dev/null"},
		`/bin/x 2> /dev/null`:                 {NeedsShell, "", "2>"},
		`A=b /bin/x`:                          {NeedsShell, "", "A=b"},
		`/gone/hook start a b`:                {ProgramGone, "", "/gone/hook"},
		`nosuch start a b`:                    {ProgramGone, "", "nosuch"},
		`pomerium-cli tcp a:1 --listen :1`:    {StartsTunnel, "", ""},
		`ssh -f -N -L 3389:a:3389 gw`:         {StartsTunnel, "", ""},
		`sh -c 'ssh -fNL 1:a:2 gw'`:           {StartsTunnel, "", ""},
		`ssh host touch /tmp/x`:               {},
		`/usr/bin/tunhook start a:1 1`:        {},
	} {
		var wanted []Fault
		if want.Trouble != "" {
			want.Command = command
			wanted = []Fault{want}
		}
		if diff := cmp.Diff(wanted, Examine(Profile{Before: Value{Now: command, Original: command}}, runs)); diff != "" {
			t.Errorf("before %s: %s", command, diff)
		}
		if want.Trouble == StartsTunnel {
			wanted = nil
		}
		if diff := cmp.Diff(wanted, Examine(Profile{After: Value{Now: command, Original: command}}, runs)); diff != "" {
			t.Errorf("after %s: %s", command, diff)
		}
	}
}

func TestExamineKnowsTheScriptOfTheGuides(t *testing.T) {
	p := Profile{Protocol: "RDP", Server: Value{Original: "localhost:3389"}}
	p.Before = Value{Now: "/home/me/hook start desk.example.com:3389 3389", Original: "/home/me/hook start desk.example.com:3389 3389"}
	p.After = Value{Now: "/home/me/hook stop desk.example.com:3389 3389", Original: "/home/me/hook stop desk.example.com:3389 3389"}
	got := Examine(p, func(string) bool { return true })
	if diff := cmp.Diff([]Fault{{StartsTunnel, p.Before.Now, ""}}, got); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		before, after string
		starts        bool
	}{
		{`sh -c "/x/pom.sh start desk:3389 3389"`, `sh -c "/x/pom.sh stop desk:3389 3389"`, true},
		{`bash -c '$HOME/pom.sh start desk:3389 3389 &'`, "", true},
		{"nohup /x/pom.sh start desk:3389 3389", "", true},
		{"nohup ssh -fNL 3389:desk:3389 gate", "", true},
		{"setsid ssh -M -S /x -fNL 3389:desk:3389 gate", "", true},
		{"nohup tunhook start desk:3389 3389", "nohup tunhook stop desk:3389 3389", false},
		{"nohup /x/vpn.sh start", "/x/vpn.sh stop", false},
	} {
		profile := Profile{Protocol: "RDP", Server: p.Server, Before: Value{Now: tc.before, Original: tc.before}, After: Value{Now: tc.after, Original: tc.after}}
		var want []Fault
		if tc.starts {
			want = []Fault{{StartsTunnel, tc.before, ""}}
		}
		if diff := cmp.Diff(want, Examine(profile, func(string) bool { return true })); diff != "" {
			t.Errorf("%s: %s", tc.before, diff)
		}
	}
	p.Before.Ours = true
	if got := Examine(p, func(string) bool { return true }); len(got) > 0 {
		t.Errorf("what enable wrote: %v", got)
	}
}

// TestWhatEnableWritesNeedsNoShell, whatever the arguments are.
func TestWhatEnableWritesNeedsNoShell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		argv := append([]string{"/opt/x/tunhook"}, rapid.SliceOfN(argument(), 0, 6).Draw(t, "arguments")...)
		text, err := quote(argv)
		if err != nil {
			t.Fatal(err)
		}
		words, problem := split(text)
		var got []string
		for _, w := range words {
			got = append(got, w.text)
		}
		if problem != "" || !slices.Equal(got, argv) || forShell(words) != "" {
			t.Errorf("%s: %q, %q, %q", text, got, problem, forShell(words))
		}
	})
}
