//go:build !linux

package tunnel

import "syscall"

// limitFiles can do nothing for another process here: the log is bounded only by being trimmed at each start.
func limitFiles(int) {}

// UnlimitFiles has nothing to take back.
func UnlimitFiles() error { return nil }

// DieWithParent can do nothing here: a program that is left behind sees the end of its input.
func DieWithParent(*syscall.SysProcAttr) {}
