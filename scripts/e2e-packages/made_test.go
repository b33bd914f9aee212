//go:build e2e

package e2epackages

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPackagesAreReproducible by who has the same commit and the same Go, at another time, in another place and with other
// habits.
func TestPackagesAreReproducible(t *testing.T) {
	t.Parallel()
	again := t.TempDir()
	cmd := exec.Command("sh", "-c", `umask 077 && exec scripts/packages "$0"`, again)
	cmd.Dir, cmd.Env = freshCheckout(t), append(os.Environ(), "VERSION="+packages.version, "TZ=Pacific/Auckland", "HOSTNAME=elsewhere", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first, err := os.ReadFile(filepath.Join(packages.dir, "SHA256SUMS"))
	check(t, err)
	second, err := os.ReadFile(filepath.Join(again, "SHA256SUMS"))
	check(t, err)
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("the first time (-) and the second (+):\n%s", diff)
	}
	if got := strings.Count(string(first), "\n"); got != 8 {
		t.Errorf("%d checksums: deb, rpm, archive and bill for two architectures are 8\n%s", got, first)
	}
	sums := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	sums.Dir = packages.dir
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPackagesAreOfTheirArchitecture and so is the program in each, which needs no library and no loader.
func TestPackagesAreOfTheirArchitecture(t *testing.T) {
	t.Parallel()
	for _, arch := range []struct {
		deb, rpm string
		machine  elf.Machine
	}{{"amd64", "x86_64", elf.EM_X86_64}, {"arm64", "aarch64", elf.EM_AARCH64}} {
		deb, rpm := theOne(t, packages.dir, "*_"+arch.deb+".deb"), theOne(t, packages.dir, "*."+arch.rpm+".rpm")
		if got := output(t, "dpkg-deb", "--field", deb, "Architecture"); got != arch.deb {
			t.Errorf("%s is of %s", deb, got)
		}
		if got := output(t, "dpkg-deb", "--field", deb, "Version"); got != packaged(packages.version) {
			t.Errorf("%s has the version %q", deb, got)
		}
		if got := output(t, "rpm", "--query", "--package", "--queryformat", "%{ARCH}", rpm); got != arch.rpm {
			t.Errorf("%s is of %s", rpm, got)
		}
		var sums []string
		for _, in := range []struct{ file, unpack string }{
			{deb, `dpkg-deb --fsys-tarfile "$0" | tar -xOf - ./usr/bin/tunhook`},
			{rpm, `rpm2cpio "$0" | cpio --quiet --extract --to-stdout "*/bin/tunhook"`},
			{theOne(t, packages.dir, "*-linux-"+arch.deb+".tar.gz"), `tar -xzOf "$0" --wildcards "*/bin/tunhook"`},
		} {
			program := filepath.Join(t.TempDir(), "tunhook")
			output(t, "sh", "-c", in.unpack+` >"$1"`, in.file, program)
			file, err := elf.Open(program)
			check(t, err)
			libraries, err := file.ImportedLibraries()
			if err != nil || len(libraries) > 0 || file.Section(".interp") != nil || file.Machine != arch.machine {
				t.Errorf("the program in %s is of %v, and needs %q, %v", in.file, file.Machine, libraries, err)
			}
			check(t, file.Close())
			sum, _, _ := strings.Cut(output(t, "sha256sum", program), " ")
			sums = append(sums, sum)
		}
		if sums[0] != sums[1] || sums[0] != sums[2] {
			t.Errorf("%s: the programs in deb, rpm and archive differ: %q", arch.deb, sums)
		}
	}
}

// TestLintianFindsNothing that is an error or a warning, beside what packaging/lintian-overrides answers for; and nothing there
// that does not have to be answered for.
func TestLintianFindsNothing(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"amd64", "arm64"} {
		// With --show-overrides what is overridden makes it fail too.
		out := output(t, "lintian", "--allow-root", "--no-cfg", "--display-info", "--fail-on", "error,warning",
			theOne(t, packages.dir, "*_"+arch+".deb"))
		if strings.Contains(out, "unused-override") {
			t.Errorf("%s: some overrides are not needed:\n%s", arch, out)
		}
	}
}

// TestRpmlintFindsNoError beside what packaging/rpmlint.toml answers for.
func TestRpmlintFindsNoError(t *testing.T) {
	t.Parallel()
	// It unpacks a package with "cpio -id", which puts files with a name such as nfpm's, /usr/bin/tunhook, right there on
	// this machine, and then misses them where it looks.
	bin := t.TempDir()
	check(t, os.WriteFile(filepath.Join(bin, "cpio"), []byte("#!/bin/sh\nexec /usr/bin/cpio --no-absolute-filenames \"$@\"\n"), 0o700))
	out := output(t, "env", "PATH="+bin+":"+os.Getenv("PATH"), "rpmlint", "--config", "../../packaging/rpmlint.toml",
		theOne(t, packages.dir, "*.x86_64.rpm"), theOne(t, packages.dir, "*.aarch64.rpm"))
	if !strings.Contains(out, "2 packages and 0 specfiles checked; 0 errors") {
		t.Error(out)
	}
}

// TestArchiveRunsFromAnywhere without anything that is installed.
func TestArchiveRunsFromAnywhere(t *testing.T) {
	prefix := t.TempDir()
	output(t, "tar", "-xzf", theOne(t, packages.dir, "*-linux-amd64.tar.gz"), "--directory", prefix, "--strip-components", "1")
	tunhook := filepath.Join(prefix, "bin", "tunhook")
	if got := output(t, tunhook, "--version"); got != "tunhook version "+packages.version {
		t.Error(got)
	}
	for _, name := range []string{"LICENSE", "CHANGELOG.md", "README.md", "THIRD_PARTY_NOTICES", "sbom.cdx.json", "examples/config.toml"} {
		if info, err := os.Stat(filepath.Join(prefix, "share", "doc", "tunhook", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBillAndNoticesNameWhatIsLinked: each module, its version, its licence and the text of that.
func TestBillAndNoticesNameWhatIsLinked(t *testing.T) {
	root := t.TempDir()
	output(t, "dpkg-deb", "--extract", theOne(t, packages.dir, "*_arm64.deb"), root)
	linked := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(output(t, "go", "version", "-m", filepath.Join(root, "usr/bin/tunhook")), -1)
	if len(linked) < 5 {
		t.Fatalf("linked: %q", linked)
	}
	text, err := os.ReadFile(filepath.Join(root, "usr/share/doc/tunhook/sbom.cdx.json"))
	check(t, err)
	var bill struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct {
				Version string
				Hashes  []struct{ Content string }
			}
		}
		Components []struct {
			Name, Version, PURL string
			Licenses            []struct{ License struct{ ID string } }
		}
	}
	check(t, json.Unmarshal(text, &bill))
	self := bill.Metadata.Component
	sum, _, _ := strings.Cut(output(t, "sha256sum", filepath.Join(root, "usr/bin/tunhook")), " ")
	if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.5" || self.Version != packages.version || self.Hashes[0].Content != sum {
		t.Errorf("the bill is of %+v", self)
	}
	if len(bill.Components) != len(linked)+1 { // and Go's own library
		t.Errorf("%d components, and %d modules", len(bill.Components), len(linked))
	}
	notices := output(t, "gzip", "--decompress", "--stdout", filepath.Join(root, "usr/share/doc/tunhook/THIRD_PARTY_NOTICES.gz"))
	for i, m := range linked {
		c := bill.Components[i+1]
		if c.Name != m[1] || c.Version != m[2] || !strings.HasPrefix(c.PURL, "pkg:golang/") || len(c.Licenses) != 1 || c.Licenses[0].License.ID == "" {
			t.Errorf("component %+v, and module %q", c, m[1:])
		}
		if !regexp.MustCompile(`\n` + regexp.QuoteMeta(m[1]+" "+m[2]) + `, (?:LICEN|COPYING).*\n\n\s*\S`).MatchString(notices) {
			t.Errorf("no licence of %s in the notices", m[1])
		}
	}
}

// TestManualIsClean for those who read it with mandoc, and with man.
func TestManualIsClean(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../packaging/*.[1-8]")
	check(t, err)
	if len(pages) < 3 {
		t.Fatalf("pages: %q", pages)
	}
	for _, page := range pages {
		out, _ := exec.Command("mandoc", "-Tlint", page).CombinedOutput() // exits 1 for what is looked over below
		for line := range strings.Lines(string(out)) {
			// Of programs that are not installed here, and of a data base that nobody has made.
			if !strings.Contains(line, "referenced manual not found") && !strings.Contains(line, "outdated mandoc.db") {
				t.Error(strings.TrimSpace(line))
			}
		}
		cmd := exec.Command("man", "--warnings", "--local-file", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80", "MANROFFSEQ=")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil || stderr.Len() > 0 || !strings.Contains(string(text), "DESCRIPTION") {
			t.Errorf("man %s: %v, %s", page, err, &stderr)
		}
	}
}

// formula loads a formula of Homebrew's without Homebrew, installs below the prefix in the environment, and tests that. The
// directories are those of https://rubydoc.brew.sh/Formula.
const formula = `
class Formula
  def self.method_missing(*) = nil
  def self.test(&block) = define_method(:run_test, &block)
  def prefix = ENV.fetch("PREFIX")
  def bin = "#{prefix}/bin"
  def man1 = "#{prefix}/share/man/man1"
  def man5 = "#{prefix}/share/man/man5"
  def bash_completion = "#{prefix}/etc/bash_completion.d"
  def zsh_completion = "#{prefix}/share/zsh/site-functions"
  def fish_completion = "#{prefix}/share/fish/vendor_completions.d"
  def version = "1.2.3"
  def system(*args) = Kernel.system(*args) || abort("#{args.join(" ")} failed")
  def shell_output(command) = %x(#{command})
  def assert_equal(want, got) = want == got || abort("#{got.inspect} is not #{want.inspect}")
end
load "packaging/tunhook.rb"
formula = Tunhook.new
formula.install
formula.run_test
puts formula.caveats
`

// flake has Nix read a flake, without its packages, and give one of its phases.
const flake = `
let
  nixpkgs = {
    lib.genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
    legacyPackages.x86_64-linux.buildGoModule = package: package;
  };
in
((import ./packaging/flake.nix).outputs { self = { }; inherit nixpkgs; }).packages.x86_64-linux.default.installPhase
`

// in gives a program that runs in a directory, with more in its environment, and what it says goes to the test.
func in(t *testing.T, dir string, environ []string, argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), environ...), t.Output()
	return cmd
}

// TestOtherSystemsInstallTheSame by their own files, as far as what reads these comes to Debian. The tests of scripts read
// PKGBUILD.
func TestOtherSystemsInstallTheSame(t *testing.T) {
	t.Parallel()
	checkout, usual, brew, nix := freshCheckout(t), t.TempDir(), t.TempDir(), t.TempDir()
	said, err := in(t, checkout, []string{"PREFIX=" + brew}, "ruby", "-e", formula).Output()
	if err != nil || !strings.Contains(string(said), "\n  tunhook disable --all\n") {
		t.Errorf("the formula: %v\n%s", err, said)
	}
	check(t, in(t, checkout, nil, "make", "install-files", "PREFIX="+usual).Run()) // what the formula has built
	want := tree(t, usual)
	if got := strings.Count(want, "\n") + 1; got < 8 {
		t.Errorf("make installs no more than\n%s", want)
	}
	// Its own place for completions of bash, which is the only one that differs.
	check(t, os.MkdirAll(filepath.Join(brew, "share/bash-completion"), 0o700))
	check(t, os.Rename(filepath.Join(brew, "etc/bash_completion.d"), filepath.Join(brew, "share/bash-completion/completions")))
	if got := tree(t, brew); got != want {
		t.Errorf("Homebrew installs otherwise than make:\n%s", difference(want, got))
	}

	phase, err := in(t, checkout, nil, "nix-instantiate", "--eval", "--json", "--expr", flake).Output()
	check(t, err)
	var install string
	check(t, json.Unmarshal(phase, &install))
	// Nix has built where Go installs, and all of its own variables are set.
	gopath := t.TempDir()
	check(t, os.Mkdir(filepath.Join(gopath, "bin"), 0o700))
	check(t, os.Rename(filepath.Join(checkout, "tunhook"), filepath.Join(gopath, "bin", "tunhook")))
	check(t, in(t, checkout, []string{"GOPATH=" + gopath, "out=" + nix}, "bash", "-euc", "runHook() { :; }\n"+install).Run())
	if got := tree(t, nix); got != want {
		t.Errorf("Nix installs otherwise than make:\n%s", difference(want, got))
	}
}

// TestDesktopEntryIsOne that desktops take, and is in the packages.
func TestDesktopEntryIsOne(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	output(t, "dpkg-deb", "--extract", theOne(t, packages.dir, "*_amd64.deb"), root)
	if said := output(t, "desktop-file-validate", filepath.Join(root, "usr/share/applications/tunhook.desktop")); said != "" {
		t.Error(said) // hints too
	}
}

// TestFlakeHasTheHashOfTheModules as Nix will find them.
func TestFlakeHasTheHashOfTheModules(t *testing.T) {
	vendor := filepath.Join(t.TempDir(), "vendor")
	output(t, "go", "-C", "../..", "mod", "vendor", "-o", vendor)
	out := output(t, "nix", "--extra-experimental-features", "nix-command", "hash", "path", vendor)
	want := out[strings.LastIndex(out, "\n")+1:] // behind what it warns of
	text, err := os.ReadFile("../../packaging/flake.nix")
	check(t, err)
	if !strings.Contains(string(text), `vendorHash = "`+want+`";`) {
		t.Errorf("packaging/flake.nix should have vendorHash = %q", want)
	}
}
