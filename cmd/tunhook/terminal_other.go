//go:build !linux

package main

import "golang.org/x/sys/unix"

// How the settings of a terminal are read and made, tty(4).
const (
	getSettings = unix.TIOCGETA
	setSettings = unix.TIOCSETA
)
