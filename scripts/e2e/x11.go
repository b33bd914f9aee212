//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An x11 is a connection to an X server ("X Window System Protocol", appendix B), for
// what xdotool cannot do, and for what would take a process each time.
type x11 struct {
	net.Conn
	root          uint32 // window of the first screen
	width, height int    // of that, in pixels
}

// closeWindow asks the program of a window to close it, as window managers do when
// somebody clicks on the X: by WM_DELETE_WINDOW (ICCCM section 4.2.8.1).
func (d *desktop) closeWindow(window string) {
	d.t.Helper()
	id, err := strconv.ParseUint(window, 10, 32)
	if err != nil {
		d.t.Fatal(err)
	}
	x, err := dialX11(d.display())
	if err == nil {
		defer x.Close()
		err = x.deleteWindow(uint32(id))
	}
	if err != nil {
		d.t.Errorf("cannot close a window: %v", err)
	}
}

// display returns the number of the user's X display.
func (u *user) display() string {
	for _, variable := range slices.Backward(u.extraEnv) {
		if number, found := strings.CutPrefix(variable, "DISPLAY=:"); found {
			return number
		}
	}
	return ""
}

// dialX11 connects to a display of this machine.
func dialX11(display string) (x11, error) {
	conn, err := net.Dial("unix", "/tmp/.X11-unix/X"+display)
	if err != nil { // it may listen in the abstract namespace alone
		conn, err = net.Dial("unix", "@/tmp/.X11-unix/X"+display)
	}
	if err != nil {
		return x11{}, err
	}
	x := x11{Conn: conn}
	if err := x.setUp(); err != nil {
		conn.Close()
		return x11{}, err
	}
	return x, nil
}

func (x *x11) setUp() error {
	if err := x.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	// Little-endian, version 11.0, no authorization.
	if _, err := x.Write([]byte{'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(x, head[:]); err != nil {
		return err
	}
	more := make([]byte, 4*int(binary.LittleEndian.Uint16(head[6:])))
	if _, err := io.ReadFull(x, more); err != nil {
		return err
	}
	if head[0] != 1 {
		return fmt.Errorf("the X server refuses: %d", head[0])
	}
	// Behind the vendor's name and the formats stands the first screen.
	vendor, formats := int(binary.LittleEndian.Uint16(more[16:])), int(more[21])
	screen := more[32+(vendor+3)/4*4+8*formats:]
	x.root = binary.LittleEndian.Uint32(screen)
	x.width, x.height = int(binary.LittleEndian.Uint16(screen[20:])), int(binary.LittleEndian.Uint16(screen[22:]))
	return nil
}

// look returns every so manyeth line of what is on the screen, by one GetImage each. Pixels are what X servers have for a depth of 24:
// blue, green, red, nothing.
func (x x11) look(every int) (image.Image, error) {
	const getImage, zPixmap = 73, 2
	shot := image.NewRGBA(image.Rect(0, 0, x.width, x.height/every))
	var requests bytes.Buffer
	for line := range shot.Rect.Dy() {
		for _, field := range []any{
			[]byte{getImage, zPixmap, 5, 0}, x.root, [2]int16{0, int16(line * every)}, [2]uint16{uint16(x.width), 1}, uint32(math.MaxUint32),
		} {
			if err := binary.Write(&requests, binary.LittleEndian, field); err != nil {
				return nil, err
			}
		}
	}
	if _, err := x.Write(requests.Bytes()); err != nil {
		return nil, err
	}
	replies := bufio.NewReaderSize(x, 64<<10)
	for line := range shot.Rect.Dy() {
		var reply [32]byte
		if _, err := io.ReadFull(replies, reply[:]); err != nil {
			return nil, err
		}
		if length := 4 * int(binary.LittleEndian.Uint32(reply[4:])); reply[0] != 1 || length != shot.Stride {
			return nil, fmt.Errorf("the X server has no line of %d pixels, but %v", x.width, reply)
		}
		if _, err := io.ReadFull(replies, shot.Pix[line*shot.Stride:][:shot.Stride]); err != nil {
			return nil, err
		}
	}
	for i := 0; i < len(shot.Pix); i += 4 {
		shot.Pix[i], shot.Pix[i+2], shot.Pix[i+3] = shot.Pix[i+2], shot.Pix[i], math.MaxUint8
	}
	return shot, nil
}

// atom returns the number of a name.
func (x x11) atom(name string) (uint32, error) {
	padded := append([]byte(name), make([]byte, (4-len(name)%4)%4)...)
	const internAtom = 16
	request := append([]byte{internAtom, 0, byte(2 + len(padded)/4), 0, byte(len(name)), 0, 0, 0}, padded...)
	if _, err := x.Write(request); err != nil {
		return 0, err
	}
	var reply [32]byte
	if _, err := io.ReadFull(x, reply[:]); err != nil {
		return 0, err
	}
	if reply[0] != 1 {
		return 0, fmt.Errorf("the X server has no reply, but %v", reply)
	}
	return binary.LittleEndian.Uint32(reply[8:]), nil
}

func (x x11) deleteWindow(window uint32) error {
	protocols, err := x.atom("WM_PROTOCOLS")
	if err != nil {
		return err
	}
	deleteWindow, err := x.atom("WM_DELETE_WINDOW")
	if err != nil {
		return err
	}
	const sendEvent, clientMessage, format = 25, 33, 32
	var request bytes.Buffer
	for _, field := range []any{
		[]byte{sendEvent, 0, 11, 0},
		window, uint32(0),
		[]byte{clientMessage, format, 0, 0},
		window, protocols, deleteWindow,
		[4]uint32{},
	} {
		if err := binary.Write(&request, binary.LittleEndian, field); err != nil {
			return err
		}
	}
	if _, err := x.Write(request.Bytes()); err != nil {
		return err
	}
	_, err = x.atom("WM_PROTOCOLS") // whoever has this answer knows that the message is on its way
	return err
}
