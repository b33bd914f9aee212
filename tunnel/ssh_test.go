package tunnel

import (
	"slices"
	"testing"
)

func TestSSHArgvHasTheUsersOptionsBetweenOurs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ given, want []string }{
		{[]string{"gate"}, []string{"/ssh", "-N", "-S", "x", "gate"}},
		{[]string{"-p", "22", "-i", "key", "gate"}, []string{"/ssh", "-N", "-p", "22", "-i", "key", "-S", "x", "gate"}},
		{[]string{"-f", "gate"}, []string{"/ssh", "-N", "-S", "x", "gate"}}, // the tunnel does not leave
		{[]string{"-Cfv", "-fN", "gate"}, []string{"/ssh", "-N", "-Cv", "-N", "-S", "x", "gate"}},
		{[]string{"-ofoo", "-F", "of", "-if", "gate"}, []string{"/ssh", "-N", "-ofoo", "-F", "of", "-if", "-S", "x", "gate"}},
	} {
		got := SSH{Argv: append([]string{"/ssh"}, tc.given...)}.argv([]string{"-N"}, "-S", "x")
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.given, got, tc.want)
		}
	}
}

func TestSSHConfigTellsWhatMatters(t *testing.T) {
	t.Parallel()
	const usual = "user me\nhostname 10.0.0.1\nexitonforwardfailure no\nclearallforwardings no\ncontrolmaster false\n"
	for text, want := range map[string]sshConfig{
		"":    {},
		usual: {},
		usual + "controlpath /home/me/.ssh/a b\n":          {control: "/home/me/.ssh/a b"},
		usual + "controlmaster autoask\ncontrolpath /m\n":  {control: "/m", asks: true},
		usual + "controlmaster auto\ncontrolpath /m\n":     {control: "/m"},
		usual + "localforward 8080 [127.0.0.1]:80\n":       {forwards: true},
		"clearallforwardings yes\n":                        {forwards: true},
		usual + "dynamicforward 1080\n":                    {forwards: true},
		usual + "remoteforward 2222 [localhost]:22\n":      {forwards: true},
		usual + "forkafterauthentication no\ngatewayports": {forks: true},
	} {
		if got := parseSSHConfig(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestOnlyAForwardOnTheCommandLineIsOne(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]bool{
		"-L": true, "-D1080": true, "-R": true, "-i": false, "-": false, "L": false, "--L": false, "": false,
		"-CND": true, "-fNL8080:web:80": true, "-oLocalForward=1:a:2": true, "dynamicforward 1080": true, "-oLogLevel=DEBUG": false, "-iLab": false,
	} {
		if isForward(arg) != want {
			t.Errorf("%q: %v, want %v", arg, !want, want)
		}
	}
}
