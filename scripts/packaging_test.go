package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tunhook/tunhook/tunnel"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	check(t, err)
	return string(text)
}

// TestPackagingFilesSayTheVersion that the next release has, and build with the flags of the Makefile.
func TestPackagingFilesSayTheVersion(t *testing.T) {
	t.Parallel()
	version, _ := strings.CutSuffix(strings.TrimSpace(read(t, "cmd/tunhook/VERSION")), "-dev")
	for name, want := range map[string][]string{
		"packaging/PKGBUILD":   {"\npkgver=" + version + "\n"},
		"packaging/tunhook.rb": {`tag: "v` + version + `"`},
		"packaging/flake.nix":  {`version = "` + version + `";`},
	} {
		for _, line := range want {
			if !strings.Contains(read(t, name), line) {
				t.Errorf("%s has no %q", name, line)
			}
		}
	}
	flags := regexp.MustCompile(`(?m)^GOFLAGS_BUILD = -trimpath -buildvcs=false -tags (\S+) -ldflags '(.*) -X (\S+)=\$\(VERSION\)'$`).
		FindStringSubmatch(read(t, "Makefile"))
	if flags == nil {
		t.Fatal("the Makefile builds with other flags than this test knows")
	}
	flake := strings.Join(strings.Fields(read(t, "packaging/flake.nix")), " ")
	for _, want := range []string{
		`tags = [ "` + flags[1] + `" ];`,
		`ldflags = [ "` + strings.ReplaceAll(flags[2], " ", `" "`) + `" "-X ` + flags[3] + `=${version}" ];`,
	} {
		if !strings.Contains(flake, want) {
			t.Errorf("packaging/flake.nix has no %s", want)
		}
	}
}

// files are all below a directory, by their paths in it.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir))
		}
		return err
	}))
	return names
}

// nfpmFiles are the files that a package of that kind gets, and from where in ${STAGE}. What has a type of RPM's, nfpm leaves out
// of any other package: https://nfpm.goreleaser.com/docs/configuration/.
func nfpmFiles(t *testing.T, packager string) map[string]string {
	t.Helper()
	_, contents, _ := strings.Cut(read(t, "packaging/nfpm.yaml"), "\ncontents:\n")
	contents, _, _ = strings.Cut(contents, "\n\ndeb:\n")
	value := func(item, key string) string {
		if m := regexp.MustCompile(`(?m)(?:^|[\s{])` + key + `: "?([^\s",}]+(?:\}[^\s",}]+)?)`).FindStringSubmatch(item); m != nil {
			return m[1]
		}
		return ""
	}
	all := make(map[string]string)
	for _, item := range strings.Split("\n"+contents, "\n  - ")[1:] {
		only, kind := value(item, "packager"), value(item, "type")
		if (only == "" || only == packager) && (kind == "" || packager == "rpm" && kind != "dir") {
			all[value(item, "dst")] = strings.TrimPrefix(value(item, "src"), "${STAGE}")
		}
	}
	return all
}

// TestEveryPackageHasWhatInstallInstalls and nothing else but what goes with it.
func TestEveryPackageHasWhatInstallInstalls(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.write("tunhook", "#!/bin/sh\n")
	installed := t.TempDir()
	if out, err := c.make(newEnough, "install-files", "DESTDIR="+installed, "PREFIX=/usr"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := files(t, installed)
	if len(want) < 8 {
		t.Errorf("install installs no more than %q", want)
	}

	for packager, besides := range map[string][]string{
		"deb": {"/usr/share/doc/tunhook/", "/usr/share/lintian/overrides/"},
		"rpm": {"/usr/share/doc/tunhook/", "/usr/share/licenses/tunhook/"},
	} {
		var got []string
		for to, from := range nfpmFiles(t, packager) {
			from = strings.TrimSuffix(from, ".gz")
			if strings.HasPrefix(from, "/usr/") {
				got = append(got, from)
				if filepath.Base(from) != strings.TrimSuffix(filepath.Base(to), ".gz") {
					t.Errorf("%s: %s becomes %s", packager, from, to)
				}
			} else if !slices.ContainsFunc(besides, func(dir string) bool { return strings.HasPrefix(to, dir) }) {
				t.Errorf("%s has %s, which install does not", packager, to)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, and what install installs (-):\n%s", packager, diff)
		}
	}

	pkgdir, srcdir := t.TempDir(), t.TempDir()
	check(t, os.Symlink(c.dir, filepath.Join(srcdir, "tunhook")))
	cmd := exec.Command("bash", "-euc", `source tunhook/packaging/PKGBUILD; srcdir=$PWD; (build); (package)`)
	cmd.Dir, cmd.Env = srcdir, []string{"PATH=" + c.path, "FAKE_GO=" + newEnough, "pkgdir=" + pkgdir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("PKGBUILD: %v\n%s", err, out)
	}
	got := slices.DeleteFunc(files(t, pkgdir), func(name string) bool { return strings.HasPrefix(name, "/usr/share/licenses/") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("PKGBUILD, and what install installs (-):\n%s", diff)
	}
	said, err := exec.Command(filepath.Join(pkgdir, "usr/bin/tunhook")).Output()
	if err != nil || !strings.Contains(read(t, "packaging/PKGBUILD"), "pkgver="+strings.TrimPrefix(strings.TrimSpace(string(said)), "tunhook version ")+"\n") {
		t.Errorf("what PKGBUILD builds says %q, %v", said, err)
	}

	if out, err := c.make(newEnough, "uninstall", "DESTDIR="+installed, "PREFIX=/usr"); err != nil || !strings.Contains(out, "tunhook remmina disable PROFILE") {
		t.Errorf("uninstall: %v\n%s", err, out)
	}
	if left := files(t, installed); len(left) > 0 {
		t.Errorf("uninstall leaves %q", left)
	}
}

// TestExampleConfigurationIsOne that tunhook takes as it is.
func TestExampleConfigurationIsOne(t *testing.T) {
	t.Parallel()
	c := tunnel.LoadConfig("../packaging/config.toml")
	if faults := c.Faults(); len(faults) > 0 {
		t.Errorf("faults: %v", faults)
	}
	if got := c.Names(); !slices.Equal(got, []string{"desk", "lab"}) {
		t.Errorf("names: %q", got)
	}
	for _, route := range []string{"desk", "lab", "oc://lab/pod/desk:3389"} {
		if _, err := c.Route(route); err != nil {
			t.Error(err)
		}
	}
}
