package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// What stands where tunhook expects its own: files of another kind, limits of the caller's, arguments of any bytes.

// TestAnOddLogBlocksNobody: a named pipe, above all, blocks whoever opens it and nobody writes to.
func TestAnOddLogBlocksNobody(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(path string) error{
		"pipe":            func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"directory":       func(p string) error { return os.Mkdir(p, 0o700) },
		"link to a pipe":  func(p string) error { return errors.Join(syscall.Mkfifo(p+".real", 0o600), os.Symlink(p+".real", p)) },
		"link to nothing": func(p string) error { return os.Symlink(p+".missing", p) },
		"device":          func(p string) error { return os.Symlink("/dev/zero", p) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, route, p := newWorld(t), "relay://"+echoServer(t), port(t)
			w.must("start", route, p)
			rec := w.record()
			check(t, os.Remove(rec.Log))
			check(t, put(rec.Log))
			client, err := net.Dial("tcp", "127.0.0.1:"+p)
			check(t, err)
			defer client.Close()
			for _, args := range [][]string{{"logs"}, {"logs", "-f"}} {
				if got := w.do(append(args, route, p)...); got.status != exitUnexpected || !isOneMessage(got.stderr) || !strings.Contains(got.stderr, rec.Log) {
					t.Errorf("%q: %v", args, got)
				}
			}
			w.must("status", route, p)
			w.must("start", "--keep-alive", "--idle-stop", "1h", route, p)
			w.must("stop", route, p) // which leaves it to a keeper, as somebody is connected
			if !rec.Tunnel.Alive() {
				t.Error("the client was cut off")
			}
			w.must("stop", "--now", route, p)
			if got := w.do("start", route, p); got.status != exitUnexpected || !isOneMessage(got.stderr) || !strings.Contains(got.stderr, rec.Log) {
				t.Errorf("a start that cannot write its log: %v", got)
			}
			w.nothingLeft()
		})
	}
}

// TestAnOddConfigurationBlocksNobody, and is named.
func TestAnOddConfigurationBlocksNobody(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	dir := w.path("home", ".config", "tunhook")
	check(t, os.MkdirAll(dir, 0o700))
	config := filepath.Join(dir, "config.toml")
	check(t, syscall.Mkfifo(config, 0o600))
	for _, args := range [][]string{{"start"}, {"wait", "--timeout", "1s"}, {"run"}} {
		got := w.do(append(args, "relay://127.0.0.1:9", p)...)
		if got.status == 0 || strings.Contains(got.stderr, "too long") {
			t.Errorf("%q: %v", args, got)
		}
	}
	if got := w.do("start", "relay://127.0.0.1:9", p); got.status != exitUsage || !strings.Contains(got.stderr, config+": cannot be read: it is not a regular file") {
		t.Errorf("%v", got)
	}
	// A configuration that is kept elsewhere is one.
	real := w.path("config")
	check(t, errors.Join(os.Remove(config), os.WriteFile(real, []byte("[tunnel.desk]\nroute = \"relay://127.0.0.1:9\"\n"), 0o600), os.Symlink(real, config)))
	w.must("start", "desk", p)
	w.must("stop", "desk", p)
}

// limited runs tunhook where no file may be written, setrlimit(2), RLIMIT_FSIZE.
func (w *world) limited(args ...string) result {
	w.t.Helper()
	argv := append([]string{"sh", "-c", `ulimit -f 0; exec "$0" "$@"`, w.program}, args...)
	return w.finish(&exec.Cmd{Path: "/bin/sh", Args: argv, Env: w.environ, Dir: w.dir})
}

// TestWhoMayWriteNoFileCanStillEndATunnel; what cannot be started then leaves nothing.
func TestWhoMayWriteNoFileCanStillEndATunnel(t *testing.T) {
	t.Parallel()
	for _, promise := range [][]string{nil, {"--idle-stop", "1h"}, {"--keep-alive", "--end-with", fmt.Sprint(os.Getpid())}} {
		for _, stop := range [][]string{{"stop"}, {"stop", "--now"}, {"stop", "--all"}} {
			w, p := newWorld(t), port(t)
			w.must(append(append([]string{"start"}, promise...), "relay://127.0.0.1:9", p)...)
			rec := w.record()
			if stop[len(stop)-1] != "--all" {
				stop = append(stop, "relay://127.0.0.1:9", p)
			}
			if got := w.limited(stop...); got.status != 0 || rec.Tunnel.Alive() {
				t.Errorf("%q of a start with %q: %v", stop, promise, got)
			}
			w.nothingLeft()
		}
	}
	w, p := newWorld(t), port(t)
	for _, args := range [][]string{{"start"}, {"start", "--idle-stop", "1h"}, {"run"}} {
		args = append(args, "relay://127.0.0.1:9", p)
		if args[0] == "run" {
			args = append(args, "--", "true")
		}
		if got := w.limited(args...); got.status == 0 || !strings.Contains(got.stderr, "file too large") {
			t.Errorf("%q: %v", args, got)
		}
		w.nothingLeft()
	}
}

// TestArgumentsOfAnyBytesAreKept by the keeper, which starts the tunnel program again with them, and so are paths.
func TestArgumentsOfAnyBytesAreKept(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	state := w.path("st\xe4te")
	w = w.with("XDG_STATE_HOME=" + state)
	argv := w.path("argv")
	program := w.path("pr\xf6g")
	check(t, tunneltest.WriteProgram(program, []byte("#!/bin/sh\nport=$1\nprintf '%s|' \"$@\" >> "+argv+"\necho >> "+argv+
		"\nexec tunhook relay --listen 127.0.0.1:$port 127.0.0.1:9\n")))
	link := w.path("bin-prog") // a configuration is UTF-8
	check(t, os.Symlink(program, link))
	dir := w.path("home", ".config", "tunhook")
	check(t, os.MkdirAll(dir, 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte("[provider.p]\nroutes = [\"p://{host}:{port}\"]\ncommand = [\""+link+"\", \"{listen_port}\"]\n"), 0o600))

	odd := []string{"-i", "/home/u/schl\xfcssel", "\xff\xfe", "base64:eA==", "a\nb", "größe"}
	w.must(append([]string{"start", "--keep-alive", "--end-with", fmt.Sprint(os.Getpid()), "p://a:1", p, "--"}, odd...)...)
	rec := w.record()
	if !strings.HasPrefix(rec.Log, state+"/") {
		t.Errorf("the record has the log at %q", rec.Log)
	}
	check(t, syscall.Kill(rec.Tunnel.PID, syscall.SIGKILL))
	tunneltest.Eventually(t, "it is started again", func() bool {
		now := w.record()
		return now.Tunnel.PID != 0 && now.Tunnel != rec.Tunnel && served("127.0.0.1:"+p)
	})
	text, err := os.ReadFile(argv)
	check(t, err)
	want := strings.Join(append([]string{p}, odd...), "|") + "|\n"
	if string(text) != want+want {
		t.Errorf("it was started with %q, want twice %q", text, want)
	}
	if got := w.must("logs", "p://a:1", p); !strings.Contains(got, "starting it again") {
		t.Errorf("the keeper's log: %q", got)
	}
	w.must("stop", "p://a:1", p)
	w.nothingLeft()
}

// TestMoreHoldersThanARecordHasRoomFor are refused before anything is launched, and a running tunnel stays as it is.
func TestMoreHoldersThanARecordHasRoomFor(t *testing.T) {
	t.Parallel()
	w, p := newWorld(t), port(t)
	holders := exec.Command("sh", "-c", "for i in $(seq 700); do sleep 1000 >/dev/null & echo $!; done; echo; wait")
	holders.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := holders.StdoutPipe()
	check(t, err)
	check(t, holders.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-holders.Process.Pid, syscall.SIGKILL)
		_ = holders.Wait() // it was killed
	})
	var flags []string
	for _, pid := range strings.Fields(readUntil(t, out, "\n\n")) {
		flags = append(flags, "--end-with", pid)
	}
	route := "relay://" + echoServer(t)
	many := slices.Concat([]string{"start"}, flags, []string{route, p})
	if got := w.do(many...); got.status != exitUnexpected || !isOneMessage(got.stderr) || !strings.Contains(got.stderr, "--end-with") {
		t.Errorf("%v", got)
	}
	w.nothingLeft()
	w.must(slices.Concat([]string{"start"}, flags[:2], []string{route, p})...)
	before := w.record()
	if got := w.do(many...); got.status != exitUnexpected || !isOneMessage(got.stderr) {
		t.Errorf("%v", got)
	}
	if now := w.record(); now.Tunnel != before.Tunnel || !slices.Equal(now.EndWith, before.EndWith) {
		t.Errorf("the record was %+v, and is %+v", before, now)
	}
	check(t, roundTrip("127.0.0.1:"+p))
	w.must("stop", route, p)
	w.nothingLeft()
}

func readUntil(t *testing.T, r interface{ Read([]byte) (int, error) }, end string) string {
	t.Helper()
	var text strings.Builder
	for buf := make([]byte, 4096); !strings.HasSuffix(text.String(), end); {
		n, err := r.Read(buf)
		check(t, err)
		text.Write(buf[:n])
	}
	return text.String()
}
