package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func identify(pid int) (Identity, error) {
	stat, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Identity{}, unreadable(pid, err)
	}
	ticks, err := startTicks(stat)
	if err != nil {
		return Identity{}, err
	}
	boot, err := bootID()
	return Identity{pid, ticks, boot}, err
}

// stopped reads field 3 of /proc/PID/stat: T, or t where it is being traced, proc_pid_stat(5).
func stopped(pid int) bool {
	stat, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return err == nil && ok && len(rest) > 0 && rest[0] == 'T'
}

// bootID and here are asked for at every look at a process, and stay what they are for as long as this one lives.
var (
	bootID = sync.OnceValues(readBootID)
	here   = sync.OnceValues(readPlace)
)

func readBootID() (string, error) {
	boot, err := readFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(boot)), err
}

func readPlace() (p Place, err error) {
	if p.BootID, err = bootID(); err != nil {
		return Place{}, err
	}
	for name, inode := range map[string]*uint64{"pid": &p.PIDs, "net": &p.Network, "time": &p.Clock} {
		if *inode, err = namespace(name); err != nil {
			return Place{}, err
		}
	}
	return p, nil
}

// readFile is os.ReadFile for files of /proc, in a third of its system calls: of such a file neither the size nor whether it can be
// polled is worth a question, and very many are read where there are very many processes.
func readFile(path string) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, &fs.PathError{Op: "read", Path: path, Err: err} }
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	for data := make([]byte, 0, 512); ; data = slices.Grow(data, len(data)) {
		for len(data) < cap(data) {
			n, err := retry(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
			if err != nil {
				return fail(err)
			}
			if n == 0 {
				return data, nil
			}
			data = data[:len(data)+n]
		}
	}
}

// retry makes a system call again that a signal has interrupted.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// namespace gives the inode of one of the calling process's namespaces, 0 where the kernel has none of that kind.
func namespace(name string) (uint64, error) {
	link, err := os.Readlink("/proc/self/ns/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, name+":["), "]"), 10, 64)
}

// unreadable says what it means that /proc/PID/stat cannot be read: ErrGone where there is no such process. /proc may have been mounted
// so that it hides those that the caller could not look into, proc(5) on hidepid: another user's, and of the caller's own those that
// are private. A signal tells these apart.
func unreadable(pid int, err error) error {
	hidden := gone(err)
	if !hidden && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	switch err := probe(pid); {
	case errors.Is(err, unix.EPERM):
		return &HiddenError{PID: pid, Other: true}
	case err == nil:
		return &HiddenError{PID: pid}
	}
	return ErrGone
}

// probe sends a process no signal, kill(2), which needs no /proc.
func probe(pid int) error {
	if pid < 1 || pid > math.MaxInt32 {
		return unix.ESRCH // kill would take it for something else
	}
	return unix.Kill(pid, 0)
}

// gone tells whether an error of a file of /proc/PID says that the process has ended; others say that it cannot be looked at.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// startTicks reads field 22 of /proc/PID/stat. Field 2, the command's name in parentheses, may itself hold spaces and
// parentheses, so fields are counted from the last one. The error is ErrGone for a zombie, unless other threads of it go on, or have
// yet to give back what they hold.
func startTicks(stat []byte) (uint64, error) {
	fields, err := statFields(stat)
	if err != nil {
		return 0, err
	}
	alone := fields[statThreads] == "1" || fields[statThreads] == "0"
	if s := fields[statState]; s == "X" || s == "x" || s == "Z" && alone {
		return 0, ErrGone
	}
	return strconv.ParseUint(fields[statStart], 10, 64)
}

// Fields 3, 4, 20 and 22 of /proc/PID/stat: the first one behind the name is number 3.
const (
	statState   = 0
	statParent  = 1
	statThreads = 17
	statStart   = 19
)

// statFields gives the fields behind the name.
func statFields(stat []byte) ([]string, error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) <= statStart {
		return nil, fmt.Errorf("unexpected form of /proc/PID/stat: %.80q", stat)
	}
	return fields, nil
}

// ownStat gives a field of a process's /proc/PID/stat, "" where it cannot be read.
func ownStat(pid, field int) string {
	stat, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields, err := statFields(stat)
	if err != nil {
		return ""
	}
	return fields[field]
}

// parentOf gives the parent of a process, 0 where that cannot be told.
func parentOf(pid int) int {
	parent, _ := strconv.Atoi(ownStat(pid, statParent))
	return parent
}

// takenOver tells whether the pid of a process that has ended belongs to another one by now. A zombie keeps its own.
func takenOver(id Identity) bool {
	start := ownStat(id.PID, statStart)
	if start == "" {
		return !errors.Is(probe(id.PID), unix.ESRCH) // there is one that is hidden from us
	}
	return start != strconv.FormatUint(id.StartTicks, 10)
}

// isSelf tells whether a process runs the very program that the calling one does.
func isSelf(pid int) bool {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return false
	}
	other, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && os.SameFile(self, other)
}

// supported tells why handles cannot be had: pidfd_open came with Linux 5.3, and a filter of system calls may not know it. A /proc that
// was mounted in another PID namespace shows other processes under our pids.
func supported() error {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("the /proc here does not show the processes of this PID namespace: mount one, as unshare --mount-proc does")
	}
	h, err := openHandle(os.Getpid())
	if err != nil {
		return fmt.Errorf("this system gives no handles on processes, which tunhook needs (Linux 5.3 or later): %w", err)
	}
	h.close()
	return nil
}

// handle is a pidfd.
type handle struct{ fd int }

func openHandle(pid int) (handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return handle{}, ErrGone // EINVAL and, from newer kernels, ENOENT: a thread that leads no process
	case err != nil:
		return handle{}, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return handle{fd}, nil
}

func (h handle) signal(sig syscall.Signal) error {
	err := unix.PidfdSendSignal(h.fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

func (h handle) wait(d time.Duration) bool { return waitAny([]handle{h}, d) }

func waitAny(handles []handle, d time.Duration, readable ...int) (ended bool) {
	deadline := time.Now().Add(d)
	fds := make([]unix.PollFd, 0, len(handles)+len(readable))
	for _, h := range handles {
		fds = append(fds, unix.PollFd{Fd: int32(h.fd), Events: unix.POLLIN})
	}
	for _, fd := range readable {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		left := unix.NsecToTimespec(max(0, time.Until(deadline).Nanoseconds()))
		n, err := unix.Ppoll(fds, &left, nil)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

func (h handle) close() { unix.Close(h.fd) }

func processIDs() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// sessionOf costs one system call and no file of /proc, which matters with thousands of processes.
func sessionOf(pid int) int {
	sid, err := unix.Getsid(pid)
	if err != nil {
		return -1
	}
	return sid
}

// childrenOf gives the children of all of a process's threads, proc_tid_children(5); none where the kernel does not tell.
func childrenOf(pid int) ([]int, error) {
	task := fmt.Sprintf("/proc/%d/task/", pid)
	threads, err := os.ReadDir(task)
	if gone(err) {
		return nil, nil
	}
	var children []int
	for _, thread := range threads {
		text, err := readFile(task + thread.Name() + "/children")
		if err != nil && !gone(err) {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children, err
}

// environOf is the environment that a process was started with, empty where it has ended. The error is fs.ErrPermission where we may
// not read it. The kernel shows an empty one also for the instant in which an exec has replaced the old image and not yet laid out the
// new one, so a process that has a program but no environment is asked again.
func environOf(pid int) ([]string, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	for range 50 {
		data, err := readFile(dir + "environ")
		if len(data) == 0 && ownStat(pid, statState) == "Z" {
			data, err = otherThreadsEnviron(pid)
		}
		if gone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) > 0 {
			return strings.Split(string(data), "\x00"), nil
		}
		if cmdline, err := readFile(dir + "cmdline"); err != nil || len(cmdline) > 0 {
			return nil, nil // really started without any
		}
		if exe, err := os.Readlink(dir + "exe"); err != nil || exe == "" {
			return nil, nil // a kernel thread or a zombie
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil, nil
}

// otherThreadsEnviron is for a process whose first thread has ended: what /proc/PID shows is that thread's.
func otherThreadsEnviron(pid int) ([]byte, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		var data []byte
		if data, err = readFile(fmt.Sprintf("/proc/%d/task/%s/environ", pid, thread.Name())); len(data) > 0 {
			return data, nil
		}
	}
	return nil, err
}
