package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
	"github.com/tunhook/tunhook/scripts/internal/sshd"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

const notInstalled = "not installed: scripts/bench-setup"

// job is one way to have a tunnel for as long as it is needed. It is done when the address answers, and when it does so no
// more, whenever the commands return.
type job struct {
	home        *sandbox.Home
	start, stop [][]string // commands, one after the other
}

// way is a job of people who have no tunhook.
type way struct {
	name  string
	needs []string // programs
	part  int      // of the rounds
	job
}

// todayRows compare the whole job with the ways that people have today.
func (b *bench) todayRows() error {
	tunhook := job{b.home, [][]string{{b.tunhook, "start", route, b.addr}}, [][]string{{b.tunhook, "stop", route, b.addr}}}
	for _, w := range b.pomeriumWays() {
		if err := b.compareWay(tunhook, w); err != nil {
			return err
		}
	}
	return b.sshRows()
}

func (b *bench) pomeriumWays() []way {
	loop, pid := b.home.Path("hooks", "wait-loop"), b.home.Path("pid")
	return []way{
		{"script with a wait loop", []string{"bash", "pgrep"}, 10, job{
			b.home, [][]string{{loop, "start", route, b.addr}}, [][]string{{loop, "stop", route, b.addr}},
		}},
		{"start-stop-daemon", []string{"start-stop-daemon", "wait-for-it"}, 40, job{
			b.home,
			[][]string{
				{
					"start-stop-daemon", "--start", "--background", "--make-pidfile", "--pidfile", pid,
					"--exec", b.home.Path("bin", "pomerium-cli"), "--", "tcp", route, "--listen", b.addr,
				},
				{"wait-for-it", "-q", b.addr},
			},
			[][]string{{"start-stop-daemon", "--stop", "--retry", "5", "--remove-pidfile", "--pidfile", pid}},
		}},
	}
}

// sshRows go through a real sshd to a server that answers.
func (b *bench) sshRows() error {
	server, err := sshd.Start(b.home.Dir)
	if errors.Is(err, sshd.ErrNotInstalled) {
		b.table.missing("ssh, autossh", notInstalled)
		return nil
	}
	if err != nil {
		return err
	}
	target, err := tunneltest.StartResponder(tunneltest.ResponderOptions{Protocol: tunneltest.Echo})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	err = b.compareSSH(server, target.Addr())
	return errors.Join(err, target.Close(), server.Close())
}

func (b *bench) compareSSH(server *sshd.Server, target string) error {
	options := strings.Join(server.Options(), "', '")
	if _, err := b.home.Write(".config/tunhook/config.toml", "[provider.ssh]\nargs = ['"+options+"']\n", 0o600); err != nil {
		return err
	}
	b.table.abbreviate(strings.Join(server.Options(), " "), "OPTIONS", server.Addr(), "SSHD", target, "TARGET")
	route := "ssh://" + server.Addr() + "/" + target
	tunhook := job{b.home, [][]string{{b.tunhook, "start", route, b.addr}}, [][]string{{b.tunhook, "stop", route, b.addr}}}
	for _, w := range b.sshWays(server, target) {
		if err := b.compareWay(tunhook, w); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) sshWays(server *sshd.Server, target string) []way {
	host, port, _ := strings.Cut(server.Addr(), ":")
	forward := append(server.Options(), "-p", port, "-o", "ExitOnForwardFailure=yes", "-N", "-L", b.addr+":"+target, host)
	control, pid := b.home.Path("control"), b.home.Path("autossh.pid")
	return []way{
		{"ssh -f, ssh -O exit", []string{"ssh"}, 10, job{
			b.home,
			[][]string{append([]string{"ssh", "-f", "-M", "-S", control}, forward...)},
			[][]string{{"ssh", "-F", "none", "-S", control, "-O", "exit", host}},
		}},
		{"autossh -f", []string{"autossh"}, 10, job{
			b.home.With("AUTOSSH_PIDFILE=" + pid),
			[][]string{append([]string{"autossh", "-f", "-M", "0"}, forward...)},
			[][]string{{"sh", "-c", "kill $(cat " + pid + ")"}},
		}},
	}
}

// compareWay compares tunhook's job with another, start and stop each.
func (b *bench) compareWay(tunhook job, w way) error {
	for _, program := range w.needs {
		if _, err := exec.LookPath(program); err != nil {
			b.table.missing(w.name, notInstalled)
			return nil
		}
	}
	up := row{name: "up ÷ " + w.name, ours: b.up(tunhook), other: b.up(w.job), part: w.part}
	down := row{name: "down ÷ " + w.name, ours: b.down(tunhook), other: b.down(w.job), part: w.part}
	if err := b.compare(up); err != nil {
		return err
	}
	return b.compare(down)
}

func (b *bench) up(j job) side {
	return side{b.table.showAll(j.start), func() (time.Duration, error) {
		took, err := b.do(j, true)
		if err == nil {
			_, err = b.do(j, false)
		}
		return took, err
	}}
}

func (b *bench) down(j job) side {
	return side{b.table.showAll(j.stop), func() (time.Duration, error) {
		if _, err := b.do(j, true); err != nil {
			return 0, err
		}
		return b.do(j, false)
	}}
}

// do runs the commands that start or stop the tunnel, and waits for what they are for.
func (b *bench) do(j job, start bool) (time.Duration, error) {
	commands, what := j.start, "the address answers"
	if !start {
		commands, what = j.stop, "the address is free"
	}
	began := time.Now()
	for _, argv := range commands {
		if _, err := b.run(j.home, argv...); err != nil {
			return 0, err
		}
	}
	err := until(fmt.Sprintf("%s after %s", what, commands[0][0]), func() bool { return answers(b.addr) == start })
	took := time.Since(began)
	if err == nil && !start {
		err = b.settle()
	}
	return took, err
}

// settle waits until the last process of a tunnel is gone: autossh, for one, removes its pidfile only when the address is long
// free, and would remove the next one's.
func (b *bench) settle() error {
	return until("every process of the tunnel is gone", func() bool {
		pids, err := b.processes()
		return err == nil && len(pids) == 0
	})
}
