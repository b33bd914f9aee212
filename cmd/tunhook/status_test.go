package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// TestStatusNamesTheClients, in the table and in the documented JSON form; stop names them too, and cuts them off only with --now.
func TestStatusNamesTheClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := w.path("home", ".config", "tunhook")
	check(t, os.MkdirAll(config, 0o700))
	check(t, os.WriteFile(filepath.Join(config, "config.toml"), []byte("[tunnel.desk]\nroute = \"relay://"+echoServer(t)+"\"\n"), 0o600))
	address := w.must("start", "desk")
	rec := w.record()
	pid, since := strconv.Itoa(rec.Tunnel.PID), rec.Started.Local().Format("15:04:05")
	expectTable(t, w.must("status"), []string{"desk", address, "ready", pid, since, "-"})

	client := &exec.Cmd{Path: filepath.Join(programDir(t), "client"), Args: []string{"client", "hold", address}, Env: w.environ}
	out, err := client.StdoutPipe()
	check(t, err)
	check(t, client.Start())
	if line := firstLine(t, out); line != "connected\n" {
		t.Fatalf("the client says %q", line)
	}
	tunneltest.Eventually(t, "the client is shown", func() bool { return strings.Contains(w.must("status"), "client (pid ") })
	who := fmt.Sprintf("client (pid %d)", client.Process.Pid)
	expectTable(t, w.must("status"), []string{"desk", address, "ready", pid, since, who})
	expectTable(t, w.must("status", "desk"), []string{"desk", address, "ready", pid, since, who})

	golden, err := os.ReadFile("testdata/status.json")
	check(t, err)
	want := os.Expand(string(golden), func(name string) string {
		return map[string]string{
			"address": address, "pid": pid, "client": strconv.Itoa(client.Process.Pid),
			"started": rec.Started.Format(time.RFC3339Nano), "home": w.path("home"), "name": rec.Key().Name(),
		}[name]
	})
	if diff := cmp.Diff(want, w.must("status", "--json")+"\n"); diff != "" {
		t.Errorf("status --json (-want +got):\n%s", diff)
	}

	stop := w.do("stop", "desk")
	if want := "tunhook: " + address + " is in use by " + who + ": the tunnel ends when the last has left (--now cuts them off)\n"; stop.status != 0 || stop.stderr != want {
		t.Errorf("stop: %v, want stderr %q", stop, want)
	}
	expectTable(t, w.must("status"), []string{"desk", address, "ending when idle", pid, since, who})
	w.must("stop", "--now", "desk")
	if err := client.Wait(); err != nil {
		t.Errorf("the client, whose tunnel has ended: %v", err)
	}
	w.nothingLeft()
}

// expectTable wants the heading and one row, in columns two spaces apart.
func expectTable(t *testing.T, got string, row []string) {
	t.Helper()
	heading := []string{"ROUTE", "ADDRESS", "STATE", "PID", "UP SINCE", "CLIENTS"}
	var first, second strings.Builder
	for i := range heading {
		width := max(len(heading[i]), len(row[i])) + 2
		if i == len(heading)-1 {
			width = 0
		}
		fmt.Fprintf(&first, "%-*s", width, heading[i])
		fmt.Fprintf(&second, "%-*s", width, row[i])
	}
	if diff := cmp.Diff(first.String()+"\n"+second.String(), got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
