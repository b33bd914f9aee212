//go:build e2e

package e2e

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// xfreerdp asks about a certificate that nobody vouches for once for every name and port
// that it knows it under: with the wrapper, those of the machine behind the tunnel.
func TestXfreerdpTunnelRemembersTheMachinesCertificate(t *testing.T) {
	t.Parallel()
	o := newRDPOffice(t)
	argv := o.wrapper(o.gateway.ownDesk, "/u:"+rdpUser, "/p:"+rdpPassword, authOnly)

	client, keyboard := o.startOnTerminal(argv...)
	const question = "Do you trust the above certificate?"
	eventually(t, patience, "xfreerdp asks about the certificate", func() bool {
		return strings.Contains(o.read(client.log), question)
	})
	if _, err := io.WriteString(keyboard, "Y\n"); err != nil {
		t.Fatal(err)
	}
	if status := client.wait(patience); status != 0 {
		t.Errorf("status %d: %s", status, client.lastOutput())
	}
	host, port, _ := strings.Cut(o.gateway.ownDesk, ":")
	fill := strings.NewReplacer("HOST", host, "PORT", port).Replace
	known, want := o.read(o.path(".config", "freerdp", fill(release().certificates))), fill(release().remembered)
	if !strings.HasPrefix(known, want) {
		t.Errorf("xfreerdp remembers %q, want %q", known, want)
	}

	o.gateway.signInAgain()
	client, _ = o.startOnTerminal(argv...)
	if status := client.wait(patience); status != 0 {
		t.Errorf("the second time, status %d: %s", status, client.lastOutput())
	}
	if said := o.read(client.log); strings.Contains(said, question) {
		t.Errorf("xfreerdp asks again: %s", said)
	}
}

func TestXfreerdpTunnelRunsTheClientThatIsThere(t *testing.T) {
	t.Parallel()
	all := []string{"xfreerdp", "xfreerdp3", "sdl-freerdp", "sdl-freerdp3", "wlfreerdp", "wlfreerdp3"}
	for i, first := range all {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			o := newHomeOffice(t)
			for _, there := range all[i:] {
				o.write(filepath.Join(o.binDir, there), "#!/bin/sh\nprintf '%s\\n' \""+there+"\" \"$@\"\nexit 42\n")
			}
			server := startRDPServer(t).address
			listen := freeAddress(t)
			got := o.run(o.onlyFromBinDir(o.wrapper("relay://"+server, listen, "/u:an other", "+fonts", "", "*"))...)
			want := []string{first, "/v:" + listen, "/cert:name:127.0.0.1", "/u:an other", "+fonts", "", "*", ""}
			if got.status != 42 || !slices.Equal(strings.Split(got.stdout, "\n"), want) {
				t.Errorf("want status 42 and %q: %v", want, got)
			}
		})
	}
}

func TestXfreerdpTunnelSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := newHomeOffice(t)
	const failed, notFound = 125, 127
	server := "relay://" + startRDPServer(t).address
	for name, c := range map[string]struct {
		argv   []string
		status int
		stderr string
	}{
		"route":           {o.wrapper(), failed, "which route? Usage: xfreerdp-tunnel ROUTE [LISTEN] [XFREERDP-ARG...]"},
		"route, but args": {o.wrapper("/u:ann", "+fonts"), failed, "which route?"},
		"good route":      {o.wrapper("desk"), failed, "neither HOST:PORT nor SCHEME://"},
		"good address":    {o.wrapper(server, "desk.rdp"), failed, `listen address "desk.rdp"`},
		"client":          {o.onlyFromBinDir(o.wrapper(server)), notFound, "client xfreerdp was not found on PATH: install it"},
		"tunhook":         {slices.Replace(o.wrapper(server), 1, 2, "TUNHOOK=/no/such/tunhook"), notFound, "/no/such/tunhook"},
	} {
		t.Run(name, func(t *testing.T) {
			got := o.run(c.argv...)
			if got.status != c.status || got.stdout != "" || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("want status %d and %q: %v", c.status, c.stderr, got)
			}
		})
	}
	if got := o.run(o.wrapper("--help")...); got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, "Usage: xfreerdp-tunnel ROUTE") {
		t.Errorf("--help: %v", got)
	}
}

// onlyFromBinDir has a command line of wrapper's find programs in the user's own bin alone,
// so no real xfreerdp.
func (o *homeOffice) onlyFromBinDir(argv []string) []string {
	return slices.Insert(argv, 1, "PATH="+o.binDir)
}
