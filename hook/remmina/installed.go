package remmina

import (
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/tunnel"
)

// Kind is how a Remmina was installed. Each kind has profile directories of its own, so that a profile is served by the
// Remmina of its kind.
type Kind int

// The kinds.
const (
	Native Kind = iota // by the distribution, or from source
	Flatpak
	Snap
)

func (k Kind) String() string { return [...]string{"native", "Flatpak", "Snap"}[k] }

// Installed is a Remmina that is on this machine.
type Installed struct {
	Kind    Kind
	Version string // such as 1.4.40; "" where it does not tell
}

// firstWithoutHooks is the first version that runs no commands: since commit ef0281b40 (2025-12-12) Remmina formats NULL
// instead of the command. 1.4.42 and 1.4.43 were tried and run none. Later ones are taken to run none either, until one that
// does is known, and so is a version that cannot be told.
func firstWithoutHooks() []int { return []int{1, 4, 42} }

// RunsHooks tells whether this Remmina runs tunhook before and after connecting. A Snap cannot run the host's programs, in
// any version.
func (i Installed) RunsHooks() bool {
	return i.Kind != Snap && i.Version != "" && olderThan(i.Version, firstWithoutHooks())
}

func (i Installed) String() string {
	switch {
	case i.Kind != Native:
		return strings.TrimSpace("Remmina "+i.Version) + " (" + i.Kind.String() + ")"
	case i.Version == "":
		return "Remmina of an unknown version"
	}
	return "Remmina " + i.Version
}

// olderThan compares number by number.
func olderThan(version string, than []int) bool {
	for i, text := range strings.SplitN(version, ".", len(than)) {
		if number, err := strconv.Atoi(text); err != nil || number != than[i] {
			return err == nil && number < than[i]
		}
	}
	return false
}

// Machine is where Remminas may be.
type Machine struct {
	Root     string // "/", except in tests
	DataHome string // $XDG_DATA_HOME, where Flatpak installs for the user alone
	Path     string // the PATH on which remmina is looked for
	Environ  []string
	// Patience is for a program that is asked for its version, which takes a tenth of a second; 0 stands for 20 s:
	// on a busy machine that is not much.
	Patience time.Duration
}

// Look finds the Remminas, of each kind at most one: that which the kind's profiles are opened with. Only the native one is
// run; those of Flatpak and Snap leave their version in files.
func (m Machine) Look(ctx context.Context) []Installed {
	var all []Installed
	if program := m.native(); program != "" {
		all = append(all, Installed{Native, m.ask(ctx, program)})
	}
	for _, installation := range []string{filepath.Join(m.DataHome, "flatpak"), filepath.Join(m.Root, "var/lib/flatpak")} {
		app := filepath.Join(installation, "app/org.remmina.Remmina/current/active")
		if _, err := os.Stat(app); err == nil {
			all = append(all, Installed{Flatpak, flatpakVersion(app)})
			break // flatpak run takes the user's own first
		}
	}
	for _, dir := range []string{"snap", "var/lib/snapd/snap"} { // the latter where there is no /snap
		if data, err := os.ReadFile(filepath.Join(m.Root, dir, "remmina/current/meta/snap.yaml")); err == nil {
			all = append(all, Installed{Snap, firstVersion(`(?m)^version:\s*['"]?v?`, string(data))})
			break
		}
	}
	return all
}

// native gives the path of the native Remmina, "" where there is none.
func (m Machine) native() string {
	if program, err := tunnel.FindProgram("remmina", m.Path); err == nil && !isLink(program) {
		return program
	}
	return ""
}

// isLink tells whether the program remmina only starts the Flatpak's or the Snap's.
func isLink(program string) bool {
	target, err := filepath.EvalSymlinks(program)
	return err == nil && (filepath.Base(target) == "org.remmina.Remmina" || filepath.Base(target) == "snap")
}

// ask gives the version that the program prints, "" where it does not do so in time. It writes its preferences even then,
// which a Remmina that runs has in memory: so it gets a home of its own.
func (m Machine) ask(ctx context.Context, program string) string {
	home, err := os.MkdirTemp("", "tunhook-remmina-")
	if err != nil {
		return ""
	}
	defer os.RemoveAll(home)
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(m.Patience, 20*time.Second))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = append(slices.Clone(m.Environ), "LC_ALL=C", "HOME="+home,
		"XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home, "XDG_STATE_HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children, where it is a script
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, _ := cmd.Output() // what it printed counts, however it ended
	return firstVersion(`(?m)Remmina - v?`, string(out))
}

// flatpakVersion reads what Flatpak itself takes for the version of a deployed app: its newest release.
func flatpakVersion(app string) string {
	for _, pattern := range []string{"metainfo/*.xml", "appdata/*.xml", "app-info/xmls/*.xml.gz", "swcatalog/xml/*.xml.gz"} {
		paths, _ := filepath.Glob(filepath.Join(app, "files/share", pattern)) // the pattern is a good one
		for _, path := range paths {
			if version := firstVersion(`<release\s[^>]*\bversion="v?`, readText(path)); version != "" {
				return version
			}
		}
	}
	return ""
}

// readText gives what a file holds, compressed or not; "" where it cannot be read.
func readText(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var r io.Reader = f
	if filepath.Ext(path) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(r, 10<<20))
	if err != nil {
		return ""
	}
	return string(text)
}

// firstVersion gives the first version in text that stands behind what the pattern matches, "" where there is none.
func firstVersion(behind, text string) string {
	m := regexp.MustCompile(behind + `(\d+(?:\.\d+)+)`).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}
