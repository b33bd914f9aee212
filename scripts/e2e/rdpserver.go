//go:build e2e

package e2e

import (
	"fmt"
	"image/color"
	"strings"
	"testing"
)

// The account of every RDP server here.
const (
	rdpUser     = "test"
	rdpPassword = "correct horse"

	// rdpPasswordNTHash is MD4 over rdpPassword in UTF-16LE ([MS-NLMP] section 3.3.1):
	//	printf 'correct horse' | iconv -t UTF-16LE |
	//	  openssl dgst -provider legacy -provider default -md4
	rdpPasswordNTHash = "cfc43211ba8dc470832267827cac1407"
)

// Paints that no client draws by itself.
var (
	crimson = color.RGBA{R: 0xc0, G: 0x18, B: 0x48, A: 0xff}
	teal    = color.RGBA{R: 0x00, G: 0x90, B: 0x88, A: 0xff}
)

// A paintable is a display that can be made to show one colour.
type paintable struct {
	*user
	paint *process
}

// show paints the display in a colour, and waits until it is.
func (p *paintable) show(paint color.RGBA) {
	p.t.Helper()
	before := p.paint
	p.paint = p.start("/usr/bin/xmessage", "-geometry", "2000x2000+0+0", "-fg", "white",
		"-bg", fmt.Sprintf("#%02x%02x%02x", paint.R, paint.G, paint.B), "a remote desktop")
	p.waitForPicture(paint, patience)
	if before != nil {
		before.stop()
	}
}

// An rdpServer is a desktop that can be had over RDP by whoever knows the password: it
// insists on network level authentication.
type rdpServer struct {
	paintable
	address string
	server  *process
}

// startRDPServer starts a server for a desktop in crimson.
func startRDPServer(t testing.TB) *rdpServer {
	t.Helper()
	s := &rdpServer{paintable: paintable{user: newUser(t)}, address: freeAddress(t)}
	s.startDisplay("576x432")
	s.show(crimson)

	accounts := s.path("accounts.sam")
	s.write(accounts, fmt.Sprintf("%s:::%s:::\n", rdpUser, rdpPasswordNTHash))
	host, port, _ := strings.Cut(s.address, ":")
	s.server = s.start(append(release().shadow, "/port:"+port, "/bind-address:"+host,
		"/sec:nla", "/sam-file:"+accounts)...)
	waitUntilListening(t, s.server, s.address)
	return s
}
