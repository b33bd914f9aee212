package notify

import (
	"net/url"
	"os/exec"
	"slices"
	"syscall"

	"github.com/tunhook/tunhook/tunnel"
)

// maxURL is more bytes than any page to sign in at needs, signed requests included, and fewer than an argument may have.
const maxURL = 64 << 10

// webAddress tells whether a browser may be sent to s. Other schemes can start programs.
func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(s) <= maxURL && s == clip(s, maxURL)
}

// openURL opens a web address in the user's browser. The activation token lets the browser come to the front on Wayland,
// xdg-activation-v1; it may be empty.
func openURL(environ []string, address, activation string) {
	program, err := tunnel.FindProgram("xdg-open", tunnel.Getenv(environ, "PATH"))
	if err != nil || !webAddress(address) {
		return
	}
	cmd := exec.Command(program, address)
	cmd.Dir = "/"
	cmd.Env = environ
	if activation != "" {
		cmd.Env = append(slices.Clip(environ), "XDG_ACTIVATION_TOKEN="+activation)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a browser that was not running yet must outlive us
	if cmd.Start() == nil {
		go cmd.Wait() // leaves no zombie; ends when xdg-open does
	}
}
