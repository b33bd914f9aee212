package main

import "github.com/tunhook/tunhook/tunnel"

// The messages about the configuration; see ui.go for the rules.

// unread says what of the configuration has no effect, whatever is asked for.
func (u *ui) unread(faults []*tunnel.ConfigError) {
	for _, fault := range faults {
		u.say("warning: %v: what that was to say has no effect", fault)
	}
}
