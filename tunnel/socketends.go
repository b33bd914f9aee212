package tunnel

// SocketEnds tells that TCP sockets have ended, connected or listening, with one of some ports at either end.
type SocketEnds struct {
	ended endings
	err   error // why the kernel does not tell
}

// WatchSocketEnds begins to watch. Where the kernel does not tell, none is ever found to have ended.
func WatchSocketEnds(ports []uint16) *SocketEnds {
	ended, err := watchEndings(ports...)
	return &SocketEnds{ended, err}
}

// FD can be read when some have ended; -1 where the kernel does not tell.
func (e *SocketEnds) FD() int {
	if e.err != nil {
		return -1
	}
	return e.ended.descriptor()
}

// Any tells whether some have ended since the last call.
func (e *SocketEnds) Any() bool {
	if e.err != nil {
		return false
	}
	ended, lost := e.ended.next()
	return lost || len(ended) > 0
}

// Close ends the watch.
func (e *SocketEnds) Close() {
	if e.err == nil {
		e.ended.close()
	}
}
