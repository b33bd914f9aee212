// Package bustest is a message bus for tests: it answers what every client says first, hands all other calls to the test, and
// sends what signals the test wants. It needs no program but the test itself.
package bustest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Call is a method call that reached the bus.
type Call struct {
	Destination string
	Method      string // interface and member: "org.freedesktop.Notifications.Notify"
	Args        []any  // a descriptor is a dbus.UnixFDIndex into FDs
	FDs         []int  // the test's to close
}

// Handler answers a call with the reply's values, or with an error. Calls of one connection come one after the other, each when
// the one before has been answered.
type Handler func(*Bus, Call) ([]any, *dbus.Error)

// Bus is a running bus. It ends with its test.
type Bus struct {
	socket string
	handle Handler

	mu      sync.Mutex
	clients map[*client]struct{}
	matches []string
}

// Start starts a bus on a socket of its own.
func Start(t testing.TB, handle Handler) *Bus {
	t.Helper()
	b := &Bus{socket: filepath.Join(t.TempDir(), "bus"), handle: handle, clients: map[*client]struct{}{}}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: b.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			serving.Go(func() { b.serve(&client{conn: conn}) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		b.Disconnect()
		serving.Wait()
	})
	return b
}

// Environ is the environment that leads to the bus.
func (b *Bus) Environ() []string {
	return []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + dbus.EscapeBusAddressValue(b.socket)}
}

// Owner is the unique name of the connection that owns every name on the bus but the bus's own.
const Owner = ":1.0"

// theBus is the name under which the bus itself speaks.
const theBus = "org.freedesktop.DBus"

// Emit sends the signal name, interface and member, to every client, as Owner does, or the bus where the signal is one of its own.
func (b *Bus) Emit(path dbus.ObjectPath, name string, args ...any) {
	sender := Owner
	if strings.HasPrefix(name, theBus+".") {
		sender = theBus
	}
	b.EmitFrom(sender, path, name, args...)
}

// EmitFrom sends a signal as the connection of that unique name does, straight to each client.
func (b *Bus) EmitFrom(sender string, path dbus.ObjectPath, name string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.clients {
		c.emit(sender, path, name, args)
	}
}

// Clients is the number of connected clients.
func (b *Bus) Clients() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.clients)
}

// Matches are the match rules that clients have added so far.
func (b *Bus) Matches() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.matches...)
}

// Disconnect cuts off every client, as a bus does that ends.
func (b *Bus) Disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.clients {
		c.conn.Close()
	}
}

func (b *Bus) serve(c *client) {
	defer c.conn.Close()
	if err := c.authenticate(); err != nil {
		return
	}
	b.mu.Lock()
	b.clients[c] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.clients, c)
		b.mu.Unlock()
	}()
	for {
		msg, fds, err := c.receive()
		if err != nil {
			return
		}
		body, failure := b.answer(Call{
			Destination: header(msg, dbus.FieldDestination),
			Method:      header(msg, dbus.FieldInterface) + "." + header(msg, dbus.FieldMember),
			Args:        msg.Body,
			FDs:         fds,
		})
		c.reply(msg.Serial(), body, failure)
	}
}

func (b *Bus) answer(call Call) ([]any, *dbus.Error) {
	switch call.Method {
	case theBus + ".Hello":
		return []any{":1.1"}, nil
	case theBus + ".GetNameOwner":
		return []any{Owner}, nil
	case theBus + ".AddMatch":
		b.mu.Lock()
		defer b.mu.Unlock()
		b.matches = append(b.matches, call.Args[0].(string))
		return nil, nil
	}
	return b.handle(b, call)
}

func header(msg *dbus.Message, field dbus.HeaderField) string {
	s, _ := msg.Headers[field].Value().(string)
	return s
}

// client is the bus's end of one connection.
type client struct {
	conn *net.UnixConn
	fds  []int // received and not yet part of a message

	sending sync.Mutex
	serial  uint32
}

// Read reads from the connection and keeps the descriptors that come along.
func (c *client) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(16*4))
	n, oobn, _, _, err := c.conn.ReadMsgUnix(p, oob)
	if err != nil {
		return n, err
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			c.fds = append(c.fds, fds...)
		}
	}
	return n, nil
}

// authenticate plays the server's part of the D-Bus Specification, "Authentication Protocol", and lets everybody in.
func (c *client) authenticate() error {
	lines := bufio.NewReaderSize(oneByte{c}, 1)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.Trim(line, "\x00\r\n")
		answer := ""
		switch {
		case line == "AUTH":
			answer = "REJECTED EXTERNAL"
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			answer = "OK 0123456789abcdef0123456789abcdef"
		case line == "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD"
		case line == "BEGIN":
			return nil
		default:
			return errors.New("unexpected line " + line)
		}
		if _, err := c.conn.Write([]byte(answer + "\r\n")); err != nil {
			return err
		}
	}
}

// oneByte keeps a bufio.Reader from reading into the message that follows the last line.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

// receive reads one message; the lengths in its fixed part are those of the D-Bus Specification, "Message Format".
func (c *client) receive() (*dbus.Message, []int, error) {
	fixed := make([]byte, 16)
	if _, err := io.ReadFull(c, fixed); err != nil {
		return nil, nil, err
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if fixed[0] == 'B' {
		order = binary.BigEndian
	}
	body, fields := order.Uint32(fixed[4:]), order.Uint32(fixed[12:])
	rest := make([]byte, (fields+7)/8*8+body)
	if _, err := io.ReadFull(c, rest); err != nil {
		return nil, nil, err
	}
	fds := c.fds
	c.fds = nil
	msg, err := dbus.DecodeMessage(io.MultiReader(bytes.NewReader(fixed), bytes.NewReader(rest)))
	return msg, fds, err
}

func (c *client) reply(to uint32, body []any, failure *dbus.Error) {
	msg := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(to),
	}}
	if failure != nil {
		msg.Type, msg.Body = dbus.TypeError, failure.Body
		msg.Headers[dbus.FieldErrorName] = dbus.MakeVariant(failure.Name)
	}
	c.send(msg)
}

func (c *client) emit(sender string, path dbus.ObjectPath, name string, args []any) {
	dot := strings.LastIndexByte(name, '.')
	c.send(&dbus.Message{Type: dbus.TypeSignal, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:      dbus.MakeVariant(path),
		dbus.FieldInterface: dbus.MakeVariant(name[:dot]),
		dbus.FieldMember:    dbus.MakeVariant(name[dot+1:]),
		dbus.FieldSender:    dbus.MakeVariant(sender),
	}})
}

func (c *client) send(msg *dbus.Message) {
	if len(msg.Body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(msg.Body...))
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	var wire bytes.Buffer
	if err := msg.EncodeTo(&wire, binary.LittleEndian); err != nil {
		panic(err) // the test asked for something that D-Bus cannot carry
	}
	c.serial++ // godbus numbers only what its own connections send
	binary.LittleEndian.PutUint32(wire.Bytes()[8:], c.serial)
	c.conn.Write(wire.Bytes()) // a client that has left misses it
}
