//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A homeOffice is a desktop with a tunhook that Remmina's profiles are enabled with.
type homeOffice struct {
	*desktop
	tunhook string // as the profiles name it
	program string // as the test calls it, which no recorder records

	// Of newGuardedOffice.
	server  *rdpServer
	gateway *pomerium // its ownDesk leads to server
}

func newHomeOffice(t testing.TB) *homeOffice {
	t.Helper()
	o := &homeOffice{desktop: newDesktop(t)}
	o.tunhook = o.installTunhook()
	o.program = o.tunhook
	return o
}

// newGuardedOffice returns one whose way to a server leads through a gateway, with a
// pomerium-cli that only tunhook's configuration tells about gateway and browser.
func newGuardedOffice(t testing.TB) *homeOffice {
	t.Helper()
	server := startRDPServer(t)
	o := newHomeOffice(t)
	o.server = server
	o.guard(server.address)
	return o
}

// guard puts a gateway before a server's address, as in newGuardedOffice.
func (o *homeOffice) guard(server string) {
	o.t.Helper()
	o.gateway = o.startPomerium(server)
	o.write(filepath.Join(o.binDir, "pomerium-cli"), "#!/bin/sh\nexec "+pomeriumCommand(o.t)+" \"$@\"\n")
	o.write(o.path(".config", "tunhook", "config.toml"),
		fmt.Sprintf("[provider.pomerium]\nargs = [\"%s\"]\n", strings.Join(o.gateway.args, `", "`)))
	o.startDunst()
}

// An enabledProfile is a profile that tunhook was enabled for.
type enabledProfile struct {
	file           string
	original, text string // what was in the file before, and is since
	route, listen  string
}

func (p enabledProfile) name() string { return filepath.Base(p.file) }

// enable enables tunhook for a profile's file, by hook.
func (o *homeOffice) enable(file string, flags ...string) enabledProfile {
	o.t.Helper()
	p := enabledProfile{file: file, original: o.read(file)}
	o.must(append([]string{o.program, "remmina", "enable", "--by", "hook", file}, flags...)...)
	p.text = o.read(file)
	p.route, p.listen = settings(p.text)["tunhook_route"], settings(p.text)["server"]
	return p
}

// desk is the profile of the machine behind the gateway.
func (o *homeOffice) desk() profile {
	return profile{name: "desk", server: o.gateway.ownDesk}
}

// saveEnabled saves a profile and enables tunhook for it.
func (o *homeOffice) saveEnabled(p profile, flags ...string) enabledProfile {
	o.t.Helper()
	return o.enable(o.save(o.nativeRemmina(), p), flags...)
}

// settings returns what a profile's text says, key by key. The last one counts.
func settings(text string) map[string]string {
	found := map[string]string{}
	group := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, isSetting := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "["):
			group = line
		case isSetting && group == "[remmina]" && !strings.HasPrefix(line, "#"):
			found[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return found
}

// recordHooks has every later call by a client written down before it is made.
func (o *homeOffice) recordHooks() {
	o.t.Helper()
	o.program = o.tunhook + "-itself"
	o.must("/usr/bin/mv", o.tunhook, o.program)
	o.writeRecorder(`exec "$0-itself" "$@"`)
}

// writeRecorder puts a script in tunhook's place that writes down how it was called.
func (o *homeOffice) writeRecorder(then string) {
	o.t.Helper()
	o.write(o.tunhook, fmt.Sprintf("#!/bin/sh\n{ printf '%%s\\0' \"$@\"; echo; } >>'%s'\n%s\n", o.hookFile(), then))
}

func (o *homeOffice) hookFile() string { return filepath.Join(o.dir, "hooks") }

// hooks returns the arguments of the calls that recordHooks had written down.
func (o *homeOffice) hooks() [][]string {
	o.t.Helper()
	var calls [][]string
	for line := range strings.Lines(o.read(o.hookFile())) {
		calls = append(calls, strings.Split(strings.TrimSuffix(line, "\x00\n"), "\x00"))
	}
	return calls
}

// ran returns which of tunhook's commands were called, one after the other.
func (o *homeOffice) ran() []string {
	o.t.Helper()
	var commands []string
	for _, call := range o.hooks() {
		commands = append(commands, call[0])
	}
	return commands
}

// A tunnelStatus is what tunhook's status says of a tunnel.
type tunnelStatus struct {
	Address, State string
	PID            int
}

// tunnel returns the one tunnel that there is.
func (o *homeOffice) tunnel() tunnelStatus {
	o.t.Helper()
	var status struct{ Tunnels []tunnelStatus }
	o.unmarshal(o.must(o.program, "status", "--json"), &status)
	if len(status.Tunnels) != 1 {
		o.t.Fatalf("tunnels: %+v, want one", status.Tunnels)
	}
	return status.Tunnels[0]
}

// left returns what is left of a tunnel: processes, records and what listens.
func (o *homeOffice) left(listen string) []string {
	o.t.Helper()
	left := o.remains()
	if listens(o.t, listen) {
		left = append(left, listen)
	}
	return left
}

// remains returns the processes and records of all tunnels.
func (o *homeOffice) remains() []string {
	o.t.Helper()
	left, err := filepath.Glob(filepath.Join(o.runtimeDir, "tunhook", "*.json"))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, line := range o.running("") {
		if strings.Contains(line, "pomerium-cli") || strings.Contains(line, o.tunhook) {
			left = append(left, line)
		}
	}
	return left
}

// checkNothingIsLeft checks that a stop has left nothing of a tunnel.
func (o *homeOffice) checkNothingIsLeft(listen string) {
	o.t.Helper()
	if left := o.left(listen); len(left) > 0 {
		o.t.Errorf("left: %q", left)
	}
}

// waitUntilNothingIsLeft waits until nothing is left of a tunnel.
func (o *homeOffice) waitUntilNothingIsLeft(listen string) {
	o.t.Helper()
	began := time.Now()
	left := o.left(listen)
	defer func() {
		if len(left) > 0 {
			o.t.Logf("left: %q", left)
		}
	}()
	eventually(o.t, patience, "nothing is left of the tunnel", func() bool {
		left = o.left(listen)
		return len(left) == 0
	})
	o.t.Logf("nothing was left of the tunnel after %v", time.Since(began).Round(10*time.Millisecond))
}
