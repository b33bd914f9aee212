package process

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// FuzzStat reads lines as the kernel writes them, proc_pid_stat(5), around whatever a process calls itself, and lines that no
// kernel writes.
func FuzzStat(f *testing.F) {
	f.Add([]byte("tunhook"), byte('S'), uint8(1), uint64(4_294_967_296), "")
	f.Add([]byte(") Z 1 (x"), byte('S'), uint8(9), uint64(1), "1 (")
	f.Add([]byte("a b\n)"), byte('Z'), uint8(0), uint64(0), "1 (a) S 0 0")
	f.Add([]byte("\xff\x00"), byte('X'), uint8(2), uint64(1<<63), "1 (a) S "+strings.Repeat("-1 ", 50))
	f.Add([]byte{}, byte('Z'), uint8(2), uint64(7), ")))")
	f.Fuzz(func(t *testing.T, comm []byte, state byte, threads uint8, ticks uint64, other string) {
		if got, err := startTicks([]byte(other)); err != nil && (got != 0 && !isRange(err) || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("%q: %d, and the message is %q", other, got, err)
		}
		if state < 'A' || state > 'z' {
			return // a letter
		}
		line := fmt.Sprintf("12 (%s) %c 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 %d 0 %d 1 2 3\n", comm, state, threads, ticks)
		got, err := startTicks([]byte(line))
		dead := state == 'X' || state == 'x' || state == 'Z' && threads < 2
		if dead != errors.Is(err, ErrGone) || !dead && (err != nil || got != ticks) {
			t.Errorf("%q: %d, %v; want %d", line, got, err, ticks)
		}
	})
}

// isRange: of a number that is too large strconv gives the largest there is.
func isRange(err error) bool { return strings.Contains(err.Error(), "out of range") }
