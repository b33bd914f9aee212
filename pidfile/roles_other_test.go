//go:build !linux

package pidfile

var systemRoles map[string]func(args []string) error
