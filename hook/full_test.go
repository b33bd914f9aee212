package hook_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// inFullDirectory starts a tunnel, $2, whose records, in $1, are on a file system of their own, and fills that: then it says "full".
// At the end of its stdin it says what is left there.
const inFullDirectory = `
mkdir -m 0700 "$1" && mount -t tmpfs -o size=64k,mode=0700 tmpfs "$1" || { echo not here; exit; }
"$0" start "$2" || exit
cat /dev/zero >"$1/filler" 2>/dev/null
echo full
cat
ls "$1"
`

func TestAFullDirectoryKeepsNoKeeperFromEndingItsTunnel(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	req, err := json.Marshal(w.held(holder))
	check(t, err)
	cmd := exec.Command("unshare", "--mount", "--map-root-user", "sh", "-c", inFullDirectory, w.Self, w.RunDir, string(req))
	cmd.Env = w.Environ
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	if err := cmd.Start(); err != nil {
		t.Skipf("no file system of its own can be had here: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, unless it has ended well: then the test has said so
	})
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); line == "" || line == "not here\n" {
		t.Skipf("no file system may be mounted here: %v", err)
	} else if line != "full\n" {
		t.Fatal(line)
	}
	if !w.served() {
		t.Fatal("there is no tunnel")
	}
	holder.kill()
	tunneltest.Eventually(t, "tunnel and keeper end", func() bool { return !w.served() && len(w.keepers()) == 0 })
	check(t, stdin.Close())
	if left, err := io.ReadAll(said); err != nil || string(left) != "filler\n" {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
