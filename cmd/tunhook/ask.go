package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/tunhook/tunhook/hook"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// asker asks at the terminal that this command was called on; nil where there is none, or where another program has it:
// whoever reads from a terminal in the background is stopped.
func (c *command) asker() func(context.Context, hook.Question) (string, bool) {
	if !term.IsTerminal(int(c.ui.stderr.Fd())) || !term.IsTerminal(int(c.stdin.Fd())) {
		return nil
	}
	foreground, err := unix.IoctlGetInt(int(c.stdin.Fd()), unix.TIOCGPGRP)
	if err != nil || foreground != unix.Getpgrp() {
		return nil
	}
	return func(ctx context.Context, q hook.Question) (string, bool) { return c.ui.ask(ctx, c.stdin, q) }
}

// hide makes a terminal not show what is typed, until show is called. It is done before the question is there to be
// answered.
func hide(terminal *os.File) (show func(), err error) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, getSettings)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, setSettings, &hidden); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setSettings, before) }, nil
}

// answer reads the answer to a question from a terminal, one line. When ctx is done the read goes on: the caller is
// about to end.
func answer(ctx context.Context, terminal *os.File) (string, error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := readLine(terminal)
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		return l.text, l.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// readLine reads a line and nothing beyond it: that is for whoever reads next.
func readLine(from io.Reader) (string, error) {
	const most = 4 << 10
	var text []byte
	for b := make([]byte, 1); len(text) < most; {
		n, err := from.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			return string(text), nil
		case n == 1:
			text = append(text, b[0])
		case err != nil:
			return "", err
		}
	}
	return "", errors.New("the answer is too long")
}
