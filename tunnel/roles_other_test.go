//go:build !linux

package tunnel

import "errors"

func launcher([]string) error { return errors.New("not on this system") }
