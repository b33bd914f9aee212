package tunneltest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Protocol is what a Responder speaks.
type Protocol int

// The protocols of a Responder. All but Echo answer once, as a real server's first message does; from there on, and with
// Echo from the start, they send back whatever they get, so that a test can tell a live connection from a cut one.
const (
	// RDP answers an X.224 Connection Request with a Connection Confirm ([MS-RDPBCGR] sections 2.2.1.1 and 2.2.1.2).
	RDP Protocol = iota
	// VNC greets with its ProtocolVersion message (RFC 6143 section 7.1.1).
	VNC
	// SSH greets with its identification string (RFC 4253 section 4.2).
	SSH
	// Echo has no handshake.
	Echo
)

// Fault is how a Responder disappoints a client that expects its protocol.
type Fault int

// The faults of a Responder.
const (
	NoFault      Fault = iota
	Garbage            // answers where the protocol says so, but not in the protocol: an HTTP error
	CloseAtOnce        // accepts, and closes at once
	CloseUnheard       // closes where it should answer
)

const garbage = "?!\r\n"

// ResponderOptions say how a server answers. The zero value is a well-behaved RDP server.
type ResponderOptions struct {
	Protocol Protocol
	Fault    Fault
	Delay    time.Duration // before the answer
}

// Responder is the server at the far end of a tunnel, on a free port of 127.0.0.1. It keeps a connection open until the
// client closes it.
type Responder struct {
	opts       ResponderOptions
	ln         net.Listener
	closed     context.Context
	end        context.CancelFunc
	conns      connSet
	accepted   atomic.Int64
	handshakes atomic.Int64
}

// StartResponder starts a server.
func StartResponder(opts ResponderOptions) (*Responder, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Responder{opts: opts, ln: ln}
	r.closed, r.end = context.WithCancel(context.Background())
	go r.serve()
	return r, nil
}

// Addr is the server's IP:port.
func (r *Responder) Addr() string { return r.ln.Addr().String() }

// Connections counts the connections accepted so far.
func (r *Responder) Connections() int { return int(r.accepted.Load()) }

// Handshakes counts the answers given in the protocol so far; a faulty responder, and Echo, give none.
func (r *Responder) Handshakes() int { return int(r.handshakes.Load()) }

// Live counts the connections open now.
func (r *Responder) Live() int { return r.conns.size() }

// Close ends the server and all its connections.
func (r *Responder) Close() error {
	r.end()
	err := r.ln.Close()
	r.conns.closeAll()
	return err
}

func (r *Responder) serve() {
	for {
		conn, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.accepted.Add(1)
		go r.handle(conn)
	}
}

func (r *Responder) handle(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if r.opts.Fault == CloseAtOnce || !r.conns.add(conn) {
		return
	}
	defer r.conns.remove(conn)
	if r.opts.Protocol != Echo {
		if err := r.answer(conn); err != nil {
			return
		}
	}
	_, _ = io.Copy(conn, conn)
}

// answer gives the protocol's first answer, after the client's request where it starts with one.
func (r *Responder) answer(conn net.Conn) error {
	message, err := r.firstMessage(conn)
	if err != nil {
		return err
	}
	select {
	case <-time.After(r.opts.Delay):
	case <-r.closed.Done():
		return net.ErrClosed
	}
	switch r.opts.Fault {
	case CloseUnheard:
		return net.ErrClosed
	case Garbage:
		_, err := io.WriteString(conn, garbage)
		return err
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	r.handshakes.Add(1)
	return nil
}

func (r *Responder) firstMessage(conn net.Conn) ([]byte, error) {
	switch r.opts.Protocol {
	case VNC:
		return []byte("RFB 003.008\n"), nil
	case SSH:
		return []byte("SSH-2.0-tunneltest\r\n"), nil
	default:
		return confirmX224(conn)
	}
}

// Codes of the RDP connection sequence.
const (
	tpktVersion     = 3    // RFC 1006 section 6
	x224Request     = 0xe0 // ITU-T X.224 section 13.3
	x224Confirm     = 0xd0 // ITU-T X.224 section 13.4
	rdpNegRequest   = 1    // [MS-RDPBCGR] section 2.2.1.1.1
	rdpNegResponse  = 2    // [MS-RDPBCGR] section 2.2.1.2.1
	protocolTLS     = 1
	protocolCredSSP = 2
)

var errNotRDP = errors.New("not an X.224 Connection Request")

// confirmX224 reads an X.224 Connection Request and makes the Connection Confirm for it, which picks the best protocol
// that the client offered.
func confirmX224(conn io.Reader) ([]byte, error) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(header[2:]))
	if header[0] != tpktVersion || length < 11 {
		return nil, errNotRDP
	}
	x224 := make([]byte, length-len(header))
	if _, err := io.ReadFull(conn, x224); err != nil {
		return nil, err
	}
	if x224[1] != x224Request || int(x224[0]) != len(x224)-1 {
		return nil, errNotRDP
	}
	confirm := []byte{tpktVersion, 0, 0, 11, 6, x224Confirm, x224[4], x224[5], 0x12, 0x34, 0}
	requested, ok := rdpNegotiation(x224[7:])
	if !ok {
		return confirm, nil
	}
	confirm[3], confirm[4] = 19, 14
	return append(confirm, rdpNegResponse, 0, 8, 0, selectProtocol(requested), 0, 0, 0), nil
}

// rdpNegotiation finds the RDP Negotiation Request in the variable part of a Connection Request, where a cookie or a
// routing token, ended by CR LF, may come first.
func rdpNegotiation(variable []byte) (protocols uint32, ok bool) {
	if len(variable) > 0 && variable[0] != rdpNegRequest {
		_, variable, _ = bytes.Cut(variable, []byte("\r\n"))
	}
	if len(variable) < 8 || variable[0] != rdpNegRequest {
		return 0, false
	}
	return binary.LittleEndian.Uint32(variable[4:]), true
}

func selectProtocol(requested uint32) byte {
	switch {
	case requested&protocolCredSSP != 0:
		return protocolCredSSP
	case requested&protocolTLS != 0:
		return protocolTLS
	}
	return 0
}
