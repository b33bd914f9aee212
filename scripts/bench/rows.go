package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// The bounds of the table.
const (
	maxStart       = 2.0 // ÷ the tunnel program alone
	maxReady       = 15  // ms more than the tunnel program alone, until a server answers; more on a slow machine
	maxNothingToDo = 1.5 // ÷ tunhook --version
	maxStop        = 1.0 // ÷ the script's kill, with few processes on the machine
	maxStopCrowded = 0.3 // ÷ the script's kill, with very many
	maxRecords     = 1.2 // with many other records ÷ with none
	maxSize        = 8.0 // MB
	few, veryMany  = 100, 3000
	manyRecords    = 1000
)

// started starts the tunnel and tells how long that took.
func (b *bench) started(home *sandbox.Home) (time.Duration, error) {
	took, err := b.run(home, b.tunhook, "start", route, b.addr)
	if err == nil && !answers(b.addr) {
		err = errors.New("start returned before the tunnel listened")
	}
	return took, err
}

// stopped stops the tunnel and tells how long that took.
func (b *bench) stopped(home *sandbox.Home) (time.Duration, error) {
	took, err := b.run(home, b.tunhook, "stop", route, b.addr)
	if err == nil && answers(b.addr) {
		err = errors.New("stop returned before the address was free")
	}
	return took, err
}

// startIn is start from nothing, in a home with these variables more.
func (b *bench) startIn(variables ...string) side {
	return side{b.table.show(b.tunhook, "start", route, b.addr), func() (time.Duration, error) {
		home := b.home.With(variables...)
		took, err := b.started(home)
		if err == nil {
			_, err = b.stopped(home)
		}
		return took, err
	}}
}

// stopIn is stop of an idle tunnel, likewise.
func (b *bench) stopIn(variables ...string) side {
	return side{b.table.show(b.tunhook, "stop", route, b.addr), func() (time.Duration, error) {
		home := b.home.With(variables...)
		if _, err := b.started(home); err != nil {
			return 0, err
		}
		return b.stopped(home)
	}}
}

// command is a command that needs nothing before or after it.
func (b *bench) command(argv ...string) side {
	return side{b.table.show(argv...), func() (time.Duration, error) { return b.run(b.home, argv...) }}
}

// aloneSide is the tunnel program alone, which keeps its pace.
func (b *bench) aloneSide() side {
	return side{b.table.show("pomerium-cli", "tcp", route, "--listen", b.addr), func() (time.Duration, error) {
		took, cmd, err := b.alone()
		if err != nil {
			return 0, err
		}
		if err := end(cmd); err != nil {
			return 0, err
		}
		return took, b.keepPace(took)
	}}
}

func (b *bench) startRow() error {
	return b.compare(row{name: "start ÷ exec until it listens", ours: b.startIn(), other: b.aloneSide(), bound: maxStart})
}

// signedInRow compares a start that waits for an answer, where nobody has to sign in, with the tunnel program alone: that is launched
// once, and asked once.
func (b *bench) signedInRow() error {
	const to = "desk.example.com:3389"
	server, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	if err != nil {
		return err
	}
	defer server.Close()
	gateway, end, err := b.startGateway(to, server.Addr())
	if err != nil {
		return err
	}
	defer end()
	ca, err := gateway.CAFile(b.home.Dir)
	if err != nil {
		return err
	}
	b.table.abbreviate(to, "DESK")
	start := []string{b.tunhook, "start", "--ready", "rdp", to, b.addr}
	return b.compareAdded(row{
		name: "start --ready, signed in", bound: maxReady,
		ours: side{b.table.show(start...), func() (time.Duration, error) {
			took, err := b.run(b.home, start...)
			if err == nil {
				_, err = b.run(b.home, b.tunhook, "stop", to, b.addr)
			}
			return took, err
		}},
		other: side{b.table.show("pomerium-cli", "tcp", to, "--listen", b.addr), func() (time.Duration, error) {
			return b.aloneAnswered(to, "--pomerium-url", gateway.URL(), "--alternate-ca-path", ca)
		}},
	})
}

// aloneAnswered starts the tunnel program itself and tells how long it took from there until a server has answered through it.
func (b *bench) aloneAnswered(to string, args ...string) (time.Duration, error) {
	listening, cmd, err := b.aloneTo(to, args...)
	if err != nil {
		return 0, err
	}
	answered, err := firstByte(b.addr)
	if err := errors.Join(err, end(cmd)); err != nil {
		return 0, err
	}
	return listening + answered, b.keepPace(listening)
}

// nothingToDoRows are the commands that find everything as they want it.
func (b *bench) nothingToDoRows() error {
	version := b.command(b.tunhook, "--version")
	if err := b.compare(row{
		name: "stop of nothing ÷ --version", ours: b.command(b.tunhook, "stop", route, b.addr), other: version, bound: maxNothingToDo,
	}); err != nil {
		return err
	}
	if _, err := b.started(b.home); err != nil {
		return err
	}
	for _, r := range []row{
		{name: "start again ÷ --version", ours: b.command(b.tunhook, "start", route, b.addr), other: version, bound: maxNothingToDo},
		{name: "status ÷ --version", ours: b.command(b.tunhook, "status"), other: version, bound: maxNothingToDo},
	} {
		if err := b.compare(r); err != nil {
			return err
		}
	}
	_, err := b.stopped(b.home)
	return err
}

// crowdRows compare stop with the script's kill on a machine with few processes and with very many.
func (b *bench) crowdRows() error {
	kill := side{b.table.show(b.home.Path("hooks", "script"), "stop", route, b.addr), b.scriptKill}
	for _, r := range []struct {
		processes, part int
		bound           float64
	}{{few, 1, maxStop}, {veryMany, 4, maxStopCrowded}} {
		crowd, err := newCrowd(r.processes)
		if err != nil {
			return err
		}
		err = b.compare(row{
			name: fmt.Sprintf("stop ÷ kill, %d processes", r.processes),
			ours: b.stopIn(), other: kill, bound: r.bound, part: r.part,
		})
		if err := errors.Join(err, crowd.close()); err != nil {
			return err
		}
	}
	return nil
}

// scriptKill is the script's stop, which has done its part when it has sent the signal.
func (b *bench) scriptKill() (time.Duration, error) {
	_, cmd, err := b.alone()
	if err != nil {
		return 0, err
	}
	took, err := b.run(b.home, b.home.Path("hooks", "script"), "stop", route, b.addr)
	if err != nil {
		return 0, errors.Join(err, end(cmd))
	}
	_ = cmd.Wait() // it was signalled
	return took, nil
}

// recordRows compare a runtime directory full of other tunnels' records with one that has none.
func (b *bench) recordRows() error {
	dir := filepath.Join(b.home.Runtime, "full") // on the same kind of file system
	full := "XDG_RUNTIME_DIR=" + dir
	records, err := newRecords(b.ctx, dir, manyRecords)
	if err != nil {
		return err
	}
	err = errors.Join(
		b.compare(row{
			name: fmt.Sprintf("start, %d records ÷ none", manyRecords),
			ours: b.startIn(full), other: b.startIn(), bound: maxRecords,
		}),
		b.compare(row{
			name: fmt.Sprintf("stop, %d records ÷ none", manyRecords),
			ours: b.stopIn(full), other: b.stopIn(), bound: maxRecords,
		}),
	)
	return errors.Join(err, records.close())
}

func (b *bench) sizeRow() error {
	info, err := os.Stat(b.tunhook)
	if err != nil {
		return err
	}
	b.table.fact("size of the stripped program", float64(info.Size())/1e6, "MB", maxSize, "make build")
	return nil
}
