//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// patience is for how long an answer is waited for; the machine may be busy.
const patience = 30 * time.Second

// client does what each line says, and answers each with a line, "ok" or what went wrong:
//
//	connect N ADDRESS  open connection N and exchange a few bytes
//	half N             send the last byte of N; the other side still sends
//	close N            close it
//	check N            find out whether N still works
func client() {
	conns := map[string]*net.TCPConn{}
	half := map[string]bool{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := append(strings.Fields(lines.Text()), "", "", "")
		n := words[1]
		var err error
		switch conn := conns[n]; words[0] {
		case "connect":
			var c net.Conn
			if c, err = net.DialTimeout("tcp4", words[2], patience); err == nil {
				conns[n], half[n] = c.(*net.TCPConn), false
				err = roundTrip(c)
			}
		case "half":
			half[n] = true
			err = conn.CloseWrite()
		case "close":
			conn.Close()
		case "check":
			if half[n] {
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, err = io.ReadFull(conn, make([]byte, 1))
			} else {
				err = roundTrip(conn)
			}
		}
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}

func roundTrip(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "ping"); err != nil {
		return err
	}
	b := make([]byte, 4)
	_, err := io.ReadFull(conn, b)
	_ = conn.SetDeadline(time.Time{})
	return err
}
