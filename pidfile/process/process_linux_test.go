package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
	"golang.org/x/sys/unix"
)

// statLine is a line of /proc/PID/stat with those fields 2, 3 and 22, for a process of one thread.
func statLine(name, state, ticks string) string { return statLineOf(name, state, "1", ticks) }

func statLineOf(name, state, threads, ticks string) string {
	return "77 (" + name + ") " + state + " 1 77 77 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 " + threads + " 0 " + ticks + " 1000 50 18446744073709551615\n"
}

// opened gives a helper's identity, and a handle on it that is closed when the test ends.
func opened(t *testing.T, h *processtest.Helper) (Identity, *Process) {
	t.Helper()
	id, err := Identify(h.PID())
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return id, p
}

func TestStartTicksAreFoundBehindAnyName(t *testing.T) {
	for _, name := range []string{"sleep", "", "a b", "a) b (c", ")", "(", ") S 1 2 3", "a) Z 1 1 1", "tmux: server", "x\ny", strings.Repeat(")", 15)} {
		if ticks, err := startTicks([]byte(statLine(name, "S", "123456789"))); err != nil || ticks != 123456789 {
			t.Errorf("%q: %d, %v", name, ticks, err)
		}
		for _, state := range []string{"Z", "X", "x"} {
			if _, err := startTicks([]byte(statLine(name, state, "123456789"))); !errors.Is(err, ErrGone) {
				t.Errorf("%q in state %s: error %v, want ErrGone", name, state, err)
			}
		}
		for _, threads := range []string{"2", "10"} {
			if _, err := startTicks([]byte(statLineOf(name, "Z", threads, "1"))); err != nil {
				t.Errorf("%q in state Z with %s threads: %v", name, threads, err)
			}
		}
		for _, state := range []string{"R", "S", "D", "T", "t", "I"} {
			if _, err := startTicks([]byte(statLine(name, state, "1"))); err != nil {
				t.Errorf("%q in state %s: %v", name, state, err)
			}
		}
	}
}

func TestStartTicksRefusesWhatIsNoStatLine(t *testing.T) {
	for _, text := range []string{"", "77", "77 (x", "77 (x)", "77 (x) S 1 2 3", statLine("x", "S", "abc"), statLine("x", "S", "-1"), statLine("x", "S", "99999999999999999999")} {
		if ticks, err := startTicks([]byte(text)); err == nil || errors.Is(err, ErrGone) {
			t.Errorf("%q: %d, %v; want an error that is not ErrGone", text, ticks, err)
		}
	}
}

func TestIdentityOfAProcessWithAMisleadingName(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a) b (c", ") Z 1 (", "x y"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.Symlink(self, path); err != nil {
			t.Fatal(err)
		}
		cmd := processtest.Command(t, "sleep")
		cmd.Path, cmd.Args = path, []string{path}
		h := processtest.Start(t, cmd)
		h.Line(t)
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", h.PID()))
		if err != nil || strings.TrimSuffix(string(comm), "\n") != name {
			t.Fatalf("the process is named %q, %v", comm, err)
		}
		id, err := Identify(h.PID())
		if err != nil || !id.Alive() {
			t.Fatalf("%s: %+v, %v", name, id, err)
		}
		checkTicks(t, id)
		h.Kill()
		if id.Alive() {
			t.Errorf("%s: alive after its end", name)
		}
	}
}

// checkTicks compares a just started process's ticks with the clock they are of.
func checkTicks(t *testing.T, id Identity) {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	const perSecond = 100 // USER_HZ, time(7)
	age := float64(now.Nano())/1e9 - float64(id.StartTicks)/perSecond
	if age < -1 || age > deadline.Seconds() {
		t.Errorf("%+v: started %.1f s ago", id, age)
	}
}

// TestFilesOfProcAreReadToTheirEnd: their size is not told, and a read may give less than was asked for.
func TestFilesOfProcAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 511, 512, 513, 40_000} {
		value := strings.Repeat("x", size)
		cmd := exec.Command("sleep", "600")
		cmd.Env = []string{"LONG=" + value}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		var environ []byte
		var err error
		for range 10_000 { // while the kernel lays it out it shows an empty one
			if environ, err = readFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)); err != nil || len(environ) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err != nil || string(environ) != cmd.Env[0]+"\x00" {
			t.Errorf("an environment of %d bytes: %d were read, %v", len(cmd.Env[0])+1, len(environ), err)
		}
	}
	if _, err := readFile("/proc/0/stat"); !gone(err) {
		t.Errorf("of no process: %v", err)
	}
}

func TestSelfIsOneself(t *testing.T) {
	id, err := Self()
	if err != nil || id.PID != os.Getpid() || !id.Alive() || len(id.BootID) != 36 {
		t.Errorf("%+v, %v", id, err)
	}
	again, err := Identify(os.Getpid())
	if err != nil || again != id {
		t.Errorf("%+v at first, %+v (%v) later", id, again, err)
	}
}

// TestProcessWhoseFirstThreadHasEndedLives: it looks like a zombie, and so does for a moment every process of several threads that is
// killed, while the others hold its sockets.
func TestProcessWhoseFirstThreadHasEndedLives(t *testing.T) {
	h := processtest.Start(t, processtest.Command(t, "leaderless"))
	h.Line(t)
	processtest.Eventually(t, "its first thread has ended", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.PID()))
		return err == nil && strings.Contains(string(stat), ") Z ")
	})
	id, p := opened(t, h)
	if !id.Alive() || p.Wait(0) {
		t.Error("it counts as gone")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil || !p.Wait(deadline) {
		t.Fatalf("it cannot be ended: %v", err)
	}
	if id.Alive() {
		t.Error("it counts as alive after its end")
	}
}

// endFirstThread goes on in other threads than the first until it is killed.
func endFirstThread([]string) error {
	fmt.Println("going on")
	processtest.EndFirstThread()
	return nil
}

func TestZombieIsGone(t *testing.T) {
	h := processtest.Start(t, processtest.Command(t, "sleep"))
	h.Line(t)
	id, p := opened(t, h)
	h.Stdin.Close()
	if !p.Wait(deadline) {
		t.Fatal("it does not end")
	}
	// Nobody has reaped it yet: kill(2) still finds it.
	if err := syscall.Kill(h.PID(), 0); err != nil {
		t.Fatalf("no zombie to look at: %v", err)
	}
	if id.Alive() {
		t.Error("a zombie counts as alive")
	}
	if _, err := Identify(h.PID()); !errors.Is(err, ErrGone) {
		t.Errorf("Identify: %v, want ErrGone", err)
	}
	if _, err := Open(id); !errors.Is(err, ErrGone) {
		t.Errorf("Open: %v, want ErrGone", err)
	}
	if members, err := (Session{Leader: id, Token: NewToken()}).Members(nil); err != nil || len(members) > 0 {
		t.Errorf("%d members of a dead tunnel, %v", len(members), err)
	}
}

// TestNoSignalReachesARecycledPid edits the identity of a live process in every way in which a stranger that has got a
// recorded pid differs from the process that was recorded.
func TestNoSignalReachesARecycledPid(t *testing.T) {
	stranger := processtest.Start(t, inSession(processtest.Command(t, "sleep")))
	stranger.Line(t)
	now, err := Identify(stranger.PID())
	if err != nil {
		t.Fatal(err)
	}
	for name, recorded := range map[string]Identity{
		"started a tick earlier": {now.PID, now.StartTicks - 1, now.BootID},
		"started a tick later":   {now.PID, now.StartTicks + 1, now.BootID},
		"before a reboot":        {now.PID, now.StartTicks, "00000000-0000-4000-8000-000000000000"},
		"on no boot":             {now.PID, now.StartTicks, ""},
		"without ticks":          {now.PID, 0, now.BootID},
		"beyond 32 bits":         {now.PID + 1<<32, now.StartTicks, now.BootID},
		"every process":          {-1, now.StartTicks, now.BootID},
		"our process group":      {0, now.StartTicks, now.BootID},
		"its process group":      {-now.PID, now.StartTicks, now.BootID},
		"init":                   {1, now.StartTicks, now.BootID},
		"nobody":                 {},
	} {
		if recorded.Alive() {
			t.Errorf("%s: alive", name)
		}
		if p, err := Open(recorded); !errors.Is(err, ErrGone) {
			t.Errorf("%s: opened %v, %v", name, p, err)
		}
		rec := Session{Leader: recorded, Token: NewToken()}
		if found := members(t, rec); len(found) > 0 {
			t.Errorf("%s: the stranger is a member", name)
		}
		if id, err := rec.Adopt(); !errors.Is(err, ErrGone) {
			t.Errorf("%s: adopted %v, %v", name, id, err)
		}
	}
	if !now.Alive() {
		t.Error("the stranger has ended")
	}
}

func TestRecordedPidThatIsAThreadByNowIsGone(t *testing.T) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("no thread to look at: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Identity{tid, 1, "b"}); !errors.Is(err, ErrGone) {
			t.Errorf("thread %d of process %d: error %v, want ErrGone", tid, os.Getpid(), err)
		}
	}
}

func TestSignalThroughAHandleNeverOutlivesTheProcess(t *testing.T) {
	h := processtest.Start(t, processtest.Command(t, "sleep"))
	h.Line(t)
	id, p := opened(t, h)
	if p.PID() != h.PID() || p.Identity() != id {
		t.Errorf("a handle on %+v, want %+v", p.Identity(), id)
	}
	if err := p.Signal(0); err != nil {
		t.Errorf("signal 0 to a live process: %v", err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.Wait(deadline) {
		t.Fatal("SIGKILL did not end it")
	}
	h.Kill() // reaped: the pid is free
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		if err := p.Signal(sig); !errors.Is(err, ErrGone) {
			t.Errorf("%v: %v, want ErrGone", sig, err)
		}
	}
	if !p.Wait(0) {
		t.Error("the handle has forgotten the end")
	}
}

func TestWaitReturnsWithTheEndOrInTime(t *testing.T) {
	h := processtest.Start(t, processtest.Command(t, "sleep"))
	h.Line(t)
	_, p := opened(t, h)
	for _, d := range []time.Duration{-time.Second, 0, 30 * time.Millisecond} {
		began := time.Now()
		if p.Wait(d) {
			t.Fatalf("Wait(%v): it has not ended", d)
		}
		if waited := time.Since(began); waited < d || waited > d+deadline/2 {
			t.Errorf("Wait(%v) took %v", d, waited)
		}
	}
	began := time.Now()
	time.AfterFunc(20*time.Millisecond, func() { h.Stdin.Close() })
	if !p.Wait(time.Hour) {
		t.Fatal("it has ended")
	}
	if waited := time.Since(began); waited > deadline/2 {
		t.Errorf("noticed the end after %v", waited)
	}
}

// inSession gives cmd a session of its own.
func inSession(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	return cmd
}

// TestInitIsAliveAndNobodysToEnd: it may be the client of a tunnel in a container, where the program that runs first is init.
func TestInitIsAliveAndNobodysToEnd(t *testing.T) {
	t.Parallel()
	id, err := Identify(1)
	if err != nil {
		t.Skipf("init is hidden here: %v", err)
	}
	if !id.Alive() {
		t.Error("it counts as ended")
	}
	if p, err := Open(id); !errors.Is(err, ErrGone) {
		t.Errorf("opened %v, %v", p, err)
	}
}
