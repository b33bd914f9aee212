// Package scripts holds the scripts that tunhook installs for its users.
package scripts

import (
	_ "embed"
	"strings"
)

//go:embed flatpak-hook
var flatpakHook string

// FlatpakHook is the hook script for a client in a Flatpak sandbox that cannot see tunhook, which is at that path on the host.
func FlatpakHook(tunhook string) string {
	quoted := "'" + strings.ReplaceAll(tunhook, "'", `'\''`) + "'"
	return strings.Replace(flatpakHook, "tunhook=tunhook\n", "tunhook="+quoted+"\n", 1)
}
