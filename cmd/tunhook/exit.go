package main

import (
	"errors"
	"strconv"

	"github.com/tunhook/tunhook/hook"
)

// Exit statuses, as the manual page has them.
const (
	exitDone       = 0
	exitUnexpected = 1
	exitUsage      = 2
	exitNoTunnel   = 3
	exitFailed     = 4
	exitTimeout    = 5
	exitTaken      = 6
	exitNoProgram  = 7
	exitRouteDown  = 8
	exitProtocol   = 9

	exitFindings = 1 // of doctor

	// Of run, whose other statuses are its client's; env(1) and timeout(1) use them likewise.
	exitRunFailed       = 125
	exitClientNotRun    = 126
	exitClientNotFound  = 127
	exitSignalledOffset = 128
)

// clientStatus is the exit status of run's client, which becomes tunhook's own.
type clientStatus int

func (s clientStatus) Error() string { return "the client's exit status was " + strconv.Itoa(int(s)) }

// endedError says by which signal a command has ended that goes on until then: there is nothing to say about it.
type endedError struct{ error }

func (e endedError) Unwrap() error { return e.error }

// exitStatus maps an error to the exit status, by the table of errors; isRun says that the command was run.
func exitStatus(err error, isRun bool) int {
	var sig signalError
	if errors.As(err, &sig) {
		return exitSignalledOffset + int(sig.signal)
	}
	if isRun {
		return runStatus(err)
	}
	return rowOf(err).status
}

func runStatus(err error) int {
	var client *hook.ClientError
	switch {
	case errors.As(err, &client) && client.Found:
		return exitClientNotRun
	case errors.As(err, &client):
		return exitClientNotFound
	}
	return exitRunFailed
}
