package process

import (
	"fmt"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
)

// deadline is how long a test waits for what must happen.
const deadline = processtest.Deadline

func TestMain(m *testing.M) {
	processtest.Main(m, map[string]func(args []string) error{
		"sleep": func([]string) error { fmt.Println("ready"); return processtest.UntilEOF() },
		"tree":  growTree,
		"reuse": reusePid,
		"blind": lookBlindly,
		"here":  sayHere,
		"hide":  hide,

		"lookhidden": lookHidden,
		"private":    bePrivate,

		"leaderless": endFirstThread,
	})
}
