//go:build e2e

package e2e

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// A debian is what differs between the releases of Debian that the tests run on.
type debian struct {
	name string

	clients      []string // those that scripts/e2e-setup and scripts/e2e-root install
	xfreerdp     string   // its program, which is a FreeRDP of one version
	shadow       []string // of the RDP server that checks passwords
	logonFailure int      // what xfreerdp exits with where the password was wrong
	certificates string   // below ~/.config/freerdp: what xfreerdp remembers for HOST and PORT
	remembered   string   // and how what is in there begins

	resets bool // its xfreerdp may end with a TCP reset, after which pomerium-cli has lost its token

	hooks     bool   // this Remmina runs commands before and after a connection
	badSample string // a profile that crashes this Remmina, enabled or not
	portals   bool   // its GTK has a portal load pictures where it is in a sandbox, which no desktop here has
	badClient string // one that cannot take the certificate of the RDP server here, tunnel or not
}

// debians has each release by VERSION_CODENAME (os-release(5)). What none has is newer
// than all of them: sid, and what is tested to follow it.
var debians = map[string]debian{
	"bookworm": {
		name:         "Debian 12",
		clients:      []string{"xfreerdp", "vncviewer"},
		xfreerdp:     "/usr/bin/xfreerdp",
		shadow:       []string{"/usr/bin/freerdp-shadow-cli", "-auth"},
		logonFailure: 147,
		certificates: "known_hosts2",
		remembered:   "HOST PORT ",
		hooks:        true,
	},
	"trixie": {
		name:         "Debian 13",
		clients:      []string{"xfreerdp3", "sdl-freerdp3", "wlfreerdp3", "krdc", "gnome-connections", "vncviewer", "remote-viewer"},
		xfreerdp:     "/usr/bin/xfreerdp3",
		shadow:       []string{"/usr/bin/freerdp-shadow-cli3"}, // -auth switches NLA off there
		logonFailure: 132,
		certificates: "server/HOST_PORT.pem",
		remembered:   "-----BEGIN CERTIFICATE-----",
		resets:       true,
		hooks:        true,
		badSample:    "rdp-name-escaped.remmina",
	},
	"": {
		name:         "sid",
		clients:      []string{"xfreerdp", "xfreerdp3", "sdl-freerdp3", "wlfreerdp3", "krdc", "gnome-connections", "vncviewer", "remote-viewer"},
		xfreerdp:     "/usr/bin/xfreerdp3",
		shadow:       []string{"/usr/bin/freerdp-shadow-cli3"},
		logonFailure: 134,
		certificates: "server/HOST_PORT.pem",
		remembered:   "-----BEGIN CERTIFICATE-----",
		resets:       true,
		portals:      true,
		badClient:    "gnome-connections", // 51.0: "assertion 'subject != NULL' failed"
	},
}

// release returns the release that the tests run on.
var release = sync.OnceValue(func() debian {
	text, _ := os.ReadFile("/etc/os-release") // none: no Debian that is known
	for line := range strings.Lines(string(text)) {
		if codename, found := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); found {
			if d, known := debians[codename]; known {
				return d
			}
		}
	}
	return debians[""]
})

// needClient skips a test with a client that does not work here by itself.
func needClient(t testing.TB, c client) {
	t.Helper()
	if c.name == release().badClient {
		t.Skipf("the %s of %s cannot take the server's certificate", c.name, release().name)
	}
}

// needSandbox skips a test with a Remmina in a sandbox where that cannot show a picture.
func needSandbox(t testing.TB) {
	t.Helper()
	if release().portals {
		t.Skipf("in a sandbox the GTK of %s loads pictures by a portal", release().name)
	}
}

// needHooks skips a test that is about commands before and after a connection where the
// release's Remmina, from 1.4.42 on, runs none.
func needHooks(t testing.TB) {
	t.Helper()
	if !release().hooks {
		t.Skipf("the Remmina of %s runs no commands", release().name)
	}
}
