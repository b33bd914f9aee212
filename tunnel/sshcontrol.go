package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Messages between an OpenSSH master connection and those that share it: PROTOCOL.mux of OpenSSH's source, version 4,
// which all have spoken since 5.4.
const (
	controlVersion = 4

	controlHello    = 0x00000001
	controlAsk      = 0x10000004 // is it there, and as which process
	controlForward  = 0x10000006 // listen
	controlCarry    = 0x10000008 // carry one connection, the ends of which come as descriptors
	controlOK       = 0x80000001
	controlDenied   = 0x80000002
	controlFailed   = 0x80000003
	controlThere    = 0x80000005
	controlCarries  = 0x80000006
	controlLocal    = 1       // the kind of forwarding that ssh -L is
	controlMost     = 1 << 18 // more than any message has, in bytes
	controlPatience = 10 * time.Second
)

// sshControl is a connection to an OpenSSH client that is logged in and shares its connection: a master.
type sshControl struct {
	*net.UnixConn
	asked uint32
}

// dialControl connects to the master whose socket that is.
func dialControl(path string) (*sshControl, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	c := &sshControl{UnixConn: conn}
	_ = c.SetDeadline(time.Now().Add(controlPatience))
	kind, rest, err := c.receive()
	switch {
	case err != nil:
	case kind != controlHello || len(rest) < 4 || binary.BigEndian.Uint32(rest) != controlVersion:
		err = errors.New("it does not speak as OpenSSH does")
	default:
		err = c.send(controlHello, uint32(controlVersion))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// pid asks whether the master is there, and gives its pid.
func (c *sshControl) pid() (int, error) {
	rest, err := c.ask(controlAsk, controlThere)
	if err != nil || len(rest) < 4 {
		return 0, errors.Join(err, c.Close())
	}
	return int(binary.BigEndian.Uint32(rest)), nil
}

// forward makes the master listen on one address and carry what is connected there to the other.
func (c *sshControl) forward(listen, target string) error {
	host, port, err := splitPort(listen)
	to, toPort, toErr := splitPort(target)
	if err := errors.Join(err, toErr); err != nil {
		return err
	}
	_, err = c.ask(controlForward, controlOK, uint32(controlLocal), host, port, to, toPort)
	return err
}

// carry makes the master carry a connection to the target, as long as this end of it or c is open. It returns once that
// is so.
func (c *sshControl) carry(client *net.TCPConn, target string) error {
	to, port, err := splitPort(target)
	if err != nil {
		return err
	}
	c.asked++
	if err := c.send(controlCarry, c.asked, "", to, port); err != nil {
		return err
	}
	if err := c.hand(client); err != nil {
		return err
	}
	_, err = c.answer(controlCarries)
	return err
}

// hand hands over what the master is to read from, and to write to: one descriptor for both.
func (c *sshControl) hand(end syscall.Conn) error {
	raw, err := end.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		for range 2 {
			_, _, err := c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil)
			sendErr = errors.Join(sendErr, err)
		}
	})
	return errors.Join(err, sendErr)
}

// answers tells whether the gateway answers the master within that time: of itself the master knows for long only that it has sent
// something. What it is asked for leads to nobody, a port that there is none of: the gateway refuses it at once, without a connection.
func (c *sshControl) answers(within time.Duration) bool {
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return true // which says nothing of the gateway
	}
	defer nothing.Close()
	_ = c.SetDeadline(time.Now().Add(within))
	c.asked++
	err = c.send(controlCarry, c.asked, "", "127.0.0.1", uint32(0))
	if err == nil {
		err = c.hand(nothing)
	}
	if err == nil {
		_, _, err = c.receive()
	}
	return err == nil
}

func splitPort(address string) (string, uint32, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return host, uint32(port), err
}

func (c *sshControl) ask(kind, want uint32, fields ...any) ([]byte, error) {
	c.asked++
	if err := c.send(append([]any{kind, c.asked}, fields...)...); err != nil {
		return nil, err
	}
	return c.answer(want)
}

// answer gives what comes with the answer to the last question.
func (c *sshControl) answer(want uint32) ([]byte, error) {
	kind, rest, err := c.receive()
	switch {
	case err != nil:
		return nil, err
	case len(rest) < 4 || binary.BigEndian.Uint32(rest) != c.asked:
		return nil, fmt.Errorf("ssh answers another question (%#x)", kind)
	case kind == want:
		return rest[4:], nil
	case kind == controlDenied || kind == controlFailed:
		reason := rest[4:]
		return nil, fmt.Errorf("ssh says: %s", Printable(string(reason[min(4, len(reason)):])))
	}
	return nil, fmt.Errorf("ssh gives an unexpected answer (%#x)", kind)
}

// send writes one message: numbers, and strings behind their lengths.
func (c *sshControl) send(fields ...any) error {
	message := make([]byte, 4)
	for _, field := range fields {
		switch field := field.(type) {
		case int:
			message = binary.BigEndian.AppendUint32(message, uint32(field))
		case uint32:
			message = binary.BigEndian.AppendUint32(message, field)
		case string:
			message = append(binary.BigEndian.AppendUint32(message, uint32(len(field))), field...)
		}
	}
	binary.BigEndian.PutUint32(message, uint32(len(message)-4))
	_, err := c.Write(message)
	return err
}

func (c *sshControl) receive() (kind uint32, rest []byte, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n < 4 || n > controlMost {
		return 0, nil, fmt.Errorf("ssh sends a message of %d bytes", n)
	}
	rest = make([]byte, n-4)
	_, err = io.ReadFull(c, rest)
	return binary.BigEndian.Uint32(head[4:]), rest, err
}

// sshConfig is what matters here of the configuration that an ssh would use.
type sshConfig struct {
	control  string // the socket of the master that it would share, "" for none
	asks     bool   // the master asks somebody before it carries anything
	forwards bool   // it would forward something, or nothing at all, not even what its command line says
	forks    bool   // it knows ForkAfterAuthentication, which OpenSSH has since 8.7
}

// parseSSHConfig reads what ssh -G prints, ssh(1).
func parseSSHConfig(text string) sshConfig {
	var c sshConfig
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "controlpath":
			c.control = value
		case "controlmaster":
			c.asks = value == "ask" || value == "autoask"
		case "localforward", "remoteforward", "dynamicforward":
			c.forwards = true
		case "clearallforwardings":
			c.forwards = c.forwards || value == "yes"
		case "forkafterauthentication":
			c.forks = true
		}
	}
	return c
}
