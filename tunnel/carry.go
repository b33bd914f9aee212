package tunnel

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// drainPatience is how long a tunnel program has to end a connection whose client has gone.
const drainPatience = 10 * time.Second

// Carry passes on, both ways, what a listener's client and its tunnel say, until both have ended or ctx is done, and
// closes both connections. A half-closed connection stays one. A client that breaks off is one that has ended in good
// order, to the tunnel: upon a reset pomerium-cli forgets that somebody has signed in, and closing a connection with
// something unread resets it.
func Carry(ctx context.Context, client, server *net.TCPConn, ends *Ends) {
	defer client.Close()
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		client.Close()
		HangUp(server)
	})()
	var both sync.WaitGroup
	over := make(chan struct{})
	drain := func() { // what the server still says is for nobody
		if ctx.Err() == nil {
			_ = server.SetReadDeadline(time.Now().Add(drainPatience))
		}
	}
	both.Go(func() {
		_, err := io.Copy(server, client)
		_ = server.CloseWrite()
		if err != nil || ends.awaitClosed(client, over) {
			drain()
		}
	})
	both.Go(func() {
		defer close(over)
		if _, err := io.Copy(client, server); err != nil {
			_ = server.CloseWrite()
			drain()
			_, _ = io.Copy(io.Discard, server)
			client.Close()
			return
		}
		_ = client.CloseWrite()
	})
	both.Wait()
}
