package tunnel

import (
	"bytes"
	"encoding/binary"
)

// firstMessage gives the length of the message that a client begins with, -1 where it is not complete yet. VNC servers
// speak first, RFC 6143, section 7.1.1; 0 stands for that, and for protocols that nothing is known of.
func firstMessage(ready string, said []byte) (n int, err error) {
	p, known := probeOf(ready)
	if !known || p.begins == nil {
		return 0, nil
	}
	return p.begins(said)
}

// mostRDP is the longest Connection Request: a TPKT header of 4 bytes, RFC 1006, section 6, around a length of one byte
// and as many as that says, [MS-RDPBCGR] 2.2.1.1.
const mostRDP = 4 + 1 + 255

// Lengths of what names a virtual machine to a Hyper-V host before the Connection Request, [MS-RDPEPS] 2.2.1: without a text, and with
// the longest that is taken here.
const (
	leastPreconnection = 16
	mostPreconnection  = leastPreconnection + 2 + 4096
)

// firstRDP is a Connection Request, see connectionRequest, with a preconnection PDU in front of it where the client begins with one.
func firstRDP(said []byte) (n int, err error) {
	before, err := preconnection(said)
	if before < 0 || err != nil {
		return before, err
	}
	if n, err = rdpRequest(said[before:]); n > 0 {
		n += before
	}
	return n, err
}

// preconnection gives the length of a preconnection PDU, 0 where there is none, -1 where it is not complete yet. It begins with its
// length, from the lowest byte on, and four bytes that are zero, [MS-RDPEPS] 2.2.1.1. The length is even, a Connection Request begins
// with a 3.
func preconnection(said []byte) (n int, err error) {
	if len(said) == 0 || said[0]%2 != 0 {
		return 0, nil
	}
	var header [8]byte // zeros where nothing has come yet
	got := copy(header[:], said)
	size, flags := binary.LittleEndian.Uint32(header[:]), binary.LittleEndian.Uint32(header[4:])
	switch {
	case size > mostPreconnection, flags != 0, got >= 4 && size < leastPreconnection:
		return 0, &FirstMessageError{ReadyRDP, said}
	case got < len(header) || len(said) < int(size):
		return -1, nil
	}
	return int(size), nil
}

func rdpRequest(said []byte) (n int, err error) {
	if !bytes.HasPrefix(connectionRequest[:2], said[:min(2, len(said))]) {
		return 0, &FirstMessageError{ReadyRDP, said}
	}
	if len(said) < confirmLength {
		return -1, nil
	}
	n = int(binary.BigEndian.Uint16(said[2:]))
	const requestCode = 0xe0
	if n < confirmLength || n > mostRDP || said[5]&0xf0 != requestCode {
		return 0, &FirstMessageError{ReadyRDP, said}
	}
	if len(said) < n {
		return -1, nil
	}
	return n, nil
}

// mostSSH is the longest identification string, RFC 4253, section 4.2.
const mostSSH = 255

// firstSSH: both sides of SSH begin with their identification string, whichever is quicker, RFC 4253, section 4.2.
func firstSSH(said []byte) (n int, err error) {
	const prefix = "SSH-"
	if !bytes.HasPrefix([]byte(prefix), said[:min(len(prefix), len(said))]) {
		return 0, &FirstMessageError{ReadySSH, said}
	}
	switch n = bytes.IndexByte(said, '\n') + 1; {
	case n > mostSSH, n == 0 && len(said) > mostSSH:
		return 0, &FirstMessageError{ReadySSH, said}
	case n == 0:
		return -1, nil
	}
	return n, nil
}
