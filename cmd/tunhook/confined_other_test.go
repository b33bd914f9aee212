//go:build !linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

const unlimited = 0

func confined([]string) int {
	fmt.Fprintln(os.Stderr, "confined: not on this system")
	return 1
}

func unhandy(args []string) int { return confined(args) }

func newConfinedWorld(t *testing.T) *world {
	t.Helper()
	t.Skip("processes cannot be confined on this system")
	return nil
}

func (w *world) confine(int, ...string) *exec.Cmd { return nil }
