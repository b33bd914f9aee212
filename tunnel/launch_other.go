//go:build !linux

package tunnel

// limitFiles can do nothing for another process here: the log is bounded only by being trimmed at each start.
func limitFiles(int) {}

// UnlimitFiles has nothing to take back.
func UnlimitFiles() error { return nil }
