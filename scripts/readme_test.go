package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// elsewhere are the commands of the README that need minutes, root or another program, with the file that runs them and how they
// stand there.
var elsewhere = map[string][2]string{
	"make demo":     {".ci/run", "phase 'demo' make demo\n"},
	"make test":     {".ci/run", "phase 'test' make test\n"},
	"make packages": {"scripts/e2e-packages/main_test.go", `exec.Command("make", "packages", "ARTIFACTS=`},
	"sudo apt-get install ./artifacts/packages/tunhook_*_amd64.deb":                   {"scripts/e2e-packages/root_test.go", "apt-get install ./artifacts/packages/tunhook_*_amd64.deb)"},
	"flatpak override --user --talk-name=org.freedesktop.Flatpak org.remmina.Remmina": {"scripts/e2e/flatpak_permission_test.go", `"flatpak override --user --talk-name=org.freedesktop.Flatpak " + sandboxApp`},
}

var (
	fence   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	comment = regexp.MustCompile(`\s+#.*$`)
)

// TestEveryCommandOfTheReadmeThatInstallsRuns in a checkout, or is one that another test runs. Those of the console are run by
// the tests of cmd/tunhook.
func TestEveryCommandOfTheReadmeThatInstallsRuns(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	root := t.TempDir()
	check(t, os.WriteFile(filepath.Join(c.dir, "bin", "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o700))
	run := 0
	for _, block := range fence.FindAllStringSubmatch(read(t, "README.md"), -1) {
		if block[1] != "sh" && block[1] != "console" {
			t.Errorf("a block of %q: commands alone are sh, commands with their output console\n%s", block[1], block[2])
		}
		if block[1] != "sh" {
			continue
		}
		for line := range strings.Lines(block[2]) {
			command := comment.ReplaceAllString(strings.TrimSpace(line), "")
			if place, ok := elsewhere[command]; ok {
				if !strings.Contains(read(t, place[0]), place[1]) {
					t.Errorf("%s no longer runs %q", place[0], command)
				}
				continue
			}
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir, cmd.Env = c.dir, []string{"PATH=" + c.path, "HOME=/home/alice", "FAKE_GO=" + newEnough, "MAKEFLAGS= -- DESTDIR=" + root}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
			run++
		}
	}
	if run < 4 {
		t.Errorf("%d commands were run", run)
	}
	installed := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	if !installed("home/alice/.local/bin/tunhook") || installed("usr/local/bin/tunhook") {
		t.Errorf("what was installed for oneself should be there, and what was uninstalled should not: %q", files(t, root))
	}
}

// TestScreenshotIsSmall, and made by a test that there is.
func TestScreenshotIsSmall(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	picture := regexp.MustCompile(`!\[[^]]+\]\((.+\.png)\)`).FindStringSubmatch(readme)
	made := regexp.MustCompile(`<!-- Made by (Test\w+) in (\S+) `).FindStringSubmatch(readme)
	if picture == nil || made == nil {
		t.Fatal("the README has no screenshot, or does not say what makes it")
	}
	info, err := os.Stat(filepath.Join("..", picture[1]))
	check(t, err)
	if info.Size() > 100<<10 {
		t.Errorf("it has %d bytes", info.Size())
	}
	tests, err := filepath.Glob(filepath.Join("..", made[2], "*_test.go"))
	check(t, err)
	for _, name := range tests {
		text, err := os.ReadFile(name)
		check(t, err)
		if strings.Contains(string(text), "func "+made[1]+"(") && strings.Contains(string(text), `o.screenshot("sign-in")`) {
			return
		}
	}
	t.Errorf("no test of %s is called %s", made[2], made[1])
}

// TestEveryTargetThatPeopleAreToldOfIsThere in the Makefile.
func TestEveryTargetThatPeopleAreToldOfIsThere(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	told := regexp.MustCompile("(?m)(?:^|`|sudo )make ([a-z0-9-]+)")
	for _, name := range []string{"README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md", "CHANGELOG.md"} {
		for _, m := range told.FindAllStringSubmatch(read(t, name), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s tells of make %s", name, m[1])
			}
		}
	}
}
