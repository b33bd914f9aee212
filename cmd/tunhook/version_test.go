package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// TestVersionIsTheTagOrTheCommit of the checkout, whoever has built it.
func TestVersionIsTheTagOrTheCommit(t *testing.T) {
	t.Parallel()
	for built, want := range map[string]string{
		"":                                     "0.3.0-dev",
		"(devel)":                              "0.3.0-dev",
		"v0.3.0":                               "0.3.0",
		"v0.3.0-rc.1":                          "0.3.0-rc.1",
		"v0.3.0+dirty":                         "0.3.0+dirty",
		"v0.0.0-20261126073527-969d158abcde":   "0.3.0-dev.20261126073527+969d158abcde",
		"v0.2.1-0.20261126073527-969d158abcde": "0.3.0-dev.20261126073527+969d158abcde",
		"v0.3.0-rc.1.0.20261126073527-969d158abcde+dirty": "0.3.0-dev.20261126073527+969d158abcde.dirty",
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: built}}
		if got := versionOf("0.3.0-dev", info); got != want {
			t.Errorf("built as %q: %q, want %q", built, got, want)
		}
	}
	if got := versionOf("0.3.0", nil); got != "0.3.0" {
		t.Errorf("without build info: %q", got)
	}
}

// TestScriptAndBuildInfoAgreeOnTheVersion in each state of a checkout, so that a bug report names the same one however
// tunhook was built.
func TestScriptAndBuildInfoAgreeOnTheVersion(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git here: tunhook came as an archive, and is called as VERSION says")
	}
	dir := t.TempDir()
	script, err := os.ReadFile("../../scripts/version")
	check(t, err)
	for name, text := range map[string]string{
		"scripts/version":     string(script),
		"cmd/tunhook/VERSION": "0.3.0-dev\n",
		"cmd/tunhook/main.go": "package main\n\nimport \"runtime/debug\"\n\nfunc main() { i, _ := debug.ReadBuildInfo(); print(i.Main.Version) }\n",
		"go.mod":              "module example.com/m\n\ngo 1.24\n",
	} {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(t, os.WriteFile(path, []byte(text), 0o700))
	}
	environ := append(os.Environ(), "HOME="+t.TempDir(), "GOCACHE="+goEnv(t, "GOCACHE"), "GOPATH="+goEnv(t, "GOPATH"), "GOFLAGS=-buildvcs=true", "GOPROXY=off", "CGO_ENABLED=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_NOSYSTEM=1", "TZ=Asia/Tokyo")
	in := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, environ
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	in("git", "init", "--quiet")
	check(t, os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), []byte("/m\n"), 0o600))
	for _, state := range []struct{ name, command, has string }{
		{"untracked files", "git commit --quiet --allow-empty --message=empty", ".dirty"},
		{"a commit", "git add . && git commit --quiet --message=first", "0.3.0-dev.20"},
		// Go remembers what a commit is called, and so each state has one of its own.
		{"a tag", "git commit --quiet --allow-empty --message=released && git tag v0.3.0", "0.3.0"},
		{"a tag of something else", "git tag nightly", "0.3.0"},
		{"a changed file", "echo >>go.mod", "0.3.0+dirty"},
		{"a commit behind the tag", "git commit --quiet --all --message=second", "0.3.0-dev.20"},
	} {
		in("sh", "-c", state.command)
		said := in("scripts/version")
		in("go", "build", "-o", "m", "./cmd/tunhook")
		built := in("./m")
		info := &debug.BuildInfo{Main: debug.Module{Version: built}}
		if got := versionOf("0.3.0-dev", info); got != said || !strings.Contains(said, state.has) {
			t.Errorf("with %s: scripts/version says %q, and what was built as %s is %q; want %q in both", state.name, said, built, got, state.has)
		}
	}
	in("rm", "-rf", ".git")
	if said := in("scripts/version"); said != "0.3.0-dev" {
		t.Errorf("without git: %q", said)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	check(t, err)
	return strings.TrimSpace(string(out))
}
