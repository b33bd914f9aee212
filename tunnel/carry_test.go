package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// carried is a client and a server with Carry between them.
func carried(t *testing.T, ctx context.Context) (client, server *net.TCPConn, over <-chan struct{}) {
	t.Helper()
	client, front := pair(t)
	back, server := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ends := NewEnds()
		defer ends.Close()
		Carry(ctx, front, back, ends)
	}()
	return client, server, done
}

func TestCarryPassesOnBothDirectionsAndTheirEnds(t *testing.T) {
	client, server, over := carried(t, t.Context())
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	pass := func(from, to *net.TCPConn) {
		t.Helper()
		go func() {
			_, _ = from.Write(sent)
			_ = from.CloseWrite()
		}()
		if got, err := io.ReadAll(to); !bytes.Equal(got, sent) || err != nil {
			t.Fatalf("%d bytes of %d, %v", len(got), len(sent), err)
		}
	}
	pass(client, server) // the other direction is open after that
	pass(server, client)
	<-over
}

func TestClientThatBreaksOffEndsInGoodOrderForTheServer(t *testing.T) {
	for name, talk := range map[string]func(server *net.TCPConn){
		"the server says nothing": func(*net.TCPConn) {},
		"the server is talking":   func(server *net.TCPConn) { _, _ = server.Write(make([]byte, 8<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server, over := carried(t, t.Context())
			say(t, client, "hello")
			if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			go talk(server)
			_ = client.SetLinger(0)
			client.Close()
			if rest, err := io.ReadAll(server); len(rest) != 0 || err != nil {
				t.Errorf("the server got %d bytes and %v, want an orderly end", len(rest), err)
			}
			server.Close()
			<-over
		})
	}
}

func TestServerThatBreaksOffEndsTheClient(t *testing.T) {
	client, server, over := carried(t, t.Context())
	_ = server.SetLinger(0)
	server.Close()
	_ = client.SetReadDeadline(time.Now().Add(deadline))
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	client.Close()
	<-over
}

func TestCarryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client, server, over := carried(t, ctx)
	cancel()
	if rest, err := io.ReadAll(server); len(rest) != 0 || err != nil {
		t.Errorf("the server got %q and %v, want an orderly end", rest, err)
	}
	_, _ = io.ReadAll(client)
	server.Close()
	<-over
}

func TestCarryEndsWithItsContextThoughTheServerStays(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client, server, over := carried(t, ctx)
	say(t, client, "hello")
	if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cancel()
	<-over
	if time.Since(began) >= drainPatience {
		t.Error("it waits for a server that somebody has stopped perhaps")
	}
	server.Close()
}
