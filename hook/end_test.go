package hook

import (
	"os/exec"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
)

// TestAKeeperThatWasQuickerIsNotLeftBehind: it has removed the record, and is about to exit.
func TestAKeeperThatWasQuickerIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	dir, err := pidfile.PrivateDir(t.TempDir()+"/run", false, true)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	keeper, err := process.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	rec := pidfile.Record{Route: "relay://127.0.0.1:9", Listen: "127.0.0.1:3389", Token: process.NewToken(), Keeper: keeper}
	if err := (&Env{}).finishEnding(t.Context(), dir, rec, time.Second); err != nil {
		t.Fatal(err)
	}
	if keeper.Alive() {
		t.Error("it is still there")
	}
}
