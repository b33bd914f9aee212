package hook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// newOddWorld makes an account that has odd's programs, each as the provider of a scheme with the name of its kind.
func newOddWorld(t *testing.T, server tunneltest.ResponderOptions) *account {
	t.Helper()
	t.Parallel()
	w := newAccount(t, server)
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	for _, kind := range []string{"once", "lost", "mute", "shy"} {
		_, err := config.WriteString("[provider." + kind + "]\ncommand = [\"{tunhook}\", \"odd\", \"" + kind + "\", \"{listen}\", \"{host}:{port}\"]\n")
		check(t, err)
	}
	check(t, config.Close())
	return w
}

// odd is a route to the world's server through such a program.
func (w *account) odd(kind string) string { return kind + "://" + w.server.Addr() }

// sleeps has the machine sleep, to the processes of this world.
func (w *account) sleeps(d time.Duration) {
	w.t.Helper()
	file := filepath.Join(w.dir, "slept")
	check(w.t, os.WriteFile(file+".new", []byte(d.String()), 0o600))
	check(w.t, os.Rename(file+".new", file))
}

// TestManyStartsMakeOneConnection, in turn and at once: a VNC server locks those out who have connected some times without logging in.
func TestManyStartsMakeOneConnection(t *testing.T) {
	t.Parallel()
	w := newAccount(t, tunneltest.ResponderOptions{Protocol: tunneltest.VNC, Delay: 300 * time.Millisecond})
	req := w.request(w.relay(), tunnel.ReadyVNC)
	var all sync.WaitGroup
	for range 7 {
		p := w.process("start", req)
		all.Go(func() {
			if err := p.cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for range 7 {
		w.mustStart(req)
	}
	if got := w.server.Connections(); got != 1 {
		t.Errorf("the server saw %d connections, want 1", got)
	}
	w.mustStop(hook.StopRequest{Route: w.relay()})
	w.mustStart(req) // of another program nobody knows that it was answered
	if got := w.server.Connections(); got != 2 {
		t.Errorf("the server saw %d connections, want 2", got)
	}
}

func TestATunnelInUseIsNotAsked(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	w.mustStart(w.request(w.odd("mute"), tunnel.ReadyListen))
	client := w.client()
	tunneltest.Eventually(t, "the client is there", func() bool { return w.server.Connections() == 1 })
	w.mustStart(w.request(w.odd("mute"), tunnel.ReadyRDP))
	if got := w.server.Connections(); got != 1 {
		t.Errorf("the server saw %d connections, want 1", got)
	}
	client.kill()
}

// tries are for a program that ends with its first connection: on a busy machine it may do so after start has looked once more, but not
// each time.
const tries = 20

// TestAProgramThatEndsWithItsFirstConnection leaves that to the client.
func TestAProgramThatEndsWithItsFirstConnection(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"once", "lost"} { // which ends with each of its connections here
		t.Run(kind, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			for try := 1; ; try++ {
				started := w.mustStart(w.request(w.odd(kind), tunnel.ReadyRDP))
				asked := w.server.Connections()
				again := w.mustStart(w.request(w.odd(kind), tunnel.ReadyListen))
				if again.Found && again.Record.Tunnel == started.Record.Tunnel && w.server.Connections() == asked {
					break
				}
				if try == tries {
					t.Fatalf("start said ready of %v; the next one, after %d connections: %+v", started.Record.Tunnel, asked, again)
				}
				w.mustStop(hook.StopRequest{Route: w.odd(kind)})
			}
			if err := w.answers(); err != nil {
				t.Errorf("the client: %v", err)
			}
		})
	}
}

// TestAServerThatComesUpLate is waited for as long as the caller says, and no longer than a moment where nobody has said how long.
func TestAServerThatComesUpLate(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"relay", "lost"} {
		t.Run(kind, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			late := loopbackAddress()
			req := w.request(kind+"://"+late, tunnel.ReadyRDP)
			_, err := w.Start(w.context(), req)
			var failed *hook.FailedError
			if !errors.As(err, &failed) || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("without a time it gave %v", err)
			}
			w.nothingLeft()

			req.Timeout = 15 * time.Second // the program must have been asked once by then
			if _, err := w.Start(w.context(), req); !errors.As(err, &failed) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("when the time was over it gave %v, want what has failed", err)
			}
			w.nothingLeft()

			config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
			check(t, err)
			_, err = config.WriteString("[tunnel.late]\nroute = '" + req.Route + "'\ntimeout = '" + tunneltest.Patience.String() + "'\n")
			check(t, errors.Join(err, config.Close()))
			req.Timeout, req.Route = 0, "late" // for which it is said there
			done := w.starting(w.context(), req)
			time.Sleep(1500 * time.Millisecond)
			server, err := net.Listen("tcp", late)
			check(t, err)
			defer server.Close()
			go relayTo(server, w.server.Addr())
			o := <-done
			check(t, o.err)
			for try := 1; ; try++ {
				err := w.answers()
				if err == nil {
					break
				}
				if kind != "lost" || try == tries {
					t.Fatalf("the client: %v", err)
				}
				w.mustStart(req)
			}
		})
	}
}

func relayTo(server net.Listener, target string) {
	_ = tunnel.AcceptAll(server.Accept, func(conn net.Conn) { go relayOne(conn, target) })
}

func relayOne(conn net.Conn, target string) {
	defer conn.Close()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(conn, to); conn.Close() }()
	_, _ = io.Copy(to, conn)
	to.Close()
}

// TestADeadTunnelIsReplaced by the next start, within the one call, and what was promised of it stands.
func TestADeadTunnelIsReplaced(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"its own connection is dead": syscall.SIGUSR1, "it was stopped": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			holder := w.holder()
			req := w.request(w.odd("mute"), tunnel.ReadyRDP)
			held := req
			held.EndWith, held.KeepAlive = append(held.EndWith, holder.id), true
			old := w.mustStart(held).Record
			send(t, old.Tunnel, signal)
			tunneltest.Eventually(t, "it has got the signal", func() bool { return old.Tunnel.Stopped() || w.logged("mute now\n") })
			began := time.Now()
			now := w.mustStart(req)
			if now.Found || now.Record.Tunnel == old.Tunnel || old.Tunnel.Alive() {
				t.Fatalf("after %v it is %+v", time.Since(began), now)
			}
			if rec := now.Record; rec.Token != old.Token || !rec.KeepAlive || len(rec.EndWith) != 1 || !rec.Keeper.Alive() {
				t.Errorf("of its promise is left %+v", rec)
			}
			if err := w.answers(); err != nil {
				t.Errorf("the client: %v", err)
			}
			w.mustStop(hook.StopRequest{Route: w.odd("mute")})
			holder.kill()
			w.nothingLeft()
		})
	}
}

// TestADeadTunnelThatSomebodyIsConnectedToIsNotReplaced: a session is never cut.
func TestADeadTunnelThatSomebodyIsConnectedToIsNotReplaced(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	old := w.mustStart(w.request(w.odd("mute"), tunnel.ReadyRDP)).Record
	client := w.client()
	send(t, old.Tunnel, syscall.SIGUSR1)
	tunneltest.Eventually(t, "it answers nobody any more", func() bool { return w.logged("mute now\n") })
	w.sleeps(time.Hour)
	for _, ready := range []string{tunnel.ReadyRDP, tunnel.ReadyListen} {
		if now := w.mustStart(w.request(w.odd("mute"), ready)); !now.Found || now.Record.Tunnel != old.Tunnel {
			t.Errorf("%+v", now)
		}
	}
	client.kill()
	if now := w.mustStart(w.request(w.odd("mute"), tunnel.ReadyRDP)); now.Found || now.Record.Tunnel == old.Tunnel {
		t.Errorf("when the client had left: %+v", now)
	}
}

// TestAfterASleepAPlainStartReplaces what may be dead, without a connection.
func TestAfterASleepAPlainStartReplaces(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	for route, replaced := range map[string]bool{w.odd("mute"): true, w.relay(): false} {
		w.sleeps(0)
		old := w.mustStart(w.request(route, tunnel.ReadyListen)).Record
		w.sleeps(5 * time.Second) // too short for anybody to forget it
		if now := w.mustStart(w.request(route, tunnel.ReadyListen)).Record; now.Tunnel != old.Tunnel {
			t.Errorf("%s: replaced after a short sleep", route)
		}
		w.sleeps(time.Hour)
		now := w.mustStart(w.request(route, tunnel.ReadyListen)).Record
		if (now.Tunnel != old.Tunnel) != replaced {
			t.Errorf("%s: replaced: %v, want %v", route, !replaced, replaced)
		}
		if again := w.mustStart(w.request(route, tunnel.ReadyListen)).Record; again.Tunnel != now.Tunnel {
			t.Errorf("%s: replaced once more", route)
		}
		w.mustStop(hook.StopRequest{Route: route})
	}
	if got := w.server.Connections(); got != 0 {
		t.Errorf("the server saw %d connections", got)
	}
}

// TestWhatComesBeforeAProgramComesBeforeItsReplacement too, be that a start's or the keeper's.
func TestWhatComesBeforeAProgramComesBeforeItsReplacement(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	file := filepath.Join(w.dir, "steps")
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = config.WriteString("[tunnel.vpn]\nroute = '" + w.odd("mute") + "'\nbefore = [['sh', '-c', 'echo up >>" + file + "']]\n")
	check(t, errors.Join(err, config.Close()))
	up := func(times int) {
		t.Helper()
		if got, err := os.ReadFile(file); err != nil || string(got) != strings.Repeat("up\n", times) {
			t.Errorf("what ran: %q, %v, want it %d times", got, err, times)
		}
	}
	w.mustStart(w.request("vpn", tunnel.ReadyListen))
	up(1)
	w.sleeps(time.Hour)
	w.mustStart(w.request("vpn", tunnel.ReadyListen))
	up(2)
	holder := w.holder()
	held := w.request("vpn", tunnel.ReadyListen)
	held.EndWith = append(held.EndWith, holder.id)
	old := w.mustStart(held).Record
	up(2)
	w.awaitKeeper()
	w.sleeps(2 * time.Hour)
	tunneltest.Eventually(t, "the keeper replaces it", func() bool { return w.mustRecord().Tunnel != old.Tunnel && w.served() })
	up(3)
	holder.kill()
	w.mustStop(hook.StopRequest{Route: "vpn"})
	w.nothingLeft()
}

// withVPN configures a [tunnel.NAME] with commands as of a VPN's that comes up only where it is not up, and gives what they did.
func (w *account) withVPN(name, route string) (did func() string) {
	w.t.Helper()
	up, file := filepath.Join(w.dir, name+".up"), filepath.Join(w.dir, name+".did")
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(w.t, err)
	_, err = fmt.Fprintf(config, `
[tunnel.%s]
route = '%s'
before = [['sh', '-c', 'mkdir %s && echo up >>%s']]
after = [['sh', '-c', 'rmdir %[3]s && echo down >>%[4]s']]
`, name, route, up, file)
	check(w.t, errors.Join(err, config.Close()))
	return func() string {
		text, _ := os.ReadFile(file)
		return strings.ReplaceAll(string(text), "\n", " ")
	}
}

// TestWhatIsUpStillIsTakenDownBeforeAReplacement where it does not come up otherwise, be that a start's or the keeper's.
func TestWhatIsUpStillIsTakenDownBeforeAReplacement(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	did := w.withVPN("vpn", w.odd("mute"))
	holder := w.holder()
	req := w.request("vpn", tunnel.ReadyListen)
	req.EndWith = append(req.EndWith, holder.id)
	w.mustStart(w.request("vpn", tunnel.ReadyListen))
	w.sleeps(time.Hour)
	if w.mustStart(req); did() != "up down up " {
		t.Errorf("at a start's replacement %q ran", did())
	}
	old := w.mustRecord()
	w.awaitKeeper()
	w.sleeps(2 * time.Hour)
	tunneltest.Eventually(t, "the keeper replaces it", func() bool { return w.mustRecord().Tunnel != old.Tunnel && w.served() })
	if did() != "up down up down up " {
		t.Errorf("at the keeper's replacement %q ran", did())
	}
	holder.kill()
	w.mustStop(hook.StopRequest{Route: "vpn"})
	if did() != "up down up down up down " {
		t.Errorf("in the end %q ran", did())
	}
	w.nothingLeft()
}

// TestWhatIsUpStillStaysForAnotherTunnel, which may need it: nobody's session is cut because another tunnel is replaced.
func TestWhatIsUpStillStaysForAnotherTunnel(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	did := w.withVPN("vpn", w.odd("mute"))
	w.withVPN("other", w.odd("mute"))
	another := w.request("other", tunnel.ReadyListen)
	another.Listen = loopbackAddress()
	w.mustStart(another)
	old := w.mustStart(w.request("vpn", tunnel.ReadyListen)).Record
	w.sleeps(time.Hour)
	now := w.mustStart(w.request("vpn", tunnel.ReadyListen)).Record
	if now.Tunnel == old.Tunnel || did() != "up " {
		t.Errorf("replaced: %t; at that %q ran", now.Tunnel != old.Tunnel, did())
	}
	w.mustStop(hook.StopRequest{Route: "vpn"})
	_, err := w.Stop(w.context(), hook.StopRequest{Route: "other", Listen: another.Listen})
	check(t, err)
	if did() != "up down " {
		t.Errorf("in the end %q ran", did())
	}
	w.nothingLeft()
}

// TestWhatComesBeforeAProgramComesOnceAStart, however often that launches it.
func TestWhatComesBeforeAProgramComesOnceAStart(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	late := loopbackAddress()
	did := w.withVPN("vpn", "lost://"+late)
	req := w.request("vpn", tunnel.ReadyRDP)
	req.Timeout = tunneltest.Patience
	done := w.starting(w.context(), req)
	tunneltest.Eventually(t, "its program is launched again", func() bool { return w.logged(" does not answer any more: again, on ") })
	server, err := net.Listen("tcp", late)
	check(t, err)
	defer server.Close()
	go relayTo(server, w.server.Addr())
	o := <-done
	check(t, o.err)
	if did() != "up " {
		t.Errorf("%q ran", did())
	}
	w.mustStop(hook.StopRequest{Route: "vpn"})
	w.nothingLeft()
}

// TestWhatComesBeforeAProgramDoesNotShakeIt: what it changes, such as a VPN the default route, was so when the program began.
func TestWhatComesBeforeAProgramDoesNotShakeIt(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	w.sleeps(0)
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = config.WriteString("[tunnel.vpn]\nroute = '" + w.odd("mute") + "'\nbefore = [['sh', '-c', 'printf 1h0m0s >" + filepath.Join(w.dir, "slept") + "']]\n")
	check(t, errors.Join(err, config.Close()))
	old := w.mustStart(w.request("vpn", tunnel.ReadyListen)).Record
	if now := w.mustStart(w.request("vpn", tunnel.ReadyListen)).Record; now.Tunnel != old.Tunnel {
		t.Errorf("replaced after what came before it")
	}
	w.sleeps(2 * time.Hour)
	if now := w.mustStart(w.request("vpn", tunnel.ReadyListen)).Record; now.Tunnel == old.Tunnel {
		t.Errorf("not replaced after a sleep")
	}
	w.mustStop(hook.StopRequest{Route: "vpn"})
	w.nothingLeft()
}

// TestAKeeperDoesNotInterruptWhatComesBeforeAProgram, whatever that does to the network, and however long it takes.
func TestAKeeperDoesNotInterruptWhatComesBeforeAProgram(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	w.sleeps(0)
	file := filepath.Join(w.dir, "steps")
	config, err := os.OpenFile(filepath.Join(w.dir, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = fmt.Fprintf(config, "[tunnel.vpn]\nroute = '%s'\nbefore = [['sh', '-c', 'echo up >>%s; printf 1h0m0s >%s; sleep 5']]\n",
		w.odd("mute"), file, filepath.Join(w.dir, "slept"))
	check(t, errors.Join(err, config.Close()))
	holder := w.holder()
	req := w.request("vpn", tunnel.ReadyListen)
	req.EndWith = append(req.EndWith, holder.id)
	old := w.mustStart(req).Record
	w.never(4*time.Second, "it is replaced", func() bool { return !old.Tunnel.Alive() })
	if got, err := os.ReadFile(file); err != nil || string(got) != "up\n" {
		t.Errorf("what ran: %q, %v", got, err)
	}
	holder.kill()
	tunneltest.Eventually(t, "it ends with its holder", w.gone)
	w.nothingLeft()
}

// TestAKeeperReplacesAnIdleTunnelAfterASleep, and one that is in use only when its client has left.
func TestAKeeperReplacesAnIdleTunnelAfterASleep(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	holder := w.holder()
	req := w.request(w.odd("mute"), tunnel.ReadyListen)
	req.EndWith = append(req.EndWith, holder.id)
	old := w.mustStart(req).Record
	replaced := func(old pidfile.Record) func() bool {
		return func() bool { rec := w.mustRecord(); return rec.Tunnel != old.Tunnel && w.served() }
	}
	w.sleeps(time.Hour)
	tunneltest.Eventually(t, "the idle tunnel is replaced", replaced(old))
	old = w.mustRecord()
	client := w.client()
	w.sleeps(2 * time.Hour)
	w.never(5*time.Second, "a session is cut", func() bool { return !old.Tunnel.Alive() })
	client.kill()
	tunneltest.Eventually(t, "it is replaced when its client has left", replaced(old))
	old = w.mustRecord()
	w.never(4*time.Second, "it is replaced once more", func() bool { return !old.Tunnel.Alive() })
	holder.kill()
	w.nothingLeft()
}

// TestAReplacementThatFailsIsTriedAgain while somebody is there whom the tunnel was promised: it was the keeper that ended the old one,
// which was well perhaps.
func TestAReplacementThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, dies := range []string{"first", "then"} {
		t.Run(dies, func(t *testing.T) {
			w := newOddWorld(t, tunneltest.ResponderOptions{})
			offline := filepath.Join(w.dir, "offline")
			holder := w.holder()
			req := w.request(w.odd("shy"), tunnel.ReadyListen)
			req.EndWith = append(req.EndWith, holder.id)
			old := w.mustStart(req).Record
			w.awaitKeeper()
			check(t, os.WriteFile(offline, []byte(dies), 0o600))
			w.sleeps(time.Hour)
			tunneltest.Eventually(t, "it is replaced", func() bool { return !old.Tunnel.Alive() })
			w.never(7*time.Second, "its promise is given up", func() bool { _, ok := w.record(); return !ok })
			if dies == "first" {
				check(t, os.Remove(offline))
				tunneltest.Eventually(t, "it is replaced by one that lives", w.served)
				w.mustStop(hook.StopRequest{Route: w.odd("shy")})
			}
			holder.kill()
			tunneltest.Eventually(t, "nobody waits for it any more", w.gone)
			w.nothingLeft()
		})
	}
}

// TestATunnelBehindAListenerIsReplacedAfterASleep once nobody is connected, and its next client is answered by the new one.
func TestATunnelBehindAListenerIsReplacedAfterASleep(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	w.listen(hook.ListenRequest{Route: w.odd("mute"), Ready: tunnel.ReadyRDP, Linger: tunneltest.Patience})
	session := w.session()
	old := w.mustRecord().Tunnel
	w.sleeps(time.Hour)
	w.never(4*time.Second, "the session's tunnel ends", func() bool { return !old.Alive() })
	check(t, goesOn(session))
	session.Close()
	tunneltest.Eventually(t, "the tunnel is replaced", func() bool { return w.mustRecord().Tunnel != old })
	now := w.mustRecord().Tunnel
	if err := goesOn(w.session()); err != nil || w.mustRecord().Tunnel != now {
		t.Errorf("the next client: %v; its tunnel is %v, want %v", err, w.mustRecord().Tunnel, now)
	}
}

// inNetwork starts a tunnel, REQUEST, in a network of its own, which has a default route and a bridge besides, as for containers. It does
// then as stdin says.
const inNetwork = `
ip link set lo up && { ip link add dummy0 type dummy || ip link add dummy0 type bridge; } 2>/dev/null && ip link add docker0 type bridge &&
	ip -batch - <<-END || { echo not here; exit; }
	link set dummy0 up
	link set docker0 up
	addr add 172.17.0.1/16 dev docker0
	addr add 10.9.0.2/24 dev dummy0
	route add default via 10.9.0.1
	END
"$0" start "$1" || exit
exec 4<> <(:) # says nothing
echo up
at=10.9.0
while read -r what; do
	case $what in
	move) # and some more in a flurry
		at=10.9.$2
		{ # without a process for each
			for n in 3 4 5 6 7 8; do echo "addr flush dev dummy0"; echo "addr add 10.9.0.$n/24 dev dummy0"; read -r -t 0.2 <&4; done
			echo "addr flush dev dummy0"; echo "addr add $at.2/24 dev dummy0"; echo "route add default via $at.1"
		} | ip -batch - ;;
	away) ip addr flush dev dummy0 ;;
	back) ip addr add $at.2/24 dev dummy0 && ip route add default via $at.1 ;;
	add) ip addr add 10.8.0.2/24 dev dummy0 ;;
	lose) ip link del docker0 ;;
	connect) exec 3<>"/dev/tcp/${3%:*}/${3#*:}" ;;
	leave) exec 3>&- ;;
	esac
	set -- "$1" $(($2 + 1)) "$3"
	echo did
done
`

// TestAKeeperHearsOfTheNetwork and replaces an idle tunnel once changes have come to rest, one that is in use when its client has left.
func TestAKeeperHearsOfTheNetwork(t *testing.T) {
	w := newOddWorld(t, tunneltest.ResponderOptions{})
	holder := w.holder()
	request := w.request(w.odd("mute"), tunnel.ReadyListen)
	request.EndWith = append(request.EndWith, holder.id)
	req, err := json.Marshal(request)
	check(t, err)
	cmd := exec.Command("unshare", "--net", "--map-root-user", "bash", "-c", inNetwork, w.Self, string(req), "1", w.address)
	cmd.Env = append(w.Environ, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	if err := cmd.Start(); err != nil {
		t.Skipf("no network of its own can be had here: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); line == "" || line == "not here\n" {
		t.Skipf("no network may be made here: %v", err)
	} else if line != "up\n" {
		t.Fatal(line)
	}
	do := func(what string) {
		t.Helper()
		_, err := stdin.Write([]byte(what + "\n"))
		check(t, err)
		if line, err := said.ReadString('\n'); line != "did\n" {
			t.Fatal(line, err)
		}
	}
	record := func() (rec pidfile.Record) { // from outside nothing of the tunnel can be seen, and that is what reading it would say
		files, _ := filepath.Glob(filepath.Join(w.RunDir, "*.json"))
		text, err := os.ReadFile(strings.Join(files, ""))
		check(t, err)
		check(t, json.Unmarshal(text, &rec))
		return rec
	}
	eventuallyReplaced := func(old pidfile.Record) {
		t.Helper()
		tunneltest.Eventually(t, "the tunnel is replaced", func() bool {
			now := record()
			return now.Tunnel.PID != 0 && now.Tunnel != old.Tunnel
		})
	}
	old := record()
	do("add")
	w.never(4*time.Second, "a new address ends what was connected before", func() bool { return !old.Tunnel.Alive() })
	do("away")
	w.never(4*time.Second, "it is replaced where there is no network", func() bool { return !old.Tunnel.Alive() })
	do("back")
	do("lose")
	w.never(4*time.Second, "it is replaced though all is as before but for a bridge that it cannot lean on", func() bool { return !old.Tunnel.Alive() })
	do("move")
	eventuallyReplaced(old)
	old = record()
	logged := func(times int, text string) func() bool {
		return func() bool {
			log, err := os.ReadFile(old.Log)
			return err == nil && strings.Count(string(log), text) == times
		}
	}
	tunneltest.Eventually(t, "the second one listens", logged(2, "listening\n"))
	w.never(4*time.Second, "one flurry replaces twice", func() bool { return !old.Tunnel.Alive() })
	send(t, old.Tunnel, syscall.SIGUSR1) // in this network there is no server
	tunneltest.Eventually(t, "it answers nobody any more", logged(1, "mute now\n"))
	do("connect")
	do("move")
	w.never(5*time.Second, "a session is cut", func() bool { return !old.Tunnel.Alive() })
	do("leave")
	eventuallyReplaced(old)
	check(t, stdin.Close())
	holder.kill()
	tunneltest.Eventually(t, "tunnel and keeper end", func() bool { return len(w.keepers()) == 0 && !old.Tunnel.Alive() })
}
