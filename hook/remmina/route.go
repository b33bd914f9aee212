package remmina

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/tunhook/tunhook/tunnel"
)

// firstPort is where VNC ports begin: Remmina takes a smaller number for a display, and adds 5900.
const firstPort = 100

// protocol is what is known of one of Remmina's protocol plugins.
type protocol struct {
	port     int    // where its servers listen by default; 0 where that is not known
	ready    string // how the start command is to find out that the server answers
	displays bool   // a small port is a display number
}

// lookUp follows the plugins' sources: SFTP and X2Go speak SSH, GVNC is a second VNC client. Other plugins have the name of what
// they speak.
func lookUp(name string) protocol {
	if name == "SPICE" { // it shares VNC's ports
		return protocol{port: int(tunnel.UsualPort(tunnel.ReadyVNC)), ready: tunnel.ReadyListen}
	}
	ready := strings.ToLower(name)
	switch name {
	case "GVNC":
		ready = tunnel.ReadyVNC
	case "SFTP", "X2GO":
		ready = tunnel.ReadySSH
	}
	if ready == "" || tunnel.CheckReady(ready) != nil {
		ready = tunnel.ReadyListen
	}
	return protocol{port: int(tunnel.UsualPort(ready)), ready: ready, displays: name == "VNC"}
}

// serverless says of a plugin that connects to no server by TCP what it does instead, and the way out; both are empty for
// every other.
func serverless(protocol string) (what, hint string) {
	const byHand = "enable the tunnel alone (tunhook enable ROUTE), and name the address that it prints in the "
	switch protocol {
	case "WWW":
		return "opens a web page", byHand + "page's URL"
	case "EXEC":
		return "runs a program", byHand + "program's arguments"
	case "VNCI":
		return "listens until a VNC server calls it", "leave it as it is"
	case "XDMCP":
		return "asks its server by UDP, which no tunnel carries", "leave it as it is"
	}
	return "", ""
}

// detours lists the keys that, when set, make something other than this machine connect to the server: Remmina's
// own SSH tunnel (before 1.4 under another key), a Remote Desktop gateway, a VNC repeater, a proxy.
func detours(protocol string) []string {
	keys := []string{"ssh_tunnel_enabled", "ssh_enabled"}
	switch protocol {
	case "RDP":
		return append(keys, "gateway_server")
	case "VNC", "SPICE":
		return append(keys, "proxy")
	case "SSH", "SFTP":
		return append(keys, "ssh_proxycommand")
	}
	return keys
}

// Ready is the value for --ready that fits the profile's protocol: for a start where it is by hook, otherwise for a listener. A start
// asks by itself, without the name of a virtual machine, and a host that waits for one does not answer.
func (p Profile) Ready(by Way) string {
	if by == ByHook && p.Preconnected {
		return tunnel.ReadyListen
	}
	return lookUp(p.Protocol).ready
}

// Target returns the HOST:PORT that the profile's original server names, with the protocol's own port where the
// server has none. Where the server is this machine, the route of the profile's own commands counts, if they start a tunnel.
// The error is a *RouteError where there is none either, or where the server is nothing that a tunnel leads to.
func (p Profile) Target() (string, error) {
	host, port, err := p.address()
	fail := func(reason string) (string, error) {
		return "", &RouteError{Path: p.Path, Server: strings.TrimSpace(p.Server.Original), Reason: reason}
	}
	switch {
	case err != nil:
		return fail(err.Error())
	case port == 0:
		return fail("has no port")
	case isLoopback(host):
		if old, ok := p.Old(); ok {
			return old.Route, nil
		}
		return fail("is this machine itself")
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// address is where the profile's original server is, as its plugin reads it; port is 0 where nothing tells it.
func (p Profile) address() (host string, port int, err error) {
	server := strings.TrimSpace(p.Server.Original)
	if server == "" {
		return "", 0, errors.New("is empty")
	}
	known := lookUp(p.Protocol)
	if host, port, err = splitServer(server, known.port); err != nil || !known.displays {
		return host, port, err
	}
	if host == "ID" {
		return "", 0, errors.New("is a repeater's number")
	}
	if port < firstPort {
		port += known.port
	}
	return host, port, nil
}

// sshRoute is the route that leads the same way as Remmina's own SSH tunnel, which the key switches on; "" for another key, or
// where no route says that.
func (f *file) sshRoute(key string, p Profile) string {
	prefix, isSSH := strings.CutSuffix(key, "enabled")
	host, port, err := p.address()
	if !isSSH || err != nil || port == 0 {
		return ""
	}
	user, server := f.keys.text(prefix+"username"), strings.TrimSpace(f.keys.text(prefix+"server"))
	if before, after, ok := strings.Cut(server, "@"); ok {
		user, server = cmp.Or(user, before), after
	}
	gateway, gatewayPort := host, 0 // without one it is the same server
	if server != "" {
		if gateway, gatewayPort, err = splitServer(server, 0); err != nil {
			return ""
		}
	}
	if isOn(f.keys.text(prefix + "loopback")) {
		host = "127.0.0.1"
	}
	if strings.Contains(gateway, ":") {
		gateway = "[" + gateway + "]"
	}
	if gatewayPort != 0 {
		gateway += ":" + strconv.Itoa(gatewayPort)
	}
	if user != "" {
		gateway = tunnel.EncodePart(user) + "@" + gateway
	}
	if strings.ContainsFunc(gateway, func(r rune) bool { return needsQuotes(r) && !strings.ContainsRune("[]%", r) }) {
		return ""
	}
	return "ssh://" + gateway + "/" + net.JoinHostPort(host, strconv.Itoa(port))
}

// splitServer reads a server as g_network_address_parse does: HOST, HOST:PORT, [IPV6], [IPV6]:PORT, or a bare IPv6
// address. Ports by name are not taken, since they mean a number on one machine and none on the next.
func splitServer(server string, defaultPort int) (host string, port int, err error) {
	host, digits, hasPort := server, "", false
	switch {
	case strings.HasPrefix(server, "["):
		var rest string
		var closed bool
		if host, rest, closed = strings.Cut(server[1:], "]"); !closed {
			return "", 0, errors.New("has an unclosed bracket")
		}
		if digits, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return "", 0, errors.New("is no HOST:PORT")
		}
	case strings.Count(server, ":") == 1:
		host, digits, hasPort = strings.Cut(server, ":")
	}
	if strings.ContainsFunc(server, isUnseen) {
		return "", 0, errors.New("has a space or an invisible character in it")
	}
	if !isHost(host) {
		return "", 0, errors.New("is no HOST:PORT")
	}
	if !hasPort {
		return host, defaultPort, nil
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", 0, errors.New("has no port number from 0 to 65535")
	}
	return host, int(number), nil
}

// isHost keeps out what would be read as a flag, a path or a URL further on. With a colon it must be an address.
func isHost(host string) bool {
	if strings.Contains(host, ":") {
		address, err := netip.ParseAddr(host)
		return err == nil && address.Is6() && !strings.ContainsFunc(address.Zone(), isNoZone)
	}
	return host != "" && host[0] != '-' && !strings.ContainsFunc(host, func(r rune) bool {
		return isUnseen(r) || strings.ContainsRune(`/\[]@`, r)
	})
}

// isUnseen tells what a server has only by mistake, pasted with it: spaces, and what no font shows.
func isUnseen(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }

// isNoZone tells what the name of an interface has not.
func isNoZone(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
}

func isLoopback(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.IsLoopback() || address.IsUnspecified()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
