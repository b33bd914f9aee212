package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// idleTunnels is how many tunnels idleRows leaves alone at once.
const idleTunnels = 10

// idleRows count what is resident for tunnels that are simply up, beyond the tunnel programs themselves.
func (b *bench) idleRows() error {
	for i := range idleTunnels {
		if _, err := b.home.Tunhook(b.ctx, "start", fmt.Sprintf("127.0.0.1:%d", 3390+i)); err != nil {
			return err
		}
	}
	pids, err := b.processes()
	if err != nil {
		return err
	}
	programs, others, kib := 0, 0, 0
	for _, pid := range pids {
		if exe, _ := os.Readlink(inProc(pid, "exe")); exe == b.home.Path("bin", "pomerium-cli") {
			programs++
			continue
		}
		others++
		kib += residentKiB(pid)
	}
	if programs != idleTunnels {
		return fmt.Errorf("%d tunnel programs are running, not %d", programs, idleTunnels)
	}
	how := fmt.Sprintf("tunhook start ROUTE, %d times; then /proc", idleTunnels)
	b.table.fact("resident beyond an idle tunnel", float64(others)/idleTunnels, "processes", 0, how)
	b.table.fact("resident beyond an idle tunnel", float64(kib)/idleTunnels, "KiB", 0, how)
	_, err = b.home.Tunhook(b.ctx, "stop", "--all")
	return err
}

// processes gives the pid of every process that was started in this home, which its environment tells.
func (b *bench) processes() (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		environ, _ := os.ReadFile(inProc(pid, "environ")) // none of one that is gone, or somebody else's
		if bytes.Contains(environ, []byte("HOME="+b.home.Dir+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// endProcesses ends what a comparator has left behind: nothing, unless the run was cut short.
func (b *bench) endProcesses() error {
	pids, err := b.processes()
	for _, pid := range pids {
		if p, findErr := os.FindProcess(pid); findErr == nil {
			if killErr := p.Kill(); !errors.Is(killErr, os.ErrProcessDone) {
				err = errors.Join(err, killErr)
			}
		}
	}
	return err
}

func inProc(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

// residentKiB reads VmRSS (proc(5)); a process that is gone has none.
func residentKiB(pid int) int {
	status, _ := os.ReadFile(inProc(pid, "status"))
	return kibAfter(string(status), "VmRSS:")
}

// kibAfter is the number of KiB behind a name.
func kibAfter(text, name string) int {
	_, after, _ := strings.Cut(text, name)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib
}
