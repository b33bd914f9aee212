package tunnel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Auto is the listen address "any free port", as keys and records have it.
const Auto = "auto"

// Listen is where a tunnel shall listen: an address, or any free port of one.
type Listen struct {
	Addr netip.AddrPort // port 0 where any free one will do
}

// Auto tells whether any free port will do.
func (l Listen) Auto() bool { return l.Addr.Port() == 0 }

// String is the normalised form that keys are made of: the address, or "auto".
func (l Listen) String() string {
	if l.Auto() {
		return Auto
	}
	return l.Addr.String()
}

// Exposed tells whether other machines can reach the address.
func (l Listen) Exposed() bool { return !l.Addr.Addr().IsLoopback() }

// ListenError says what is wrong with a listen address, and what would be right.
type ListenError struct {
	Listen string
	Reason string
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("listen address %s %s", quote(e.Listen), e.Reason)
}

// ParseListen understands 3389, :3389, IP:PORT, [IPv6]:PORT, "stable" and "" (any free port) for a tunnel on this route. Where
// text is empty the configuration's listen address counts. Errors are *ListenError.
func (r Route) ParseListen(text string) (Listen, error) {
	return r.parseListen(or(text, r.Named.Listen))
}

// ListensOn tells whether the tunnel program itself can listen on that host. Where it cannot, tunhook listens in front
// of it.
func (r Route) ListensOn(host netip.Addr) bool {
	only, err := netip.ParseAddr(r.Provider.ListenHost)
	return err != nil || only == host
}

// ParseFront is ParseListen for a listener's address, which is "stable" where nothing else is said. Errors are *ListenError.
func (r Route) ParseFront(text string) (Listen, error) {
	l, err := r.parseListen(or(or(text, r.Named.Listen), "stable"))
	if err == nil && l.Auto() {
		return l, &ListenError{or(text, Auto), "is another one each time, and clients must know it: give PORT, IP:PORT or \"stable\""}
	}
	return l, err
}

// Behind is where a tunnel on this route listens that has tunhook before it, or that may listen anywhere: any free
// port that only this machine reaches.
func (r Route) Behind() Listen {
	host, err := netip.ParseAddr(r.Provider.ListenHost)
	if err != nil {
		host = loopback
	}
	return Listen{netip.AddrPortFrom(host, 0)}
}

// loopback is where a tunnel listens unless another address was named.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func (r Route) parseListen(text string) (Listen, error) {
	switch text {
	case "", Auto:
		return r.Behind(), nil
	case "stable":
		return r.stable()
	}
	l, err := ParseAddress(text)
	var bad *ListenError
	if errors.As(err, &bad) {
		bad.Reason += ", \"stable\", or leave it out"
	}
	if err == nil && r.leadsBackTo(l.Addr) {
		return l, &ListenError{text, "is where the route leads, so that each connection would make another one: give another address"}
	}
	return l, err
}

// leadsBackTo tells whether a tunnel on this route that listens there would be connected to itself. Of the providers only our own
// relay leads to this machine's view of an address.
func (r Route) leadsBackTo(listen netip.AddrPort) bool {
	if r.Provider.Name() != relayProvider || r.Port() != listen.Port() {
		return false
	}
	host, err := netip.ParseAddr(r.Host())
	if err != nil {
		return strings.EqualFold(r.Host(), "localhost") && covers(listen.Addr(), loopback)
	}
	return comesTo(host, listen.Addr())
}

// comesTo tells whether a connection to that host is taken by a socket that listens there, on the same port.
func comesTo(host, listen netip.Addr) bool {
	host = host.WithZone("").Unmap() // the zone of the loopback is its only interface
	switch {
	case host == netip.IPv6Unspecified(): // to connect there is to connect to the loopback
		host = netip.IPv6Loopback()
	case host.IsUnspecified():
		host = loopback
	}
	return covers(listen, host) && (!listen.IsUnspecified() || isLocal(host))
}

// relayProvider is the name of the provider whose program is tunhook itself.
const relayProvider = "relay"

// checkListen tells what is wrong with a listen address, as far as that does not depend on the route.
func checkListen(text string) error {
	switch text {
	case "", Auto, "stable":
		return nil
	}
	_, err := ParseAddress(text)
	return err
}

// ParseAddress understands the listen addresses that need no route: 3389, :3389, IP:PORT, [IPv6]:PORT. Errors are *ListenError.
func ParseAddress(text string) (Listen, error) {
	host, port := "", text
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		host, port = text[:i], text[i+1:]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Listen{}, &ListenError{text, "has no port between 1 and 65535: give PORT or IP:PORT"}
	}
	addr := loopback
	if host != "" {
		if addr, err = parseHost(text, host); err != nil {
			return Listen{}, err
		}
	}
	return Listen{netip.AddrPortFrom(addr, uint16(n))}, nil
}

func parseHost(text, host string) (netip.Addr, error) {
	if strings.EqualFold(host, "localhost") {
		return loopback, nil
	}
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		bare, bracketed = strings.CutSuffix(bare, "]")
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil || addr.Is6() != bracketed {
		return netip.Addr{}, &ListenError{text, "is not an IP address with a port, such as 127.0.0.1:3389 or [::1]:3389: give PORT or IP:PORT"}
	}
	if addr.Zone() != "" { // sockets are compared by their addresses, and the kernel keeps the zone of a link-local one only
		without := addr.WithZone("")
		if without.IsLinkLocalUnicast() { // which is none without its zone
			without = netip.IPv6Loopback()
		}
		return netip.Addr{}, &ListenError{text, "has a zone, the name of an interface, which is no part of an address to listen on: give [" +
			without.String() + "]:PORT"}
	}
	addr = addr.Unmap()
	if addr.IsMulticast() || addr == broadcast || addr == loopbackBroadcast { // the kernel lets a program listen there
		return netip.Addr{}, &ListenError{text, "is for messages to many, and no client can connect to it: give PORT or IP:PORT"}
	}
	return addr, nil
}

// Addresses of all machines on a link, and of the loopback's link.
var (
	broadcast         = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	loopbackBroadcast = netip.AddrFrom4([4]byte{127, 255, 255, 255})
)

// stable is the loopback address of the route, with the route's port.
func (r Route) stable() (Listen, error) {
	if runtime.GOOS != "linux" {
		return Listen{}, &ListenError{"stable", "needs the whole of 127.0.0.0/8 on the loopback, which " + runtime.GOOS + " has not: give a port"}
	}
	if r.Port() == 0 {
		return Listen{}, &ListenError{"stable", fmt.Sprintf("takes the port from the route, and %s has none: add :PORT to the route, or give a port to listen on", quote(r.Text))}
	}
	return Listen{netip.AddrPortFrom(LoopbackOf(r.Text), r.Port())}, nil
}

// LoopbackOf computes the loopback address of a text, the same every time. 127.0.0.0/16 is left out: resolvers and distributions use
// addresses of it (127.0.0.53, 127.0.1.1).
func LoopbackOf(text string) netip.Addr {
	sum := sha256.Sum256([]byte(text))
	return netip.AddrFrom4([4]byte{127, 1 + sum[0]%254, sum[1], 1 + sum[2]%254})
}

// ErrTaken says that another program has the listen address.
var ErrTaken = errors.New("the address is taken")

// Reserve checks that a program of ours could listen on the address now, and finds a free port where any will do. It binds
// without listening, so that nobody can connect meanwhile. The error is ErrTaken, or a *ListenError.
func (l Listen) Reserve() (netip.AddrPort, error) {
	family, sockaddr := socketAddress(l.Addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if !l.Auto() { // with this flag a port in TIME_WAIT counts as free, and a listening one does not
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	switch err := unix.Bind(fd, sockaddr); {
	case errors.Is(err, syscall.EADDRINUSE):
		return netip.AddrPort{}, ErrTaken
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return netip.AddrPort{}, &ListenError{l.Addr.String(), "is not an address of this machine: use 127.0.0.1:PORT"}
	case errors.Is(err, syscall.EACCES):
		return netip.AddrPort{}, &ListenError{l.Addr.String(), "has a port that only root may listen on: give one from 1024 on"}
	case err != nil:
		return netip.AddrPort{}, &ListenError{l.Addr.String(), "cannot be used: " + err.Error()}
	}
	if !l.Auto() {
		return l.Addr, nil
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("getsockname: %w", err)
	}
	switch in := bound.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(l.Addr.Addr(), uint16(in.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(l.Addr.Addr(), uint16(in.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("getsockname: unexpected family %T", bound)
}

func socketAddress(a netip.AddrPort) (family int, sockaddr unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
