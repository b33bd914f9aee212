//go:build !linux

package hook

import "runtime/debug"

// rest gives back the memory that a process needs no more whose work is done for now.
func rest() { debug.FreeOSMemory() }
