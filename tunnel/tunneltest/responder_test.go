package tunneltest_test

import (
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// The X.224 Connection Request of a client that offers TLS and CredSSP, and the confirmation that picks CredSSP.
const (
	rdpRequest = "030000130ee000000000000100080003000000"
	rdpConfirm = "030000130ed000001234000200080002000000"
)

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestResponderConfirmsAnRDPConnectionRequest(t *testing.T) {
	cookie := hex.EncodeToString([]byte("Cookie: mstshash=user\r\n"))
	for _, tc := range []struct{ name, request, confirm string }{
		{"TLS and CredSSP offered", rdpRequest, rdpConfirm},
		{"TLS offered", "030000130ee000000000000100080001000000", "030000130ed000001234000200080001000000"},
		{"standard RDP security offered", "030000130ee000000000000100080000000000", "030000130ed000001234000200080000000000"},
		{"cookie first", "0300002a" + "25e00000000000" + cookie + "0100080003000000", rdpConfirm},
		{"no negotiation", "0300000b06e00000000000", "0300000b06d00000123400"},
		{"cookie alone", "03000022" + "1de00000000000" + cookie, "0300000b06d00000123400"},
		{"source reference", "030000130ee000001234000100080003000000", "030000130ed012341234000200080002000000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := startResponder(t, tunneltest.ResponderOptions{})
			conn := dial(t, r.Addr())
			if _, err := io.WriteString(conn, unhex(t, tc.request)); err != nil {
				t.Fatal(err)
			}
			expectBytes(t, conn, unhex(t, tc.confirm))
			expectEcho(t, conn, "still open")
			if r.Connections() != 1 || r.Handshakes() != 1 || r.Live() != 1 {
				t.Errorf("%d connections, %d handshakes, %d live; want one of each", r.Connections(), r.Handshakes(), r.Live())
			}
			_ = conn.Close()
			tunneltest.Eventually(t, "no live connection", func() bool { return r.Live() == 0 })
		})
	}
}

func TestResponderClosesOnWhatIsNotRDP(t *testing.T) {
	for _, request := range []string{"GET / HTTP/1.1\r\n\r\n", "\x03\x00\x00\x00", "\x03\x00\x00\x0b\x06\xd0\x00\x00\x00\x00\x00"} {
		r := startResponder(t, tunneltest.ResponderOptions{})
		conn := dial(t, r.Addr())
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%q: answered", request)
		}
		if r.Handshakes() != 0 {
			t.Errorf("%q: counted as a handshake", request)
		}
	}
}

func TestResponderGreets(t *testing.T) {
	for _, tc := range []struct {
		protocol tunneltest.Protocol
		banner   string
	}{
		{tunneltest.VNC, "RFB 003.008\n"},
		{tunneltest.SSH, "SSH-2.0-tunneltest\r\n"},
	} {
		r := startResponder(t, tunneltest.ResponderOptions{Protocol: tc.protocol})
		conn := dial(t, r.Addr())
		expectBytes(t, conn, tc.banner)
		expectEcho(t, conn, "still open")
		if r.Handshakes() != 1 {
			t.Errorf("%q: %d handshakes counted, want 1", tc.banner, r.Handshakes())
		}
	}
}

func TestResponderFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault tunneltest.Fault
		want  string
	}{
		{"garbage", tunneltest.Garbage, "?!\r\n"},
		{"close at once", tunneltest.CloseAtOnce, ""},
		{"close unheard", tunneltest.CloseUnheard, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := startResponder(t, tunneltest.ResponderOptions{Fault: tc.fault})
			conn := dial(t, r.Addr())
			_, _ = io.WriteString(conn, unhex(t, rdpRequest)) // fails where the server was quicker to close
			if tc.want != "" {
				expectBytes(t, conn, tc.want)
			} else if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("answered")
			}
			if r.Connections() != 1 || r.Handshakes() != 0 {
				t.Errorf("%d connections, %d handshakes; want 1, 0", r.Connections(), r.Handshakes())
			}
		})
	}
}

func TestResponderDelaysItsAnswer(t *testing.T) {
	const delay = 50 * time.Millisecond
	r := startResponder(t, tunneltest.ResponderOptions{Delay: delay})
	conn, began := dial(t, r.Addr()), time.Now()
	if _, err := io.WriteString(conn, unhex(t, rdpRequest)); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, conn, unhex(t, rdpConfirm))
	if took := time.Since(began); took < delay {
		t.Errorf("answered after %v, want at least %v", took, delay)
	}
}

func TestResponderCloseCutsADelayShort(t *testing.T) {
	r := startResponder(t, tunneltest.ResponderOptions{Protocol: tunneltest.VNC, Delay: time.Hour})
	conn := dial(t, r.Addr())
	tunneltest.Eventually(t, "a connection", func() bool { return r.Live() == 1 })
	_ = r.Close()
	if got, _ := io.ReadAll(conn); strings.Contains(string(got), "RFB") {
		t.Errorf("greeted with %q after Close", got)
	}
	tunneltest.Eventually(t, "no live connection", func() bool { return r.Live() == 0 })
}
