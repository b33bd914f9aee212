//go:build !linux

package tunnel

import "errors"

func launcher([]string) error        { return errors.ErrUnsupported }
func withoutNetlink([]string) error  { return errors.ErrUnsupported }
func waitUnseen([]string) error      { return errors.ErrUnsupported }
func listenPrivately([]string) error { return errors.ErrUnsupported }
func firstThreadEnds([]string) error { return errors.ErrUnsupported }
func saysNetwork([]string) error     { return errors.ErrUnsupported }
func saysCutOff([]string) error      { return errors.ErrUnsupported }
