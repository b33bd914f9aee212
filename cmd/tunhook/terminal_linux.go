package main

import "golang.org/x/sys/unix"

// How the settings of a terminal are read and made, ioctl_tty(2).
const (
	getSettings = unix.TCGETS
	setSettings = unix.TCSETS
)
