package hook_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// held asks for a relay's tunnel that is there for some processes.
func (w *account) held(by ...*player) hook.StartRequest {
	req := w.request(w.relay(), tunnel.ReadyListen)
	for _, p := range by {
		req.EndWith = append(req.EndWith, p.id)
	}
	return req
}

func (w *account) keptAlive(by ...*player) hook.StartRequest {
	req := w.held(by...)
	req.KeepAlive = true
	return req
}

func newRelayWorld(t *testing.T) *account {
	t.Helper()
	t.Parallel()
	return newAccount(t, tunneltest.ResponderOptions{})
}

// keepers are the world's living keepers.
func (w *account) keepers() []process.Identity {
	return slices.DeleteFunc(w.left(), func(id process.Identity) bool {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
		return !strings.HasSuffix(string(cmdline), "\x00keeper\x00")
	})
}

func (w *account) status() hook.State {
	w.t.Helper()
	tunnels, bad, err := w.Status("", "")
	if err != nil || len(bad) > 0 || len(tunnels) > 1 {
		w.t.Fatal(tunnels, bad, err)
	}
	if len(tunnels) == 0 {
		return ""
	}
	return tunnels[0].State
}

func TestATunnelEndsWithItsHolder(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	w.never(time.Second, "the tunnel ends before its holder", func() bool { return !w.served() })
	holder.kill()
	tunneltest.Eventually(t, "the tunnel ends with its holder", w.gone)
	w.nothingLeft()
}

func TestATunnelEndsWithTheLastOfItsHolders(t *testing.T) {
	w := newRelayWorld(t)
	first, second := w.holder(), w.holder()
	w.mustStart(w.held(first))
	w.mustStart(w.held(second))
	if got := len(w.keepers()); got != 1 {
		t.Errorf("there are %d keepers, want 1", got)
	}
	first.kill()
	w.never(1200*time.Millisecond, "the tunnel ends with the first of its holders", func() bool { return !w.served() })
	second.kill()
	tunneltest.Eventually(t, "the tunnel ends with the last of its holders", w.gone)
	w.nothingLeft()
}

func TestATunnelForAProcessThatIsGoneAlreadyDoesNotStay(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	holder.kill()
	_, _ = w.Start(w.context(), w.held(holder)) // whether it was ready for an instant does not matter
	w.nothingLeft()
}

func TestAHolderThatGoesWhileClientsAreConnectedCutsNobodyOff(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	client := w.client()
	holder.kill()
	w.never(1200*time.Millisecond, "a session is cut", func() bool { return !w.served() })
	client.kill()
	tunneltest.Eventually(t, "the tunnel ends when the client has left", w.gone)
	w.nothingLeft()
}

func TestAHolderThatDiesDuringTheSignInEndsTheWait(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	holder := w.holder()
	req := w.request(desk, tunnel.ReadyRDP)
	req.EndWith = []process.Identity{holder.id}
	done := w.starting(w.context(), req)
	w.nextSignIn()
	holder.kill()
	var stopped *hook.StoppedError
	if o := <-done; !errors.As(o.err, &stopped) {
		t.Errorf("start returned %v", o.err)
	}
	w.nothingLeft()
}

func TestAKeptTunnelOutlivesItsHoldersAndNeedsNoKeeperThen(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	keeper := w.keeper()
	w.mustStart(w.held()) // for good
	holder.kill()
	tunneltest.Eventually(t, "the keeper goes", func() bool { return !keeper.Alive() })
	if rec := w.mustRecord(); !rec.Tunnel.Alive() || rec.Keeper != (process.Identity{}) {
		t.Errorf("the record is %+v", rec)
	}
	w.mustStart(w.held())
	if got := w.keepers(); len(got) > 0 {
		t.Errorf("there are %d keepers for no promise", len(got))
	}
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.nothingLeft()
}

func TestATunnelWithoutPromisesHasNoKeeper(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	if got := w.keepers(); len(got) > 0 {
		t.Errorf("there are %d keepers", len(got))
	}
}

// idleStopFor starts a tunnel that ends when it was idle for d, and gives a client of it, who has come before that counts.
func (w *account) idleStopFor(d time.Duration) (client *player) {
	w.t.Helper()
	w.mustStart(w.held())
	client = w.client()
	req := w.held()
	req.IdleStop = d
	w.mustStart(req)
	return client
}

func TestAnIdleTunnelEnds(t *testing.T) {
	w := newRelayWorld(t)
	client := w.idleStopFor(2 * time.Second)
	w.never(4*time.Second, "the tunnel ends under its client", func() bool { return !w.served() })
	began := time.Now()
	client.kill()
	tunneltest.Eventually(t, "the tunnel ends when nobody was connected for so long", w.gone)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it ended %v after its client", took)
	}
	w.nothingLeft()
}

func TestAnIdleTunnelWaitsForAClientThatMayConnectAgain(t *testing.T) {
	w := newRelayWorld(t)
	client := w.idleStopFor(2 * time.Second)
	w.keeperWatches(client.id)
	client.say("leave")
	client.expect("left")
	w.never(4*time.Second, "the tunnel ends although its client lives", func() bool { return !w.served() })
	client.kill()
	tunneltest.Eventually(t, "the tunnel ends when the client is gone", w.gone)
	w.nothingLeft()
}

func TestATunnelIsNotIdleBeforeItListens(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	req := w.request(desk, tunnel.ReadyRDP)
	req.IdleStop = 500 * time.Millisecond
	done := w.starting(w.context(), req)
	page := w.nextSignIn()
	w.never(2*time.Second, "the tunnel ends while somebody signs in", func() bool { _, ok := w.record(); return !ok })
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	if o := <-done; o.err != nil {
		t.Fatal(o.err)
	}
	tunneltest.Eventually(t, "the idle tunnel ends", w.gone)
	w.nothingLeft()
}

// TestATunnelIsNotIdleBeforeItsStartReturns, however short --idle-stop and slow the machine.
func TestATunnelIsNotIdleBeforeItsStartReturns(t *testing.T) {
	w := newRelayWorld(t)
	listen := filepath.Join(w.dir, "listen")
	w.Environ = append(w.Environ, "TUNNELTEST_AWAIT="+listen)
	req := w.request(desk, tunnel.ReadyListen)
	req.IdleStop = time.Millisecond
	start := w.process("start", req)
	tunneltest.Eventually(t, "the program is launched", func() bool { rec, ok := w.record(); return ok && rec.Keeper.Alive() })
	w.freeze(start.id.PID) // before it has seen the program listen
	check(t, os.WriteFile(listen, nil, 0o600))
	tunneltest.Eventually(t, "it listens", w.served)
	w.never(3*time.Second, "the tunnel ends before its start returns", func() bool { return !w.served() })
	send(t, start.id, syscall.SIGCONT)
	check(t, start.cmd.Wait())
	tunneltest.Eventually(t, "the idle tunnel ends", w.gone)
}

func TestAProgramThatDiesUnderItsClientIsStartedAgain(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.keptAlive())
	client := w.client()
	for range 3 { // with a pause from the second time on
		rec := w.mustRecord()
		w.awaitKeeper()
		w.keeperWatches(client.id)
		kill(rec.Tunnel)
		tunneltest.Eventually(t, "the program is there again", func() bool {
			now, ok := w.record()
			return ok && now.Tunnel != rec.Tunnel && now.Tunnel.Alive() && w.served()
		})
		client.say("connect")
		client.expect("connected")
		if now := w.mustRecord(); now.Token != rec.Token || now.Keeper != rec.Keeper || now.Address != rec.Address {
			t.Errorf("the record was %+v and is %+v", rec, now)
		}
	}
	if err := w.answers(); err != nil {
		t.Error(err)
	}
	client.kill()
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.nothingLeft()
}

// TestAStartUnderAnotherNameAndAKeeperMakeOneTunnel, whoever of the two is quicker to launch the program again that has died.
func TestAStartUnderAnotherNameAndAKeeperMakeOneTunnel(t *testing.T) {
	w := newRelayWorld(t)
	config, err := w.gateway.Config(w.dir, "--browser-cmd", "true")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(w.dir, "config.toml"), []byte(config+"\n[tunnel.work]\nroute = \""+desk+"\"\n"), 0o600))
	holder := w.holder()
	req := w.keptAlive(holder)
	req.Route = "work"
	was := w.mustStart(req).Record
	w.awaitKeeper()
	w.freeze(was.Keeper.PID)
	kill(was.Tunnel)
	listen := filepath.Join(w.dir, "listen")
	slow := hookOf(append(slices.Clone(w.Environ), "TUNNELTEST_AWAIT="+listen))
	done := make(chan outcome, 1)
	go func() {
		started, err := slow.Start(w.context(), w.request(desk, tunnel.ReadyListen))
		done <- outcome{started: started, err: err}
	}()
	tunneltest.Eventually(t, "the start has launched its program", func() bool {
		logs, _ := filepath.Glob(filepath.Join(w.dir, "log", "*"))
		return len(logs) == 2
	})
	send(t, was.Keeper, syscall.SIGCONT)
	tunneltest.Eventually(t, "the keeper's program listens", w.served)
	check(t, os.WriteFile(listen, nil, 0o600))
	o := <-done
	check(t, o.err)
	now := w.mustRecord() // the only one
	if !o.started.Found || o.started.Record.Token != was.Token || now.Token != was.Token || !now.ForGood || !now.Tunnel.Alive() {
		t.Errorf("started is %+v, and recorded %+v", o.started, now)
	}
	w.mustStop(hook.StopRequest{Route: desk, Now: true})
	holder.kill()
	w.nothingLeft()
}

func TestAFollowedLogGoesOnUntilTheProgramIsStartedAgain(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.keptAlive(holder))
	w.awaitKeeper()
	rec := w.mustRecord()
	log, done := w.following(w.relay())
	tunneltest.Eventually(t, "the log is copied", func() bool { return log.String() != "" })
	w.freeze(rec.Keeper.PID)
	kill(rec.Tunnel)
	select {
	case err := <-done:
		t.Fatalf("it ended before the keeper could act: %v", err)
	case <-time.After(time.Second):
	}
	send(t, rec.Keeper, syscall.SIGCONT)
	tunneltest.Eventually(t, "the keeper has started the program again", func() bool {
		now, ok := w.record()
		return ok && now.Tunnel != rec.Tunnel && now.Tunnel.Alive() && strings.Contains(log.String(), "starting it again")
	})
	w.mustStop(hook.StopRequest{Route: w.relay(), Now: true})
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-w.context().Done():
		t.Error("it goes on although the tunnel has ended")
	}
	holder.kill()
	w.nothingLeft()
}

func TestAProgramThatDiesWhenItsClientIsGoneStaysDead(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.keptAlive())
	client := w.client()
	w.keeperWatches(client.id)
	client.kill()
	program := w.mustRecord().Tunnel
	kill(program)
	tunneltest.Eventually(t, "the program is dead", func() bool { return !program.Alive() && !w.served() })
	w.never(1500*time.Millisecond, "it is started again", w.served)
	w.nothingLeft()
}

func TestAStoppedProgramIsNotStartedAgain(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.keptAlive(holder))
	client := w.client()
	w.keeperWatches(client.id)
	w.mustStop(hook.StopRequest{Route: w.relay(), Now: true})
	w.never(1500*time.Millisecond, "it is started again", w.served)
	client.kill()
	holder.kill()
	w.nothingLeft()
}

func TestAProgramThatDiesAgainAndAgainIsGivenTime(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.keptAlive(holder))
	rec := w.mustRecord()
	w.awaitKeeper()
	began := time.Now()
	kill(rec.Tunnel)
	for range 4 {
		tunneltest.Eventually(t, "it is started again", func() bool {
			now, ok := w.record()
			again := ok && now.Tunnel != rec.Tunnel && now.Tunnel.Alive()
			if again {
				rec = now
			}
			return again
		})
		kill(rec.Tunnel)
	}
	if took := time.Since(began); took < 2*time.Second { // pauses of 0.4, 0.8 and 1.6 s lie between them
		t.Errorf("it was started 4 times within %v", took)
	}
	w.mustStop(hook.StopRequest{Route: w.relay(), Now: true})
	holder.kill()
	w.nothingLeft()
}

func TestStopOfATunnelInUseSaysByWhomAndEndsItAfterThem(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	first, second := w.client(), w.client()
	stopped := w.mustStop(hook.StopRequest{Route: w.relay()}) // which waits for nobody
	var pids []int
	for _, peer := range stopped.InUse {
		pids = append(pids, peer.PID)
	}
	want := []int{first.id.PID, second.id.PID}
	slices.Sort(want)
	if !slices.Equal(pids, want) {
		t.Errorf("in use by %v, want %v", stopped.InUse, want)
	}
	first.kill()
	w.never(time.Second, "the second session is cut", func() bool { return !w.served() })
	if got := w.status(); got != hook.EndsIdle {
		t.Errorf("its state is %q", got)
	}
	second.kill()
	tunneltest.Eventually(t, "the tunnel ends with its last client", w.gone)
	w.nothingLeft()
}

// A client that closes a window and lives on, as Remmina with another one open, leaves without a process that ends.
func TestAStoppedTunnelEndsWhenAClientThatLivesOnHasLeft(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	client := w.client()
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.never(2*time.Second, "the session is cut", func() bool { return !w.served() })
	client.say("leave")
	client.expect("left")
	tunneltest.Eventually(t, "the tunnel ends", w.gone)
	client.kill()
	w.nothingLeft()
}

func TestStopNowCutsTheClients(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	client := w.client()
	if stopped := w.mustStop(hook.StopRequest{Route: w.relay(), Now: true}); len(stopped.InUse) > 0 || !w.gone() {
		t.Errorf("stopped %+v", stopped)
	}
	client.kill()
	w.nothingLeft()
}

func TestStopNowAfterAStopThatWaits(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	client := w.client()
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.mustStop(hook.StopRequest{Route: w.relay(), Now: true})
	if !w.gone() {
		t.Error("it is still there")
	}
	client.kill()
	w.nothingLeft()
}

func TestStopWaitReturnsWhenTheLastClientHasLeft(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	client := w.client()
	done := make(chan error, 1)
	go func() {
		_, err := w.Stop(w.context(), hook.StopRequest{Route: w.relay(), Listen: w.address, Wait: true})
		done <- err
	}()
	w.never(time.Second, "stop returns before", func() bool { return len(done) > 0 })
	client.kill()
	if err := <-done; err != nil || !w.gone() {
		t.Errorf("stop returned %v, gone: %v", err, w.gone())
	}
	w.nothingLeft()
}

func TestAStartTakesAStopBack(t *testing.T) {
	w := newRelayWorld(t)
	w.mustStart(w.held())
	client := w.client()
	w.mustStop(hook.StopRequest{Route: w.relay()})
	keeper := w.keeper()
	if again := w.mustStart(w.held()); !again.Found {
		t.Errorf("got %+v", again)
	}
	client.kill()
	w.never(1500*time.Millisecond, "the tunnel that is wanted ends", func() bool { return !w.served() })
	tunneltest.Eventually(t, "the keeper goes: nothing is promised any more", func() bool { return !keeper.Alive() })
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.nothingLeft()
}

func TestWithoutItsKeeperATunnelLivesAndTheNextStartGivesItAnother(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.keptAlive(holder))
	first := w.keeper()
	w.awaitKeeper()
	kill(first)
	tunneltest.Eventually(t, "the keeper is gone", func() bool { return !first.Alive() })
	if err := w.answers(); err != nil {
		t.Errorf("without a keeper: %v", err)
	}
	w.mustStart(w.keptAlive(holder))
	if second := w.keeper(); second == first {
		t.Error("there is no other keeper")
	}
	w.awaitKeeper()
	rec := w.mustRecord()
	kill(rec.Tunnel)
	tunneltest.Eventually(t, "the other keeper keeps the promise", func() bool {
		now, ok := w.record()
		return ok && now.Tunnel != rec.Tunnel && w.served()
	})
	holder.kill()
	tunneltest.Eventually(t, "and the other one", w.gone)
	w.nothingLeft()
}

func TestWithoutItsKeeperATunnelIsStillStopped(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	keeper := w.keeper()
	w.awaitKeeper()
	kill(keeper)
	w.mustStop(hook.StopRequest{Route: w.relay()})
	holder.kill()
	w.nothingLeft()
}

// The keeper that a stop starts does not know how the tunnel program was launched.
func TestAStartReplacesAKeeperThatCannotKeepItsPromise(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.keptAlive(holder))
	first := w.keeper()
	w.awaitKeeper() // killed while it takes the lock it would leave a file of the lockfile package's
	kill(first)
	tunneltest.Eventually(t, "the keeper is gone", func() bool { return !first.Alive() })
	client := w.client()
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.keeper()
	w.mustStart(w.keptAlive(holder)) // the stop has taken back what was promised before it
	rec := w.mustRecord()
	w.awaitKeeper()
	kill(rec.Tunnel)
	tunneltest.Eventually(t, "the tunnel program is started again", func() bool {
		now, ok := w.record()
		return ok && now.Tunnel != rec.Tunnel && w.served()
	})
	w.mustStop(hook.StopRequest{Route: w.relay(), Now: true})
	client.kill()
	holder.kill()
	w.nothingLeft()
}

// A stop takes back all that was promised before it, of whatever kind.
func TestAStopTakesBackEveryPromise(t *testing.T) {
	w := newRelayWorld(t)
	holder, client := w.holder(), w.client
	req := w.keptAlive(holder)
	req.IdleStop = time.Hour
	w.mustStart(req)
	connected := client()
	w.mustStop(hook.StopRequest{Route: w.relay()})
	if got := w.mustRecord().Promise; !got.Equal(pidfile.Promise{}) {
		t.Errorf("after a stop %+v is still promised", got)
	}
	other := w.holder()
	w.mustStart(w.held(other))
	if got := w.mustRecord().Promise; !got.Equal(pidfile.Promise{EndWith: []process.Identity{other.id}}) {
		t.Errorf("after another start %+v is promised", got)
	}
	connected.kill()
	other.kill()
	tunneltest.Eventually(t, "the tunnel ends with the one that still wants it", w.gone)
	holder.kill()
	w.nothingLeft()
}

func TestManyStartsAtOnceGiveOneKeeper(t *testing.T) {
	w := newRelayWorld(t)
	holders := []*player{w.holder(), w.holder(), w.holder(), w.holder()}
	for range 3 {
		var all []<-chan outcome
		for _, h := range holders {
			all = append(all, w.starting(w.context(), w.keptAlive(h)))
		}
		for _, o := range all {
			if got := <-o; got.err != nil {
				t.Fatal(got.err)
			}
		}
		keeper := w.keeper()
		tunneltest.Eventually(t, "there is one keeper", func() bool { return slices.Equal(w.keepers(), []process.Identity{keeper}) })
		if got := w.mustRecord(); len(got.EndWith) != len(holders) || got.ForGood {
			t.Errorf("the record is %+v", got)
		}
		w.awaitKeeper()
		kill(keeper)
		tunneltest.Eventually(t, "it is gone", func() bool { return !keeper.Alive() })
	}
	w.mustStop(hook.StopRequest{Route: w.relay()})
	for _, h := range holders {
		h.kill()
	}
	w.nothingLeft()
}

// A keeper that does not get to notice that its tunnel has ended must not live to act on what it remembers.
func TestStopEndsAKeeperThatIsFrozen(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	w.mustStart(w.held(holder))
	old := w.keeper()
	w.awaitKeeper()
	w.freeze(old.PID)
	w.mustStop(hook.StopRequest{Route: w.relay()})
	if old.Alive() {
		t.Error("the keeper is there when the tunnel is gone")
	}
	other := w.holder()
	w.mustStart(w.held(other)) // the same key, another tunnel with a keeper of its own
	holder.kill()
	if !w.served() || w.keeper() == old || !w.keeper().Alive() {
		t.Error("the new tunnel has no keeper of its own")
	}
	other.kill()
	tunneltest.Eventually(t, "the other keeper keeps its promise", w.gone)
	w.nothingLeft()
}

// running is a run of a client over the world's tunnel.
func (w *account) running() *player {
	w.t.Helper()
	return w.process("run", runArgument{w.held(), []string{w.Self, "client", "{address}"}})
}

func TestARunThatIsKilledEndsItsTunnel(t *testing.T) {
	w := newRelayWorld(t)
	run := w.running()
	run.expect("connected")
	_ = run.cmd.Process.Kill() // the client sees the end of its stdin
	_ = run.stdin.Close()
	tunneltest.Eventually(t, "the tunnel ends", w.gone)
	run.kill()
	w.nothingLeft()
}

func TestARunThatEndsEndsItsTunnel(t *testing.T) {
	w := newRelayWorld(t)
	run := w.running()
	run.expect("connected")
	_ = run.stdin.Close()
	if err := run.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !w.gone() {
		t.Error("the tunnel has outlived its run")
	}
	w.nothingLeft()
}

func TestARunLeavesItsTunnelToAnotherClient(t *testing.T) {
	w := newRelayWorld(t)
	run := w.running()
	run.expect("connected")
	client := w.client()
	_ = run.stdin.Close()
	if err := run.cmd.Wait(); err != nil {
		t.Error(err)
	}
	w.never(time.Second, "the other session is cut", func() bool { return !w.served() })
	client.kill()
	tunneltest.Eventually(t, "the tunnel ends with its last client", w.gone)
	w.nothingLeft()
}

// swapProgram puts a program of the tests' in the place of pomerium-cli, at once; none for one that cannot be executed.
func (w *account) swapProgram(program string) {
	w.t.Helper()
	w.replaceProgram(func(path string) error {
		if program == "" {
			return os.WriteFile(path, []byte("no program\n"), 0o700)
		}
		return os.Symlink(program, path)
	})
}

// replaceProgram puts what write writes in the place of pomerium-cli, at once.
func (w *account) replaceProgram(write func(path string) error) {
	w.t.Helper()
	fresh := filepath.Join(w.dir, "fresh")
	check(w.t, write(fresh))
	check(w.t, os.Rename(fresh, filepath.Join(w.dir, "pomerium-cli")))
}

// logged tells whether the log of the world's only tunnel holds a text.
func (w *account) logged(text string) bool {
	logs, _ := filepath.Glob(filepath.Join(w.LogDir, "*.log"))
	return slices.ContainsFunc(logs, func(path string) bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(data), text)
	})
}

func TestAProgramThatCannotBeExecutedForAWhileIsStartedAgain(t *testing.T) {
	w := newRelayWorld(t)
	holder := w.holder()
	req := w.keptAlive(holder)
	req.Route = desk
	w.mustStart(req)
	rec := w.mustRecord()
	w.awaitKeeper()
	w.swapProgram("")
	kill(rec.Tunnel)
	tunneltest.Eventually(t, "it is tried to start it", func() bool { return w.logged("cannot be executed") })
	if now := w.mustRecord(); now.Token != rec.Token || now.Keeper != rec.Keeper || !now.Keeper.Alive() {
		t.Errorf("the record was %+v and is %+v", rec, now)
	}
	w.swapProgram(w.Self)
	tunneltest.Eventually(t, "the program is there again", w.served)
	w.mustStop(hook.StopRequest{Route: desk})
	holder.kill()
	w.nothingLeft()
}

func TestAProgramThatCannotBeExecutedAfterTheSignInLeavesNothing(t *testing.T) {
	w := newRelayWorld(t)
	done := w.starting(w.context(), w.request(desk, tunnel.ReadyRDP))
	page := w.nextSignIn()
	w.swapProgram("")
	if err := w.gateway.SignIn(w.context(), page); err != nil {
		t.Fatal(err)
	}
	var failed *tunnel.ProgramError
	if o := <-done; !errors.As(o.err, &failed) {
		t.Errorf("start returned %v", o.err)
	}
	w.nothingLeft()
}

func TestAStartOfAProgramThatCannotBeExecutedLeavesNothing(t *testing.T) {
	w := newRelayWorld(t)
	w.swapProgram("")
	var failed *tunnel.ProgramError
	if _, err := w.Start(w.context(), w.request(desk, tunnel.ReadyListen)); !errors.As(err, &failed) {
		t.Errorf("start returned %v", err)
	}
	w.nothingLeft()
}

// stopping is a stop beside the test that has marked its tunnel as ending.
func (w *account) stopping(req hook.StopRequest) *player {
	w.t.Helper()
	req.Listen = w.address
	stop := w.process("stop", req)
	tunneltest.Eventually(w.t, "the stop has begun", func() bool { return w.mustRecord().Ending })
	return stop
}

// stubborn starts a tunnel whose program ignores SIGTERM.
func stubborn(t *testing.T) (w *account, holder *player) {
	t.Helper()
	t.Parallel()
	w = newAccount(t, tunneltest.ResponderOptions{}, "TUNNELTEST_IGNORE_TERM=1")
	holder = w.holder()
	req := w.held(holder)
	req.Route = desk
	w.mustStart(req)
	w.awaitKeeper()
	return w, holder
}

func TestAKeeperFinishesWhatAKilledStopHasBegun(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]bool{"its holder lives": true, "its holder is gone": false} {
		t.Run(name, func(t *testing.T) {
			w, holder := stubborn(t)
			w.stopping(hook.StopRequest{Route: desk, Grace: 15 * time.Second}).kill() // before that is over
			if !held {
				holder.kill()
			}
			if !w.served() {
				t.Fatal("the stop was killed too late")
			}
			tunneltest.Eventually(t, "the tunnel ends", w.gone)
			holder.kill()
			w.nothingLeft()
		})
	}
}

func TestAKeeperStaysWhileSomebodyElseEndsItsTunnel(t *testing.T) {
	w, holder := stubborn(t)
	keeper := w.keeper()
	stop := w.stopping(hook.StopRequest{Route: desk, Grace: time.Minute})
	holder.kill()
	w.never(2*time.Second, "the keeper leaves, or ends the tunnel", func() bool { return !keeper.Alive() || !w.served() })
	kill(w.mustRecord().Tunnel)
	if err := stop.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left := w.left(); len(left) > 0 || !w.gone() {
		t.Errorf("the stop has left %v behind", left)
	}
	w.nothingLeft()
}

func TestATunnelWhoseRecordIsGoneStillEndsAsWasPromised(t *testing.T) {
	t.Parallel()
	for name, promise := range map[string]struct {
		make func(*account) hook.StartRequest
		keep func(w *account) (over func())
	}{
		"with its holder": {
			func(w *account) hook.StartRequest { return w.held(w.holder()) },
			func(w *account) func() {
				id := w.mustRecord().EndWith[0]
				return func() { kill(id) }
			},
		},
		"when idle": {
			func(w *account) hook.StartRequest { return w.held() },
			func(w *account) func() {
				client := w.idleStopFor(500 * time.Millisecond)
				w.keeperWatches(client.id)
				return client.kill
			},
		},
		"after a stop": {
			func(w *account) hook.StartRequest { return w.held() },
			func(w *account) func() {
				client := w.client()
				w.mustStop(hook.StopRequest{Route: w.relay()})
				return client.kill
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRelayWorld(t)
			w.mustStart(promise.make(w))
			over := promise.keep(w)
			keeper := w.keeper()
			w.awaitKeeper()
			check(t, os.RemoveAll(w.RunDir))
			w.never(3500*time.Millisecond, "the tunnel ends, or its keeper leaves it", func() bool { return !w.served() || !keeper.Alive() })
			over()
			tunneltest.Eventually(t, "the tunnel ends", func() bool { return !w.served() })
			tunneltest.Eventually(t, "its keeper ends", func() bool { return !keeper.Alive() })
		})
	}
}

// Another login, another directory: what was started in the first is not what was started in the second.
func TestATunnelWhoseRecordIsAnothersNowStillEndsAsWasPromised(t *testing.T) {
	w := newRelayWorld(t)
	w.address = "" // each has its own
	first, second := w.holder(), w.holder()
	before := w.mustStart(w.held(first)).Record
	w.awaitKeeper()
	check(t, os.RemoveAll(w.RunDir))
	after := w.mustStart(w.held(second)).Record
	if before.Key() != after.Key() || before.Tunnel == after.Tunnel {
		t.Fatalf("started %+v and %+v", before, after)
	}
	first.kill()
	tunneltest.Eventually(t, "the first tunnel and its keeper end", func() bool { return !before.Tunnel.Alive() && !before.Keeper.Alive() })
	if !after.Tunnel.Alive() || w.keeper() != after.Keeper {
		t.Errorf("the second tunnel has not stayed as it was: %+v, now %+v", after, w.mustRecord())
	}
	second.kill()
	tunneltest.Eventually(t, "the second tunnel ends", func() bool { return !after.Tunnel.Alive() && !after.Keeper.Alive() })
}

// A look that fails, for want of descriptors perhaps, says nothing on the tunnel.
func TestAKeeperThatCannotReadItsRecordTriesAgain(t *testing.T) {
	w := newRelayWorld(t)
	first, second := w.holder(), w.holder()
	w.mustStart(w.held(first, second))
	keeper := w.keeper()
	w.awaitKeeper()
	records, err := filepath.Glob(filepath.Join(w.RunDir, "*.json"))
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	record, kept, link := records[0], filepath.Join(w.dir, "kept"), filepath.Join(w.dir, "link")
	check(t, os.Link(record, kept))
	check(t, os.Symlink(kept, link))
	check(t, os.Rename(link, record)) // which is not followed
	first.kill()                      // wakes the keeper
	tunneltest.Eventually(t, "the keeper has looked", func() bool { return !keeper.Alive() || w.logged("symbolic link") })
	w.never(200*time.Millisecond, "the keeper leaves", func() bool { return !keeper.Alive() })
	check(t, os.Rename(kept, record))
	second.kill()
	tunneltest.Eventually(t, "the tunnel ends", w.gone)
	w.nothingLeft()
}

// TestASignInThatARunningTunnelAsksForIsToldByItsKeeper: nobody else is there to tell.
func TestASignInThatARunningTunnelAsksForIsToldByItsKeeper(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{})
	holder := w.holder()
	req := w.request(desk, tunnel.ReadyListen)
	req.EndWith = []process.Identity{holder.id}
	w.mustStart(req)
	w.awaitKeeper()
	answered := make(chan error, 1)
	go func() { answered <- w.answers() }()
	page := w.nextSignIn()
	tunneltest.Eventually(t, "the keeper tells of it", func() bool { return w.logged("keeper: told " + desk + " " + page) })
	check(t, w.gateway.SignIn(w.context(), page))
	check(t, <-answered)
	tunneltest.Eventually(t, "and that it is over", func() bool { return w.logged("keeper: told no more") })
	holder.kill()
	w.nothingLeft()
	w.expectTabs(1)
}
