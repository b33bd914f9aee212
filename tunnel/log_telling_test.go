package tunnel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheLinesThatTellMostAreShown, whatever else a program says before or after them.
func TestTheLinesThatTellMostAreShown(t *testing.T) {
	t.Parallel()
	table := func(n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("   --option-%d value, -%c   says what to do (default: %d) [$OPTION]\n", i, 'a'+i, i)
		}
		return text
	}
	const stack = "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:12 +0x1d\nruntime.main()\n\t/usr/lib/go/src/runtime/proc.go:283 +0x28\nexit status 2\n"
	for name, tc := range map[string]struct{ text, want string }{
		"help after it":         {"Incorrect Usage: flag provided but not defined: -x\n\nNAME:\n   prog -\n\nUSAGE:\n   prog [options]\n\nOPTIONS:\n" + table(12), "Incorrect Usage"},
		"help before it":        {"Usage: prog [options]\n\nFlags:\n" + table(12) + "\nError: unknown flag: --x\n", "Error: unknown flag"},
		"advice after it":       {"ERROR: (gcloud) You do not currently have an active account selected.\nPlease run:\n\n  $ gcloud auth login\n\nto obtain new credentials.\n\nIf you have, run:\n\n  $ gcloud config set account ACCOUNT\n\nto select it.\n", "active account"},
		"the same before it":    {strings.Repeat("E1125 memcache.go:265] couldn't get it: connection refused\n", 7) + "error: context \"prod\" does not exist\n", "does not exist"},
		"attempts after it":     {"error: the key is wrong\n" + strings.Repeat("retrying in 5 s\nstill here 12\n", 9), "the key is wrong"},
		"a stack after it":      {"panic: runtime error: index out of range\n\n" + strings.Repeat(stack, 3), "panic: runtime error"},
		"a stack before it":     {"Traceback (most recent call last):\n" + strings.Repeat("  File \"/usr/lib/x.py\", line 3, in y\n    z()\n", 6) + "ConnectionError: nobody is there\n", "ConnectionError"},
		"a stack of Java's":     {"Exception in thread \"main\" java.io.IOException: closed by peer\n" + strings.Repeat("\tat a.b.C(D.java:12)\n", 9), "IOException"},
		"JSON with its level":   {strings.Repeat(`{"level":"info","message":"one"}`+"\n", 3) + `{"level":"error","message":"no luck"}` + "\n" + infos(9), "no luck"},
		"logfmt with its level": {"time=1 level=error msg=\"no luck\"\n" + strings.ReplaceAll(infos(9), `"level":"info"`, "level=info"), "no luck"},
		"many errors":           {"error: the cause\nerror: a\nerror: b\nerror: c\nerror: d\nerror: e\nerror: the last\n", "the cause"},
		"and the last of them":  {"error: the cause\nerror: a\nerror: b\nerror: c\nerror: d\nerror: e\nerror: the last\n", "the last"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := TellingLines(log, 0, 5)
		log.Close()
		if len(lines) > 5 || !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, tc.want) }) {
			t.Errorf("%s: %q, want one with %q", name, lines, tc.want)
		}
	}
}

func infos(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`{"level":"info","message":"word %c"}`+"\n", 'a'+i)
	}
	return text
}

func TestWhereNothingTellsMoreTheLastLinesAreShown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for text, want := range map[string][]string{
		"a\nb\nc\nd\n": {"c", "d"}, "a\n": {"a"}, "": {}, "Usage:\n  --a\n  --b\n  --c\n": {"--b", "--c"},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := TellingLines(log, 0, 2); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		log.Close()
	}
}
