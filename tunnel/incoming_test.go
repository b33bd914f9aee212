package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// pair is a connection over the loopback: the client's end and the one that was accepted.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, server = conn.(*net.TCPConn), accepted.(*net.TCPConn)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// receive watches the server's end of a new connection until the test is over.
func receive(t *testing.T) (client *net.TCPConn, ctx context.Context, incoming *Incoming) {
	t.Helper()
	client, server := pair(t)
	ends := NewEnds()
	parent, cancel := context.WithTimeout(t.Context(), deadline)
	ctx, incoming = Receive(parent, server, ends)
	t.Cleanup(func() {
		server.Close()
		<-incoming.over
		cancel()
		ends.Close()
	})
	return client, ctx, incoming
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestWhatAClientSaysIsLeftInItsSocket(t *testing.T) {
	client, ctx, incoming := receive(t)
	say(t, client, "SSH-2.0-x\r\nand more")
	first, err := incoming.FirstMessage(ctx, ReadySSH)
	if string(first) != "SSH-2.0-x\r\n" || err != nil {
		t.Fatalf("the first message is %q, %v", first, err)
	}
	again, err := incoming.FirstMessage(ctx, ReadySSH)
	if !bytes.Equal(again, first) || err != nil {
		t.Fatalf("asked again it is %q, %v", again, err)
	}
	if err := incoming.Accept(len(first)); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if rest, err := io.ReadAll(incoming.TCPConn); string(rest) != "and more" || err != nil {
		t.Errorf("after it come %q, %v", rest, err)
	}
}

func TestFirstMessageThatComesInPieces(t *testing.T) {
	client, ctx, incoming := receive(t)
	got := make(chan error, 1)
	go func() {
		first, err := incoming.FirstMessage(ctx, ReadyRDP)
		if err == nil && !bytes.Equal(first, connectionRequest[:]) {
			err = errors.New("it is " + string(first))
		}
		got <- err
	}()
	for _, b := range connectionRequest {
		say(t, client, string([]byte{b}))
		time.Sleep(time.Millisecond)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestClientThatLeavesIsNoticedWhateverItHasSaid(t *testing.T) {
	for name, said := range map[string]string{"nothing": "", "a message": "SSH-2.0-x\r\n", "the beginning of one": "SSH"} {
		for how, leave := range map[string]func(*net.TCPConn){
			"closes": func(c *net.TCPConn) { c.Close() },
			"resets": func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				client, ctx, _ := receive(t)
				say(t, client, said)
				leave(client)
				<-ctx.Done()
				if err := context.Cause(ctx); !errors.Is(err, ErrLeft) {
					t.Error(err)
				}
			})
		}
	}
}

func TestClientThatHasOnlySaidItsLastIsThere(t *testing.T) {
	client, ctx, incoming := receive(t)
	say(t, client, "SSH-2.0-x\r\n")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for ended := false; !ended; {
		var news <-chan struct{}
		if _, ended, news = incoming.Said(); !ended {
			<-news
		}
	}
	select {
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	case <-time.After(3 * halfClosedPause):
	}
	client.Close()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, ErrLeft) {
		t.Error(err)
	}
}

func TestOwnerOfAClientsEnd(t *testing.T) {
	client, server := pair(t)
	ends := NewEnds()
	defer ends.Close()
	from, to := AddrPort(server.RemoteAddr()), AddrPort(server.LocalAddr())
	if uid, open, err := ends.Owner(from, to); uid != os.Geteuid() || !open || err != nil {
		t.Errorf("uid %d, open %v, %v; want uid %d", uid, open, err, os.Geteuid())
	}
	client.Close()
	if uid, open, err := ends.Owner(from, to); open || err != nil {
		t.Errorf("when it is closed: uid %d, open %v, %v", uid, open, err)
	}
}

func TestFirstMessages(t *testing.T) {
	rdp := string(connectionRequest[:])
	long := "\x03\x00\x01\x04\xff\xe0" + strings.Repeat("x", 254)
	machine := "\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x2a\x00\x00\x00"                 // by its number
	named := "\x16\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00v\x00m\x00" // by its name
	for _, tc := range []struct {
		ready, said string
		want        int // -1: not complete; -2: no such client
	}{
		{ReadyRDP, machine + rdp + "more", 16 + 19},
		{ReadyRDP, machine + rdp[:18], -1},
		{ReadyRDP, machine, -1},
		{ReadyRDP, machine[:1], -1},
		{ReadyRDP, machine[:15], -1},
		{ReadyRDP, named + rdp, 22 + 19},
		{ReadyRDP, machine + "GET / HTTP/1.1\r\n", -2},
		{ReadyRDP, machine + machine + rdp, -2},
		{ReadyRDP, "\x0e\x00\x00\x00", -2},
		{ReadyRDP, "\x10\x00\x00\x00\x01", -2},
		{ReadyRDP, "\x14\x10", -2},
		{ReadyRDP, "PUT / HTTP/1.1\r\n", -2},
		{ReadyRDP, "", -1},
		{ReadyRDP, rdp[:1], -1},
		{ReadyRDP, rdp[:5], -1},
		{ReadyRDP, rdp[:18], -1},
		{ReadyRDP, rdp, 19},
		{ReadyRDP, rdp + "more", 19},
		{ReadyRDP, long, 260},
		{ReadyRDP, long[:259], -1},
		{ReadyRDP, "\x03\x01", -2},
		{ReadyRDP, "\x03\x00\x01\x05\xff\xe0", -2},
		{ReadyRDP, "\x03\x00\x00\x05\x00\xe0", -2},
		{ReadyRDP, "\x03\x00\x00\x13\x0e\xf0", -2},
		{ReadyRDP, "GET / HTTP/1.1\r\n", -2},
		{ReadySSH, "", -1},
		{ReadySSH, "S", -1},
		{ReadySSH, "SSH-2.0-x\r", -1},
		{ReadySSH, "SSH-2.0-x\r\n", 11},
		{ReadySSH, "SSH-2.0-x\n", 10},
		{ReadySSH, "SSH-" + strings.Repeat("x", 250) + "\n", 255},
		{ReadySSH, "SSH-" + strings.Repeat("x", 251) + "\n", -2},
		{ReadySSH, "SSH-" + strings.Repeat("x", 252), -2},
		{ReadySSH, "SSx", -2},
		{ReadyVNC, "", 0},
		{ReadyVNC, "RFB 003.008\n", 0},
		{ReadyListen, "anything", 0},
	} {
		n, err := firstMessage(tc.ready, []byte(tc.said))
		var other *FirstMessageError
		if errors.As(err, &other) {
			n = -2
		}
		if n != tc.want {
			t.Errorf("%s, %.20q… (%d bytes): %d, %v; want %d", tc.ready, tc.said, len(tc.said), n, err, tc.want)
		}
	}
}

func FuzzFirstMessage(f *testing.F) {
	for _, ready := range []string{ReadyRDP, ReadySSH} {
		f.Add(ready, connectionRequest[:])
		f.Add(ready, []byte("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"))
		f.Add(ready, append([]byte("\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x2a\x00\x00\x00"), connectionRequest[:]...))
	}
	f.Fuzz(func(t *testing.T, ready string, said []byte) {
		n, err := firstMessage(ready, said)
		if n > len(said) || err != nil && n != 0 {
			t.Fatalf("%d, %v of %d bytes", n, err, len(said))
		}
		if n <= 0 {
			return
		}
		for i := range n { // as it came in, it was not complete before
			if got, err := firstMessage(ready, said[:i]); got != -1 || err != nil {
				t.Fatalf("%d bytes of %d: %d, %v", i, n, got, err)
			}
		}
	})
}

func TestAnswerIsAwaitedAndLeftInTheSocket(t *testing.T) {
	client, server := pair(t)
	say(t, server, "hello")
	for range 2 {
		if err := AwaitAnswer(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	server.Close()
	if all, err := io.ReadAll(client); string(all) != "hello" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

func TestAwaitedAnswerThatDoesNotCome(t *testing.T) {
	client, server := pair(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if err := AwaitAnswer(ctx, client); !errors.Is(err, why) {
		t.Fatal(err)
	}
	if !Quiet(client) {
		t.Error("the connection is not what it was")
	}
	server.Close()
	if err := AwaitAnswer(t.Context(), client); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if Quiet(client) {
		t.Error("a connection that was closed at the other end passes for an open one")
	}
}

func TestPassOnSaysAllThatIsSaidBeforeTheAnswer(t *testing.T) {
	client, ctx, incoming := receive(t)
	through, server := pair(t)
	done := make(chan int, 1)
	go func() {
		n, err := incoming.PassOn(ctx, through)
		if err != nil {
			t.Error(err)
		}
		done <- n
	}()
	got := make([]byte, len("onetwo"))
	for _, part := range []string{"one", "two"} {
		say(t, client, part)
		if _, err := io.ReadFull(server, got[:len(part)]); err != nil || string(got[:len(part)]) != part {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(server); len(rest) != 0 || err != nil {
		t.Fatalf("%q, %v", rest, err)
	}
	say(t, server, "answer")
	if n := <-done; n != len("onetwo") {
		t.Errorf("%d bytes", n)
	}
}
