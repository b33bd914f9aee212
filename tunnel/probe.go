package tunnel

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The kinds of readiness that can be waited for.
const (
	ReadyListen = "listen" // the tunnel listens
	ReadyRDP    = "rdp"    // an RDP server answers through it
	ReadyVNC    = "vnc"    // a VNC server greets through it
	ReadySSH    = "ssh"    // an SSH server greets through it
)

// probe is all that is known of one kind of readiness.
type probe struct {
	name        string
	first, last uint16 // the usual ports of such a server; 0 for none
	// exchange asks a server that the connection leads to, and returns when it has answered. The error is ErrClosed or a
	// *ProtocolError. Nil where nobody is asked.
	exchange func(net.Conn) error
	// begins gives the length of the message that a client begins with, -1 where it is not complete yet. Nil where the
	// server speaks first, or where nothing is known of the protocol.
	begins func(said []byte) (n int, err error)
	// counts says that servers hold it against a client's address to have connected without logging in: VNC's lock it out after
	// some times, OpenSSH's have PerSourcePenalties, sshd_config(5).
	counts bool
}

// probes is the table of them. Flags, configuration, messages, listeners and Remmina's profiles go by it; a test holds
// the completions and the manual page against it.
func probes() []probe {
	return []probe{
		{name: ReadyListen},
		{name: ReadyRDP, first: 3389, last: 3389, exchange: exchangeRDP, begins: firstRDP}, // IANA: ms-wbt-server
		{name: ReadyVNC, first: 5900, last: 5999, exchange: exchangeVNC, counts: true},     // RFC 6143, section 7: 5900 + display
		{name: ReadySSH, first: 22, last: 22, exchange: exchangeSSH, begins: firstSSH, counts: true},
	}
}

// probeOf gives the row of a kind of readiness; "" is ReadyListen.
func probeOf(ready string) (probe, bool) {
	all := probes()
	i := slices.IndexFunc(all, func(p probe) bool { return p.name == cmp.Or(ready, ReadyListen) })
	if i < 0 {
		return probe{}, false
	}
	return all[i], true
}

// ReadyKinds gives the names of all kinds of readiness. The first is ReadyListen, for which nobody is asked.
func ReadyKinds() []string {
	var names []string
	for _, p := range probes() {
		names = append(names, p.name)
	}
	return names
}

// ReadyError says that there is no kind of readiness of that name.
type ReadyError struct{ Ready string }

func (e *ReadyError) Error() string {
	return fmt.Sprintf("ready = %q is not known: use %s", e.Ready, OneOf(ReadyKinds()))
}

// OneOf lists names of which one is to be chosen.
func OneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// Probed tells whether a connection to find out that a server answers costs nothing that somebody would miss: a session of which
// there are few, say. That is the provider's to say, or that of the one tunnel.
func (r Route) Probed() bool {
	said := cmp.Or(r.Named.Probe, r.Provider.Probe)
	return said == nil || *said
}

// CheckReady tells whether ready names a kind of readiness; "" is ReadyListen. The error is a *ReadyError.
func CheckReady(ready string) error {
	if _, known := probeOf(ready); !known {
		return &ReadyError{ready}
	}
	return nil
}

// ReadyForPort is the kind of readiness that a server on its usual port has; ReadyListen for any other port.
func ReadyForPort(port uint16) string {
	for _, p := range probes() {
		if p.exchange != nil && p.first <= port && port <= p.last {
			return p.name
		}
	}
	return ReadyListen
}

// CountsLogins tells whether servers of that kind of readiness hold it against a client to have asked often.
func CountsLogins(ready string) bool {
	p, _ := probeOf(ready)
	return p.counts
}

// UsualPort is the port that servers of a kind of readiness have by default; 0 where there is none.
func UsualPort(ready string) uint16 {
	p, _ := probeOf(ready)
	return p.first
}

// ErrClosed says that the tunnel took a connection and closed it before anything came through.
var ErrClosed = errors.New("the connection was closed before the server answered")

// ProtocolError says that a server answered through the tunnel, but not in the protocol that was waited for.
type ProtocolError struct {
	Ready string
	Got   []byte // the beginning of the answer
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("the server does not speak %s: it answered %.40q", strings.ToUpper(e.Ready), e.Got)
}

// Probe makes one connection to addr and returns when the server at the other end has answered in the protocol that
// ready names, however long that takes: a tunnel program may hold the connection until somebody has signed in. The
// error is ErrClosed, a *ProtocolError, a *ReadyError, or that of ctx.
func Probe(ctx context.Context, addr netip.AddrPort, ready string) error {
	p, known := probeOf(ready)
	if !known || p.exchange == nil {
		return &ReadyError{ready}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return orContext(ctx, fmt.Errorf("%w (%w)", ErrClosed, underlying(err)))
	}
	defer conn.Close()
	// Not by a deadline, which the exchange has its own of.
	stop := context.AfterFunc(ctx, func() { _ = conn.(*net.TCPConn).CloseRead() })
	defer stop()
	err = orContext(ctx, p.exchange(conn))
	if ctx.Err() == nil {
		HangUp(conn.(*net.TCPConn))
	}
	return err
}

// HangUp ends a connection through a tunnel in good order, whatever the answer was: closing it with something unread
// would reset it, upon which pomerium-cli forgets that somebody has signed in.
func HangUp(conn *net.TCPConn) {
	const patience = 300 * time.Millisecond
	_ = conn.CloseWrite()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

// Abandon ends a connection whose answer nobody waits for any more, in good order as HangUp does, however late that
// comes: somebody may sign in yet. It returns at once; the end of the tunnel is the end of it at the latest.
func Abandon(conn *net.TCPConn) {
	_ = conn.CloseWrite()
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}()
}

func orContext(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// connectionRequest is a TPKT header (RFC 1006, section 6) around an X.224 Connection Request with an RDP Negotiation
// Request for TLS or CredSSP ([MS-RDPBCGR] 2.2.1.1): a server that speaks either, or neither, answers it with a
// Connection Confirm.
var connectionRequest = [...]byte{
	0x03, 0x00, 0x00, 0x13, // TPKT: version 3, 19 bytes in all
	0x0e, 0xe0, 0x00, 0x00, 0x00, 0x00, 0x00, // X.224: 14 bytes follow, CR-TPDU
	0x01, 0x00, 0x08, 0x00, 0x03, 0x00, 0x00, 0x00, // RDP_NEG_REQ: PROTOCOL_SSL | PROTOCOL_HYBRID
}

// confirmLength is how much of the answer tells: TPKT header, length and code of the X.224 part ([MS-RDPBCGR] 2.2.1.2).
const confirmLength = 6

func exchangeRDP(conn net.Conn) error {
	if _, err := conn.Write(connectionRequest[:]); err != nil {
		return ErrClosed
	}
	got := readAnswer(conn, connectionRequest[:1], confirmLength)
	if len(got) == 0 {
		return ErrClosed
	}
	const confirmCode = 0xd0
	if len(got) < confirmLength || got[0] != connectionRequest[0] || got[5]&0xf0 != confirmCode {
		return &ProtocolError{ReadyRDP, got}
	}
	return nil
}

// restPatience is how long a server may take from the first of its answer to what tells. One that speaks another protocol, and waits
// for its client to speak, has said all it will.
const restPatience = 3 * time.Second

// readAnswer reads so much of an answer that must begin with those bytes. It gives less of one that begins otherwise, or goes on no
// further.
func readAnswer(conn net.Conn, begins []byte, length int) []byte {
	got := make([]byte, length)
	for n := 0; ; {
		more, err := conn.Read(got[n:])
		if n == 0 && more > 0 {
			_ = conn.SetReadDeadline(time.Now().Add(restPatience))
		}
		n += more
		if err != nil || n == length || !bytes.HasPrefix(got[:n], begins[:min(n, len(begins))]) {
			return got[:n]
		}
	}
}

// exchangeVNC reads the ProtocolVersion message, RFC 6143, section 7.1.1.
func exchangeVNC(conn net.Conn) error {
	begins := []byte("RFB ")
	got := readAnswer(conn, begins, len("RFB xxx.yyy\n"))
	switch {
	case len(got) == 0:
		return ErrClosed
	case !bytes.HasPrefix(got, begins):
		return &ProtocolError{ReadyVNC, got}
	}
	return nil
}

// exchangeSSH reads up to the identification string; other lines may come before it, RFC 4253, section 4.2.
func exchangeSSH(conn net.Conn) error {
	const most = 16 << 10 // bytes of other lines
	r := bufio.NewReader(io.LimitReader(conn, most))
	if _, err := r.Peek(1); err != nil {
		return ErrClosed
	}
	_ = conn.SetReadDeadline(time.Now().Add(restPatience))
	var first []byte
	for {
		line, err := r.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("SSH-")) {
			return nil
		}
		if first == nil {
			first = line
		}
		if err != nil {
			return &ProtocolError{ReadySSH, first}
		}
	}
}
