//go:build !linux

package tunnel

import "time"

// Slept is not known here.
func Slept() time.Duration { return 0 }

// Network is not known here.
func Network() []string { return nil }

// NetworkWatch notices nothing here.
type NetworkWatch struct{}

// WatchNetwork is for the other systems.
func WatchNetwork() *NetworkWatch { return &NetworkWatch{} }

// Changed tells of nothing here.
func (*NetworkWatch) Changed() bool { return false }

// Close has nothing to end.
func (*NetworkWatch) Close() {}
