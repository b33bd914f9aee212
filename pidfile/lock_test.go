package pidfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
)

// within opens the directory args[0] for a helper.
func within(args []string) (Dir, error) { return PrivateDir(args[0], false, true) }

func holdLock(args []string) error {
	d, err := within(args)
	if err != nil {
		return err
	}
	l, err := d.Lock(context.Background(), testKey)
	if err != nil {
		return err
	}
	fmt.Println("locked")
	return errors.Join(processtest.UntilEOF(), l.Unlock())
}

// countUnderLock adds 1 to the number in the file args[1], args[2] times. The way it does so loses updates unless it is alone.
func countUnderLock(args []string) error {
	d, err := within(args)
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	for range times {
		l, err := d.Lock(context.Background(), testKey)
		if err != nil {
			return err
		}
		if err := errors.Join(increment(args[1]), l.Unlock()); err != nil {
			return err
		}
	}
	return nil
}

func increment(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600)
}

// churnLock makes and removes the record until it is killed.
func churnLock(args []string) error {
	d, err := within(args)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		l, err := d.Lock(context.Background(), testKey)
		if err != nil {
			return err
		}
		if err := errors.Join(l.Write(testRecord()), l.Remove(), l.Unlock()); err != nil {
			return err
		}
	}
}

func TestLockLetsOneProcessIn(t *testing.T) {
	t.Parallel()
	d := testDir(t)
	counter := filepath.Join(t.TempDir(), "counter")
	if err := os.WriteFile(counter, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	const processes, times = 6, 25
	var helpers []*processtest.Helper
	for range processes {
		helpers = append(helpers, processtest.Start(t, processtest.Command(t, "count", d.Path(), counter, strconv.Itoa(times))))
	}
	for _, h := range helpers {
		if err := h.Cmd.Wait(); err != nil {
			t.Errorf("a helper failed: %v", err)
		}
	}
	if got, err := os.ReadFile(counter); err != nil || string(got) != strconv.Itoa(processes*times) {
		t.Errorf("counted to %s, %v; want %d", got, err, processes*times)
	}
	if left := names(t, d); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestUnlockedIsUnlockedWhoeverElseHasTheFile: so has a process between its fork and its exec.
func TestUnlockedIsUnlockedWhoeverElseHasTheFile(t *testing.T) {
	t.Parallel()
	d, rec := recordDir(t)
	lock, err := d.Lock(t.Context(), rec.Key())
	if err != nil {
		t.Fatal(err)
	}
	shared, err := unix.Dup(int(lock.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(shared)
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := d.tryLock(rec.Key())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestLockLetsOneGoroutineIn(t *testing.T) {
	t.Parallel()
	d := testDir(t)
	var all sync.WaitGroup
	var inside, entered atomic.Int32
	for range 16 {
		all.Go(func() {
			for range 5 {
				l, err := d.Lock(t.Context(), testKey)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				entered.Add(1)
				runtime.Gosched()
				inside.Add(-1)
				if err := l.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := entered.Load(); n != 16*5 {
		t.Errorf("%d times held, want %d", n, 16*5)
	}
	if left := names(t, d); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKilledHoldersNeverLeaveTheLockStuck(t *testing.T) {
	t.Parallel()
	d := testDir(t)
	for range 8 {
		var helpers []*processtest.Helper
		for range 3 {
			helpers = append(helpers, processtest.Start(t, processtest.Command(t, "churn", d.Path())))
		}
		for _, h := range helpers {
			h.Line(t)
		}
		time.Sleep(rand.N(5 * time.Millisecond)) // any instant of their work is as good as another
		for _, h := range helpers {
			h.Kill()
		}
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		l, err := d.Lock(ctx, testKey)
		cancel()
		if err != nil {
			t.Fatalf("nobody is left who could hold the lock: %v", err)
		}
		if rec, err := l.Read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half a record: %+v, %v", rec, err)
		}
		if err := errors.Join(l.Remove(), l.Unlock()); err != nil {
			t.Fatal(err)
		}
		left := slices.DeleteFunc(names(t, d), func(name string) bool {
			return strings.HasPrefix(name, testKey.Name()+".lock.") // a temporary file of the lockfile package's
		})
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestBusyErrorNamesTheHolder(t *testing.T) {
	t.Parallel()
	d := testDir(t)
	holder := processtest.Start(t, processtest.Command(t, "hold", d.Path()))
	holder.Line(t)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := d.Lock(ctx, testKey)
	var busy *BusyError
	if !errors.As(err, &busy) || busy.PID != holder.PID() || !strings.Contains(err.Error(), strconv.Itoa(holder.PID())) {
		t.Errorf("error %v, want a BusyError that names pid %d", err, holder.PID())
	}
	if waited := time.Since(began); waited < 50*time.Millisecond || waited > deadline/2 {
		t.Errorf("waited %v, want until the context was done", waited)
	}
	other := Key{"other.example.com:3389", "auto"}
	if l, err := d.Lock(t.Context(), other); err != nil {
		t.Errorf("another key's lock: %v", err)
	} else if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	holder.Stdin.Close()
	l := mustLock(t, d, testKey)
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if left := names(t, d); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFreeLockIsHadAlsoWhenTimeIsUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l, err := testDir(t).Lock(ctx, testKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestLockTakesOverWhatTheDeadLeft(t *testing.T) {
	gone := processtest.Start(t, processtest.Command(t, "sleep"))
	gone.Line(t)
	gone.Kill()
	for name, owner := range map[string]string{
		"a dead owner":       strconv.Itoa(gone.PID()),
		"a live stranger":    strconv.Itoa(os.Getppid()),
		"ourselves":          strconv.Itoa(os.Getpid()),
		"init":               "1",
		"nobody":             "",
		"something else":     "owned\n",
		"a negative process": "-1",
	} {
		t.Run(name, func(t *testing.T) {
			d := testDir(t)
			for path, text := range map[string]string{d.ownerPath(testKey): owner + "\n", d.flockPath(testKey): ""} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			l := mustLock(t, d, testKey)
			if text, err := os.ReadFile(d.ownerPath(testKey)); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(os.Getpid()) {
				t.Errorf("the lock file says %q, %v", text, err)
			}
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
			if left := names(t, d); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestALostLockChangesNothing: where the directory of records was removed under a lock, what is there afterwards is another process's.
func TestALostLockChangesNothing(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(Dir) error{
		"with its directory": func(d Dir) error { return errors.Join(os.RemoveAll(d.Path()), os.Mkdir(d.Path(), 0o700)) },
		"alone":              func(d Dir) error { return os.Remove(d.flockPath(testKey)) },
	} {
		d := testDir(t)
		lost := mustLock(t, d, testKey)
		if err := remove(d); err != nil {
			t.Fatal(err)
		}
		held := mustLock(t, d, testKey)
		rec := testRecord()
		rec.Token = "ANOTHER"
		if err := held.Write(rec); err != nil {
			t.Fatal(err)
		}
		want := names(t, d)
		var unwritten *WriteError
		if err := lost.Write(testRecord()); !errors.As(err, &unwritten) {
			t.Errorf("%s: written: %v", name, err)
		}
		if err := errors.Join(lost.Remove(), lost.Unlock()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := held.Read(); err != nil || got.Token != rec.Token || !slices.Equal(names(t, d), want) {
			t.Errorf("%s: there is %+v, %v, among %v; want %v", name, got, err, names(t, d), want)
		}
		if err := errors.Join(held.Remove(), held.Unlock()); err != nil || len(names(t, d)) > 0 {
			t.Errorf("%s: %v, and left %v", name, err, names(t, d))
		}
	}
}

func TestLockFollowsNoLink(t *testing.T) {
	d := testDir(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(victim, d.flockPath(testKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(t.Context(), testKey); err == nil || !strings.Contains(err.Error(), d.flockPath(testKey)) {
		t.Errorf("error %v, want one that names the link", err)
	}
	if _, err := os.Lstat(victim); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link's target was made: %v", err)
	}
}

func TestLockSaysWhereItCannotBeHad(t *testing.T) {
	asOrdinaryUser(t, func(t *testing.T) {
		d := testDir(t)
		if err := os.Chmod(d.Path(), 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(d.Path(), 0o700) })
		if _, err := d.Lock(t.Context(), testKey); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), d.Path()) {
			t.Errorf("error %v, want one of permission that names the file", err)
		}
	})
}

func TestLockIfUsedLeavesAnUnusedKeyAlone(t *testing.T) {
	d := testDir(t)
	if l, err := d.LockIfUsed(t.Context(), testKey); l != nil || err != nil {
		t.Fatalf("a lock of a key that nobody uses: %v, %v", l, err)
	}
	if left := names(t, d); len(left) > 0 {
		t.Errorf("asking has left %v", left)
	}
	holder := mustLock(t, d, testKey) // somebody is making a record
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var busy *BusyError
	if _, err := d.LockIfUsed(ctx, testKey); !errors.As(err, &busy) {
		t.Errorf("error %v, want a BusyError", err)
	}
	if err := errors.Join(holder.Write(testRecord()), holder.Unlock()); err != nil {
		t.Fatal(err)
	}
	l, err := d.LockIfUsed(t.Context(), testKey)
	if l == nil || err != nil {
		t.Fatalf("the lock of a record: %v, %v", l, err)
	}
	if err := errors.Join(l.Remove(), l.Unlock()); err != nil {
		t.Error(err)
	}
}
