package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
)

// The hooks that tunhook replaces.
//
//go:embed hooks
var hooks embed.FS

// bench is one run: a home of its own with the stand-in for pomerium-cli, and the table.
type bench struct {
	ctx     context.Context
	home    *sandbox.Home
	tunhook string
	rounds  int
	table   *table

	pace pace

	addr   string   // the listen address of every row
	stderr *os.File // what the command that runs now says
}

// route is one of Pomerium's whose gateway does not exist, for those comparators that connect to find out.
const route = "127.0.0.1:3389"

// patience bounds each command and each wait.
const patience = 30 * time.Second

func newBench(ctx context.Context, tunhook string, rounds int) (*bench, error) {
	if rounds < 1 {
		return nil, errors.New("-rounds must be at least 1")
	}
	tunhook, err := filepath.Abs(tunhook)
	if err != nil {
		return nil, err
	}
	home, err := sandbox.New(tunhook)
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, home: home, tunhook: tunhook, rounds: rounds}
	b.table = newTable(b)
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, home.Close())
	}
	return b, nil
}

func (b *bench) close() error { return errors.Join(b.endProcesses(), b.stderr.Close(), b.home.Close()) }

// prepare installs the programs, writes the hooks, and finds a port.
func (b *bench) prepare() (err error) {
	if err := b.installPrograms(); err != nil {
		return err
	}
	if err := b.writeHooks(); err != nil {
		return err
	}
	if b.addr, err = freeAddress(); err != nil {
		return err
	}
	if b.stderr, err = os.OpenFile(b.home.Path("stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	return b.findPace()
}

// installPrograms builds the programs to compare with, and copies them and tunhook, as installing does: what a linker has just
// written starts slower, because the kernel keeps it in smaller pieces.
func (b *bench) installPrograms() error {
	installed := b.home.Path("bin", "tunhook")
	err := errors.Join(
		b.install("./tunnel/tunneltest/pomerium-cli", "pomerium-cli"),
		b.install("./scripts/bench/bare", "bare"),
		copyProgram(b.tunhook, installed),
	)
	b.tunhook = installed
	return err
}

func (b *bench) install(source, name string) error {
	built := b.home.Path("built")
	build := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", name, err, out)
	}
	return copyProgram(built, b.home.Path("bin", name))
}

func copyProgram(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o700)
}

func (b *bench) writeHooks() error {
	return fs.WalkDir(hooks, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := hooks.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = b.home.Write(path, string(content), 0o700)
		return err
	})
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// run runs a command in a home and tells how long it took. Its output goes to files: a tunnel that it leaves behind must not
// keep a pipe open.
func (b *bench) run(home *sandbox.Home, argv ...string) (time.Duration, error) {
	if err := b.stderr.Truncate(0); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	cmd := home.Command(ctx, argv[0], argv[1:]...)
	cmd.Stderr = b.stderr
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		said, _ := os.ReadFile(b.stderr.Name())
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said)
	}
	return took, nil
}

// alone starts the tunnel program itself and tells how long it took from there until it listens, which it logs.
func (b *bench) alone() (took time.Duration, cmd *exec.Cmd, err error) { return b.aloneTo(route) }

// aloneTo is alone for another route.
func (b *bench) aloneTo(to string, args ...string) (took time.Duration, cmd *exec.Cmd, err error) {
	cmd = b.home.Command(b.ctx, b.home.Path("bin", "pomerium-cli"), append([]string{"tcp", to, "--listen", b.addr}, args...)...)
	log, err := cmd.StdoutPipe() // as the real one does
	if err != nil {
		return 0, nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	line, err := bufio.NewReader(log).ReadString('\n')
	took = time.Since(began)
	if err != nil || !strings.Contains(line, "started tcp listener") {
		return 0, nil, errors.Join(fmt.Errorf("the tunnel program does not listen: %s", line), err, end(cmd))
	}
	return took, cmd, nil
}

// end ends a process that this one has started.
func end(cmd *exec.Cmd) error {
	err := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return err
}

// answers tells whether anything accepts connections at the address.
func answers(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// until waits for something that no event tells of.
func until(what string, happened func() bool) error {
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("did not happen within %s: %s", patience, what)
		}
	}
	return nil
}
