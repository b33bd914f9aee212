package scripts

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkout is a copy of what the Makefile needs, with a go in its PATH that writes programs which can only say their version.
type checkout struct {
	t    *testing.T
	dir  string
	path string // PATH

	sudoUser string // who runs make under sudo, "" for no sudo
}

const fakeGo = `#!/bin/sh
case "$1 $2" in
"env GOVERSION") echo "$FAKE_GO" ;;
"build "*)
	for arg; do
		case $last in -o) out=$arg ;; -ldflags) version=${arg##*=} ;; esac
		last=$arg
	done
	echo built >>builds
	printf '#!/bin/sh\necho "tunhook version %s"\n' "$version" >"$out"
	chmod 755 "$out"
	;;
*) exit 1 ;;
esac
`

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: t.TempDir()}
	for _, name := range []string{
		"Makefile", "go.mod", "go.sum", "LICENSE", "CHANGELOG.md", "cmd", "hook", "pidfile", "tunnel", "packaging",
		"scripts/scripts.go", "scripts/flatpak-hook", "scripts/xfreerdp-tunnel", "scripts/needs-go", "scripts/stale", "scripts/version",
	} {
		check(t, os.MkdirAll(filepath.Join(c.dir, "scripts"), 0o700))
		if out, err := exec.Command("cp", "-R", "-p", filepath.Join("..", name), filepath.Join(c.dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	c.path = c.dir + "/bin:/usr/bin:/bin"
	check(t, os.Mkdir(filepath.Join(c.dir, "bin"), 0o700))
	check(t, tunneltest.WriteProgram(filepath.Join(c.dir, "bin", "go"), []byte(fakeGo)))
	return c
}

// make runs make with a go of that version; without one there is no go on PATH.
func (c *checkout) make(version string, args ...string) (output string, err error) {
	c.t.Helper()
	path := c.path
	if version == "" {
		path = c.withoutGo()
	}
	cmd := exec.Command("make", args...)
	cmd.Dir, cmd.Env = c.dir, []string{"PATH=" + path, "HOME=" + c.dir, "FAKE_GO=" + version, "SUDO_USER=" + c.sudoUser}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// withoutGo is a PATH with all that the Makefile needs but Go, which may lie in /usr/bin too.
func (c *checkout) withoutGo() string {
	dir := c.t.TempDir()
	for _, name := range []string{"make", "sh", "git", "cat", "cut", "dirname", "find", "head", "install", "mkdir", "sed", "sort", "rm"} {
		program, err := exec.LookPath(name)
		if name == "git" && err != nil {
			continue // the checkout may have come as an archive
		}
		check(c.t, err)
		check(c.t, os.Symlink(program, filepath.Join(dir, name)))
	}
	return dir
}

func (c *checkout) builds() int {
	text, err := os.ReadFile(filepath.Join(c.dir, "builds"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// install installs, and returns the version of what is installed then.
func (c *checkout) install(goVersion string) (version, output string, err error) {
	c.t.Helper()
	output, err = c.make(goVersion, "-j4", "install", "PREFIX="+c.dir+"/installed")
	said, _ := exec.Command(filepath.Join(c.dir, "installed", "bin", "tunhook")).Output()
	return strings.TrimPrefix(strings.TrimSpace(string(said)), "tunhook version "), output, err
}

// touch makes a file that much newer than it would be now.
func (c *checkout) touch(name string, later time.Duration) {
	c.t.Helper()
	at := time.Now().Add(later)
	check(c.t, os.Chtimes(filepath.Join(c.dir, name), at, at))
}

func (c *checkout) write(name, text string) {
	c.t.Helper()
	check(c.t, os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600))
}

const newEnough = "go1.99.0"

// TestAnOldGoGetsOneLine that says which one is needed, and where it comes from.
func TestAnOldGoGetsOneLine(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	mod, err := os.ReadFile(filepath.Join(c.dir, "go.mod"))
	check(t, err)
	_, rest, _ := strings.Cut(string(mod), "\ngo ")
	need, _, _ := strings.Cut(rest, "\n")
	for _, tc := range []struct{ target, version, have string }{
		{"build", "go1.19.8", "1.19.8"},
		{"build", "go1.3", "1.3"},
		{"build", "", "no go on PATH"},
		{"demo", "go1.26rc1", "1.26"},
		{"install", "go1.25.9", "1.25.9"},
		{"packages", "", "no go on PATH"},
		{"test", "", "no go on PATH"},
		{"test", "go1.25.9", "1.25.9"},
		{"fuzz", "", "no go on PATH"},
		{"soak", "", "no go on PATH"},
		{"lint", "", "no go on PATH"},
		{"bench", "", "no go on PATH"},
		{"e2e", "", "no go on PATH"},
		{"e2e-ssh", "", "no go on PATH"},
		{"e2e-providers", "", "no go on PATH"},
		{"e2e-packages", "", "no go on PATH"},
	} {
		out, err := c.make(tc.version, "--silent", tc.target)
		said, _, _ := strings.Cut(out, "make: ***")
		said, _, _ = strings.Cut(said, "make[1]: ***")
		if tc.target == "install" { // says why it builds
			_, said, _ = strings.Cut(said, "\n")
		}
		if err == nil || strings.Count(said, "\n") != 1 || !strings.Contains(said, "Go "+need+" or newer") ||
			!strings.Contains(said, tc.have) || !strings.Contains(said, "https://go.dev/dl/") {
			t.Errorf("make %s with %q: %v, %q", tc.target, tc.version, err, out)
		}
	}
	if c.builds() > 0 {
		t.Error("built something with it")
	}
	c.sudoUser = "alice"
	for target, want := range map[string]string{
		"":        `: run "make build" as alice`,
		"test":    `: run "make test" as alice`,
		"install": `: run "make build" as alice, and this again`,
	} {
		if out, err := c.make("", append([]string{"--silent"}, strings.Fields(target)...)...); err == nil || !strings.Contains(out, want+"\n") {
			t.Errorf("sudo make %s without Go: %v, %q", target, err, out)
		}
	}
	for _, version := range []string{newEnough, "go" + need, "devel go1.99-abcdef Mon Nov 2 10:00:00 2026", "go1.99.1 X:nodwarf5"} {
		if out, err := c.make(version, "build"); err != nil {
			t.Errorf("%q is new enough: %v, %s", version, err, out)
		}
	}
}

// TestInstallNeverInstallsAStaleProgram: Go looks each time; but what is as it should be is not built under sudo, where Go may be
// missing, nor by root in somebody else's checkout.
func TestInstallNeverInstallsAStaleProgram(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]string{"its owner": "", "sudo": "alice"} {
		t.Run("by "+name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.sudoUser = user
			neverStale(t, c, user == "")
		})
	}
	if os.Getuid() == 0 { // only root can give a checkout away
		t.Run("by su", func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			check(t, os.Chown(c.dir, 65534, 65534))
			neverStale(t, c, false)
		})
	}
}

// neverStale installs after each change, by whoever asks Go each time, or does not.
func neverStale(t *testing.T, c *checkout, always bool) {
	c.write("cmd/tunhook/VERSION", "1.0.0\n")
	built, later := 0, time.Duration(0)
	leave := func(later time.Duration, program string) {
		c.write("tunhook", program)
		c.touch("tunhook", later)
	}
	for _, step := range []struct {
		name   string
		change func(later time.Duration)
		want   string
		builds bool // for those too who do not ask Go
	}{
		{"at first", func(time.Duration) {}, "1.0.0", true},
		{"again", func(time.Duration) {}, "1.0.0", false},
		{"after a test has changed", func(later time.Duration) { c.touch("tunnel/main_test.go", later) }, "1.0.0", false},
		{"after a file has changed", func(later time.Duration) { c.touch("tunnel/providers.toml", later) }, "1.0.0", true},
		{"after the version has changed", func(time.Duration) {
			c.write("cmd/tunhook/VERSION", "1.1.0\n")
			c.touch("cmd/tunhook/VERSION", -time.Hour) // as a tag changes it, too
		}, "1.1.0", true},
		{"after half of a program was left there", func(later time.Duration) { leave(later, "\x7fELF") }, "1.1.0", true},
		{"after one for another processor was", func(later time.Duration) { leave(later, "#!/bin/sh\nexit 126\n") }, "1.1.0", true},
		{"after one that says nothing was", func(later time.Duration) { leave(later, "#!/bin/sh\n") }, "1.1.0", true},
	} {
		later += time.Hour
		step.change(later)
		version, out, err := c.install(newEnough)
		if step.builds || always {
			built++
		}
		if err != nil || version != step.want || c.builds() != built {
			t.Fatalf("%s: %v, %q is installed, want %q; built %d times, want %d\n%s", step.name, err, version, step.want, c.builds(), built, out)
		}
		c.touch("tunhook", later)
	}
	if version, out, err := c.install(""); err != nil || version != "1.1.0" {
		t.Errorf("without Go, and nothing to build: %v, %q\n%s", err, version, out)
	}
	c.write("cmd/tunhook/VERSION", "1.2.0\n")
	if version, out, err := c.install(""); err == nil || version != "1.1.0" || !strings.Contains(out, "./tunhook is ") || !strings.Contains(out, "no go on PATH") {
		t.Errorf("without Go, and something to build: %v, %q\n%s", err, version, out)
	}
}

// TestInstallSeesFilesThatComeWithTheirTimes as from an archive, which are older than what they replace.
func TestInstallSeesFilesThatComeWithTheirTimes(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.sudoUser = "alice"
	for i, change := range []func(){
		func() {},
		func() {
			c.write("other", "package tunnel\n")
			c.touch("other", -1000*time.Hour)
			check(t, os.Rename(filepath.Join(c.dir, "other"), filepath.Join(c.dir, "tunnel", "route.go")))
			c.touch("tunnel", -1000*time.Hour)
		},
		func() { c.touch("cmd/tunhook/app.go", -1000*time.Hour) },
	} {
		change()
		for range 2 { // the second time there is nothing to do
			if _, out, err := c.install(newEnough); err != nil || c.builds() != i+1 {
				t.Fatalf("change %d: %v, built %d times\n%s", i, err, c.builds(), out)
			}
		}
	}
}

// TestDemoSaysWhatTakesSoLong before it builds, and nothing where nothing has to be built.
func TestDemoSaysWhatTakesSoLong(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	const says = "Building tunhook and the demo"
	out, _ := c.make(newEnough, "demo") // that go runs nothing
	if before, _, ok := strings.Cut(out, says); !ok || before != "" || c.builds() != 1 {
		t.Errorf("at first: built %d times\n%s", c.builds(), out)
	}
	if out, _ := c.make(newEnough, "demo"); strings.Contains(out, says) || c.builds() != 1 {
		t.Errorf("again: built %d times\n%s", c.builds(), out)
	}
}
