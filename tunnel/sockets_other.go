//go:build !linux

package tunnel

func diagListening(uint16) ([]socket, error) { return nil, errNoDiag }

func diagEstablished(_, _ uint16) ([]socket, error) { return nil, errNoDiag }

// openSockets has nothing to add here: sockets come with their pids.
func openSockets(int) map[uint32]bool { return nil }
