//go:build e2e

package e2e

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// remminaSecret is the key that Remmina keeps its stored passwords under: 24 bytes of
// key and 8 of initialisation vector, for triple DES (remmina_crypt.c).
const remminaSecret = "0123456789abcdefghijklmnopqrstuv"

// remminaPreferences keeps Remmina from asking and from telling, and gives each profile
// a window of its own.
const remminaPreferences = `[remmina_pref]
secret=%s
confirm_close=false
periodic_news_permitted=false
disable_tray_icon=true
tab_mode=9
`

// A profile is a connection that Remmina has saved.
type profile struct {
	name                        string
	protocol                    string // "" is RDP
	server                      string
	password                    string // "" is the RDP servers' right one
	beforeCommand, afterCommand string
	reconnect                   bool
}

// A remmina is a running Remmina of a desktop's.
type remmina struct {
	*process
	desktop *desktop
	profile profile
}

// remminaDirs is where a Remmina keeps its preferences and its profiles.
type remminaDirs struct{ config, data string }

// nativeRemmina returns the directories of a Remmina that is not in a sandbox.
func (d *desktop) nativeRemmina() remminaDirs {
	return remminaDirs{d.path(".config", "remmina"), d.path(".local", "share", "remmina")}
}

// sandboxedRemmina returns those that a Flatpak app sees as XDG_CONFIG_HOME and
// XDG_DATA_HOME.
func (d *desktop) sandboxedRemmina() remminaDirs {
	app := d.path(".var", "app", sandboxApp)
	return remminaDirs{app + "/config/remmina", app + "/data/remmina"}
}

// save writes a profile as Remmina would, and its preferences, and returns the
// profile's file.
func (d *desktop) save(dirs remminaDirs, p profile) string {
	d.t.Helper()
	secret := base64.StdEncoding.EncodeToString([]byte(remminaSecret))
	d.write(filepath.Join(dirs.config, "remmina.pref"), fmt.Sprintf(remminaPreferences, secret))
	file := filepath.Join(dirs.data, p.name+".remmina")
	d.write(file, p.content())
	return file
}

// content returns the text of a profile's file.
func (p profile) content() string {
	protocol, password := p.protocol, p.password
	if protocol == "" {
		protocol = "RDP"
	}
	if password == "" {
		password = rdpPassword
	}
	noReconnect := 1
	if p.reconnect {
		noReconnect = 0
	}
	return strings.Join([]string{
		"[remmina]",
		"name=" + p.name,
		"protocol=" + protocol,
		"server=" + p.server,
		"username=" + rdpUser,
		"password=" + encryptForRemmina(password),
		"precommand=" + p.beforeCommand,
		"postcommand=" + p.afterCommand,
		"security=nla",
		"cert_ignore=1",
		"ignore-tls-errors=1",
		fmt.Sprintf("disableautoreconnect=%d", noReconnect),
		"viewmode=1",
		"",
	}, "\n")
}

// encryptForRemmina encrypts a password as Remmina stores it: padded with at least one
// zero byte, triple DES in CBC mode, base64.
func encryptForRemmina(password string) string {
	block, err := des.NewTripleDESCipher([]byte(remminaSecret[:24]))
	if err != nil {
		panic(err) // the key is a constant of the right length
	}
	text := []byte(password)
	text = append(text, bytes.Repeat([]byte{0}, des.BlockSize-len(text)%des.BlockSize)...)
	cipher.NewCBCEncrypter(block, []byte(remminaSecret[24:])).CryptBlocks(text, text)
	return base64.StdEncoding.EncodeToString(text)
}

// connect starts Remmina on a profile that it saves first. Where one runs already, that
// one takes it over, in a window of its own.
func (d *desktop) connect(p profile) *remmina {
	d.t.Helper()
	return d.open(d.save(d.nativeRemmina(), p), p)
}

// open starts Remmina on a profile's file.
func (d *desktop) open(file string, p profile) *remmina {
	d.t.Helper()
	return &remmina{process: d.start("/usr/bin/remmina", "-c", file), desktop: d, profile: p}
}

// connectSandboxed is connect for the Remmina of installSandboxedRemmina.
func (d *desktop) connectSandboxed(s *sandbox, permissions []string, p profile) *remmina {
	d.t.Helper()
	file := d.save(d.sandboxedRemmina(), p)
	command := s.command(permissions, "remmina", "-c", file)
	return &remmina{process: d.start(command...), desktop: d, profile: p}
}

// closeWindow closes the profile's window, as its user does.
func (r *remmina) closeWindow() {
	r.t.Helper()
	r.desktop.closeSession(r.window())
}

// closeSession closes a window of Remmina's, which may take it for nothing while it is
// still opening.
func (d *desktop) closeSession(window string) {
	d.t.Helper()
	var asked time.Time
	eventually(d.t, patience, "the session's window is closed", func() bool {
		open := slices.Contains(d.windows("."), window)
		if open && time.Since(asked) > 5*time.Second {
			d.closeWindow(window)
			asked = time.Now()
		}
		return !open
	})
}

// cancel presses the Cancel button of the "Please wait" that Remmina shows while a
// before-command runs.
func (r *remmina) cancel() {
	r.t.Helper()
	r.window() // which is called Remmina as well until it has its profile's name
	r.desktop.dismiss("^Remmina$", "Escape")
}

// window returns the profile's window, once it is open.
func (r *remmina) window() string {
	r.t.Helper()
	return r.desktop.window("^" + regexp.QuoteMeta(r.profile.name) + "$")
}

// quit asks the running Remmina to quit, as logging out does: it then runs no
// after-command. The status of the asking program says nothing: it is 1 on success.
func (r *remmina) quit() {
	r.t.Helper()
	r.desktop.run("/usr/bin/remmina", "--quit")
	r.wait(patience)
}

// moveWindow moves the profile's window.
func (r *remmina) moveWindow(x, y int) {
	r.t.Helper()
	r.desktop.must("/usr/bin/xdotool", "windowmove", "--sync", r.window(), strconv.Itoa(x), strconv.Itoa(y))
}
