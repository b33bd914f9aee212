package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile/process"
)

// SSH is a tunnel through OpenSSH, whatever else the user's configuration has ssh do with the gateway: people have
// forwards of their own there, commands to run, and shared connections.
type SSH struct {
	Argv    []string // ssh with its absolute path, what it needs to log in at the gateway, and the gateway at the end
	Listen  string
	Target  string
	Self    string // the path of tunhook
	Environ []string
	Log     *os.File
	Dir     func() (string, error) // makes a private directory to put a socket into
}

// quiet keeps ssh from all that a tunnel does not need. First come, first served: it precedes what the user adds.
var quiet = []string{"-N", "-T", "-n", "-o", "PermitLocalCommand=no", "-o", "RemoteCommand=none", "-o", "Tunnel=no"}

// Run is the tunnel. Where the user's ssh shares a connection that is there, the tunnel goes through that one: it may
// be the only way in, and nobody has to log in. Otherwise, and where that one is dead, ssh makes a connection of its own:
// mostly this process becomes ssh, and does not return.
func (s SSH) Run(ctx context.Context) error {
	config := s.config(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if config.control != "" {
		if master, pid, err := s.shared(config.control); err == nil {
			alive := s.reaches(ctx, master, config.asks)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case alive:
				return s.through(ctx, config.control, pid)
			}
			return s.instead(ctx, config.control, pid)
		}
	}
	options := slices.Clone(quiet)
	if config.forks {
		options = append(options, "-o", "ForkAfterAuthentication=no")
	}
	if config.forwards && !slices.ContainsFunc(s.Argv, isForward) {
		return s.withoutForwards(options)
	}
	options = append(options, "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes")
	return s.become(append(options, "-L", s.Listen+":"+s.Target))
}

// config asks ssh what its configuration comes to. An ssh that does not tell has nothing in it that matters here.
func (s SSH) config(ctx context.Context) sshConfig {
	cmd := exec.CommandContext(ctx, s.Argv[0], s.argv([]string{"-N", "-T", "-G"})[1:]...)
	cmd.Env, cmd.WaitDelay = s.Environ, time.Second
	text, err := cmd.Output()
	if err != nil {
		return sshConfig{}
	}
	return parseSSHConfig(string(text))
}

// argv is ssh's command line with more options in front of the user's, and those at the end that must be the last of
// their kind.
func (s SSH) argv(first []string, last ...string) []string {
	var args []string
	for _, arg := range s.Argv[1:] {
		if arg = withoutFork(arg); arg != "" {
			args = append(args, arg)
		}
	}
	at := max(len(args)-1, 0)
	return slices.Concat(s.Argv[:1], first, args[:at], last, args[at:])
}

// flags are options of ssh's that take no argument, in one word.
var flags = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^-[46AaCfGgKkMNnqsTtVvXxYy]+$`)
})

// withoutFork takes the option to go into the background out of a word: the tunnel is there already.
func withoutFork(arg string) string {
	if !flags().MatchString(arg) {
		return arg
	}
	if arg = strings.ReplaceAll(arg, "f", ""); arg == "-" {
		return ""
	}
	return arg
}

// isForward tells whether the user asks for a forward on the command line, for this tunnel.
func isForward(arg string) bool { return forward().MatchString(arg) }

var forward = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(-[46AaCfGgKkMNnqsTtVvXxYy]*[LRD]|(-o *)?(?i:(local|remote|dynamic)forward[ =]))`)
})

func (s SSH) become(first []string, last ...string) error {
	err := syscall.Exec(s.Argv[0], s.argv(first, last...), s.Environ)
	return &ProgramError{s.Argv[0], "cannot be executed (" + underlying(err).Error() + ")", ""}
}

// withoutForwards is for a configuration that forwards something. ssh can leave that out, but then what it is told to
// forward on its command line, too. So it shares its connection with a process of ours, which tells it later and ends.
func (s SSH) withoutForwards(options []string) error {
	dir, err := s.Dir()
	if err != nil {
		return err
	}
	control := filepath.Join(dir, "s")
	helper := exec.Command(s.Self, "relay", "--listen", s.Listen, "--control", control, s.Target)
	helper.Env, helper.Stdout, helper.Stderr = s.Environ, s.Log, s.Log
	if err := helper.Start(); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	options = append(options, "-o", "ClearAllForwardings=yes", "-o", "ControlPersist=no")
	return s.become(options, "-o", "ControlMaster=yes", "-S", control) // it has the helper for its child
}

// ForwardSSH waits until the ssh whose child this process is has logged in and shares its connection at the socket
// control, makes it forward, and removes the socket with its directory: nobody else is to share it. Where it cannot,
// that ssh ends.
func ForwardSSH(ctx context.Context, control, listen, target string) error {
	defer os.Remove(filepath.Dir(control))
	defer os.Remove(control)
	id, err := process.Identify(os.Getppid())
	if err != nil {
		return err
	}
	ssh, err := process.Open(id)
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ssh.Close()
	const most = 50 * time.Millisecond // a login takes longer than this, and somebody may have to type a passphrase
	for pause := time.Millisecond; ; pause = min(pause*5/4, most) {
		master, err := dialControl(control)
		if err == nil {
			defer master.Close()
			if err = master.forward(listen, target); err != nil {
				_ = ssh.Signal(syscall.SIGTERM)
				return fmt.Errorf("listening on %s: %w", listen, err)
			}
			return nil
		}
		if ssh.Wait(pause) || ctx.Err() != nil {
			return nil // it has said why
		}
	}
}

// shared connects to a master that is there. One of another user's would get to see what goes through it.
func (s SSH) shared(control string) (*sshControl, int, error) {
	info, err := os.Lstat(control)
	if err != nil {
		return nil, 0, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return nil, 0, &OtherUserError{int(st.Uid)}
	}
	master, err := dialControl(control)
	if err != nil {
		return nil, 0, err
	}
	pid, err := master.pid()
	if err != nil {
		master.Close()
	}
	return master, pid, err
}

// linkPatience is how long the gateway may take to answer a master. After a sleep, or in another network, it never does, and ssh takes
// minutes to notice.
const linkPatience = 4 * time.Second

// reaches tells whether the master's connection is alive, as far as nobody would be asked for that, and closes that to the master.
func (s SSH) reaches(ctx context.Context, master *sshControl, asks bool) bool {
	defer master.Close()
	if asks {
		return true
	}
	defer context.AfterFunc(ctx, func() { master.Close() })()
	return master.answers(linkPatience)
}

// loginLook is the pause between two looks at whether ssh has logged in.
const loginLook = 100 * time.Millisecond

// instead has a child make a connection of its own, in place of the one of a master that is dead. Where it cannot, that is because of the
// master: it may be the only way in. So this process stays, to say so.
func (s SSH) instead(ctx context.Context, control string, pid int) error {
	listen, err := netip.ParseAddrPort(s.Listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Log, "relay: the ssh connection that is open already, of process %d (%s), does not answer: without it\n", pid, control)
	args := []string{"relay", "--listen", s.Listen, "--ssh", s.Target, "--"}
	child := exec.CommandContext(ctx, s.Self, append(args, s.argv([]string{"-o", "ControlPath=none"})...)...)
	child.Env, child.Stdout, child.Stderr = s.Environ, s.Log, s.Log
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = stdioPatience
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(s.Log, "relay: the ssh connection of process %d does not answer, and no other can be made: ssh -O exit ends it\n", pid)
			}
			return err
		case <-time.After(loginLook):
		}
		if !Free(listen) { // it has logged in
			return <-ended
		}
	}
}

// errMaster says that there is no way any more.
var errMaster = errors.New("the ssh connection that was shared has ended")

// through carries each connection through the user's own master, until that ends. It asks it for no port: nothing of
// the tunnel is left in it afterwards, however this process ends.
func (s SSH) through(ctx context.Context, control string, pid int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go awaitEnd(pid, func() { cancel(errMaster) })
	fmt.Fprintf(s.Log, "relay: through the ssh connection that is open already, of process %d (%s)\n", pid, control)
	err := relayOwn(ctx, s.Listen, s.Log, func(ctx context.Context, client *net.TCPConn, ends *Ends) error {
		master, err := dialControl(control)
		if err != nil {
			cancel(errMaster)
			return err
		}
		defer master.Close()
		return s.carry(ctx, master, client, ends)
	})
	if errors.Is(context.Cause(ctx), errMaster) {
		return errMaster
	}
	return err
}

// awaitEnd waits for the end of a process, if it can be seen.
func awaitEnd(pid int, ended func()) {
	var hold *process.Process
	id, err := process.Identify(pid)
	if err == nil {
		hold, err = process.Open(id)
	}
	switch {
	case errors.Is(err, process.ErrGone):
		ended()
	case err == nil:
		defer hold.Close()
		hold.Wait(math.MaxInt64)
		ended()
	}
}

// carry has the master carry a connection: it gets the socket itself, so that nothing is copied here.
func (s SSH) carry(ctx context.Context, master *sshControl, client *net.TCPConn, ends *Ends) error {
	if err := master.carry(client, s.Target); err != nil {
		return err
	}
	_ = master.SetDeadline(time.Time{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, master)
	}()
	for {
		select {
		case <-over:
			HangUp(client)
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(drainPatience): // the far end may not care that the client has left
			if ends.Closed(client) {
				return nil
			}
		}
	}
}
