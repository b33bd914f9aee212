//go:build e2e

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRemminaOpensEnabledProfiles(t *testing.T) {
	t.Parallel()
	needHooks(t)
	t.Run("RDP", func(t *testing.T) {
		t.Parallel()
		openThroughTunnel(t, "RDP", startRDPServer(t).address)
	})
	t.Run("VNC", func(t *testing.T) {
		t.Parallel()
		openThroughTunnel(t, "VNC", startVNCServer(t).address)
	})
	t.Run("samples", func(t *testing.T) {
		t.Parallel()
		openSamples(t)
	})
}

// openThroughTunnel opens an enabled profile whose name means something else to a shell,
// and to Remmina where it fills in a command.
func openThroughTunnel(t *testing.T, protocol, server string) {
	o := newHomeOffice(t)
	p := profile{name: `"Ada's" 100%h %p $HOME; büro – 仕事`, protocol: protocol, server: "desk.corp.example.com"}
	enabled := o.saveEnabled(p, "--route", "relay://"+server)
	o.recordHooks()

	client := o.open(enabled.file, p)
	o.waitForPicture(crimson, patience)
	o.screenshot("picture")
	client.closeWindow()
	client.wait(patience)
	o.waitUntilNothingIsLeft(enabled.listen)
	o.checkHooks(enabled)
	o.checkDisable(enabled)
}

// openSamples opens the profiles that the unit tests have for Remmina's file format, all
// enabled. Their tunhook is in a directory whose name has to be quoted, and only writes
// down how it was called; so Remmina runs both commands and connects to nothing.
func openSamples(t *testing.T) {
	o := newHomeOffice(t)
	installed := o.program
	o.program = o.path(`O'Brien's "tools" 100%h – 仕事`, "tunhook")
	o.tunhook = o.program
	o.mkdir(filepath.Dir(o.tunhook))
	o.must("/usr/bin/cp", installed, o.tunhook)

	var samples []enabledProfile
	for _, file := range o.saveSamples() {
		route := "ssh://gate.example.com/" + filepath.Base(o.dir) + ":3389"
		samples = append(samples, o.enable(file, "--route", route, "--force"))
	}
	if len(samples) < 30 {
		t.Fatalf("only %d samples", len(samples))
	}
	o.program = installed
	o.writeRecorder("exit 0")
	rewritten := 0
	for _, sample := range samples {
		o.write(o.hookFile(), "")
		client := o.open(sample.file, profile{})
		eventually(t, patience, sample.name()+" was opened and both commands were run", func() bool {
			return len(o.hooks()) == 2
		})
		client.quit()
		o.checkHooks(sample)
		if o.read(sample.file) != sample.text {
			rewritten++
		}
		o.checkDisable(sample)
	}
	t.Logf("Remmina opened %d profiles and rewrote %d", len(samples), rewritten)
}

// saveSamples saves those of the samples whose protocol this Remmina has, and that do not
// crash it by themselves.
func (o *homeOffice) saveSamples() (files []string) {
	o.t.Helper()
	data := filepath.Dir(o.save(o.nativeRemmina(), profile{name: "none"}))
	samples, err := filepath.Glob("../../hook/remmina/testdata/*.remmina")
	if err != nil {
		o.t.Fatal(err)
	}
	for _, sample := range samples {
		text := o.read(sample)
		if readiness[settings(text)["protocol"]] == "" || filepath.Base(sample) == release().badSample {
			continue
		}
		file := filepath.Join(data, filepath.Base(sample))
		o.write(file, text)
		files = append(files, file)
	}
	return files
}

// readiness is the kind of --ready for each protocol that Debian's Remmina has, with its
// plugins for RDP and VNC.
var readiness = map[string]string{"RDP": "rdp", "VNC": "vnc", "SSH": "ssh", "SFTP": "ssh"}

// checkHooks checks that Remmina has run just the two commands of an enabled profile.
func (o *homeOffice) checkHooks(p enabledProfile) {
	o.t.Helper()
	ready := readiness[settings(p.text)["protocol"]]
	want := [][]string{
		{"start", p.route, p.listen, "--ready", ready, "--end-with", "parent", "--keep-alive"},
		{"stop", p.route, p.listen},
	}
	if got := o.hooks(); !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		o.t.Errorf("%s: Remmina ran tunhook as %q, want %q", p.name(), got, want)
	}
}

// checkDisable disables tunhook for a profile that Remmina has used: it is to be what it
// was before, but for Remmina's own changes.
func (o *homeOffice) checkDisable(p enabledProfile) {
	o.t.Helper()
	used := o.read(p.file)
	o.must(o.program, "remmina", "disable", p.file)
	disabled := o.read(p.file)
	if used == p.text && disabled != p.original {
		o.t.Errorf("%s: Remmina changed nothing, and disable gives back\n%s\nwant\n%s", p.name(), disabled, p.original)
	}
	if got, want := changedLines(p.original, disabled), changedLines(p.text, used); !slices.Equal(got, want) {
		o.t.Errorf("%s: disable leaves the changes %q, want Remmina's own: %q", p.name(), got, want)
	}
	before, after := settings(used), settings(disabled)
	for _, key := range managedKeys {
		if after[key] != before["tunhook_"+key] {
			o.t.Errorf("%s: disable gives back %s=%q, want %q", p.name(), key, after[key], before["tunhook_"+key])
		}
	}
	if strings.Contains(disabled, "tunhook_") {
		o.t.Errorf("%s: disable leaves traces:\n%s", p.name(), disabled)
	}
}

// managedKeys are those that enable changes in a profile, and disable gives back.
var managedKeys = []string{"server", "precommand", "postcommand"}

// changedLines returns the lines that only one of two texts of a profile has, behind a
// "-" or a "+", leaving out those that tunhook changes.
func changedLines(before, after string) []string {
	var changed []string
	for _, side := range []struct{ sign, text, other string }{{"-", before, after}, {"+", after, before}} {
		others := slices.Collect(strings.Lines(side.other))
		for line := range strings.Lines(side.text) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
			key = strings.TrimSpace(key)
			ours := slices.Contains(managedKeys, key) || strings.HasPrefix(key, "tunhook_")
			if !ours && !slices.Contains(others, line) {
				changed = append(changed, side.sign+line)
			}
		}
	}
	slices.Sort(changed)
	return changed
}
