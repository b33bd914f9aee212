package hook

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// browserDir is where the program of a tunnel finds the commands that open a page. Each tunnel has its own: what there is to link
// depends on the PATH that it was started with.
func (h *Env) browserDir(key pidfile.Key) string {
	return filepath.Join(filepath.Dir(h.LogDir), "browser", key.Name())
}

// tunnelEnviron is the environment of a tunnel program: the caller's, with what else it needs.
func (h *Env) tunnelEnviron(rec pidfile.Record, program program) ([]string, error) {
	dir, err := pidfile.PrivateDir(h.browserDir(rec.Key()), false, true)
	if err != nil {
		return nil, err
	}
	environ := tunnel.WithoutBrowserLinks(withVariables(h.Environ, program.env))
	if err := tunnel.LinkBrowserOpeners(dir.Path(), h.Self, tunnel.Getenv(environ, "PATH")); err != nil {
		return nil, err
	}
	return tunnel.FirstOnPath(append(withToken(environ, rec.Token), program.asks...), dir.Path()), nil
}

// withVariables sets variables in an environment, the last of a name for good: programs differ in which of several
// they take.
func withVariables(environ, more []string) []string {
	all := slices.Concat(environ, more)
	last := map[string]int{}
	for i, v := range all {
		name, _, _ := strings.Cut(v, "=")
		last[name] = i
	}
	var kept []string
	for i, v := range all {
		name, _, _ := strings.Cut(v, "=")
		if i < len(environ) && last[name] < len(environ) || last[name] == i {
			kept = append(kept, v)
		}
	}
	return kept
}

// PageEnviron is environ as a command that opens a page shall have it: a browser lives on when the tunnel has ended,
// and what is started from it later has nothing to do with that.
func PageEnviron(environ []string) []string {
	return tunnel.WithoutBrowserLinks(withToken(environ, ""))
}

// openingVariable names the commands under whose names tunhook is opening a page already, separated by ':'. The real
// one may well look for another of them on PATH, but what comes back under the same name would do so for ever.
const openingVariable = "TUNHOOK_OPENING"

// LoopError says that a command that opens a page has led back to tunhook, which stands in for it.
type LoopError struct{ Opener string }

func (e *LoopError) Error() string {
	return e.Opener + " leads back to tunhook, which has been called to open a page"
}

// NoOpenerError says that there is no command that could open a page.
type NoOpenerError struct{ Opener string }

func (e *NoOpenerError) Error() string {
	return "no program that could open the page was found on PATH: not " + e.Opener + ", nor a browser"
}

// PageTaken is how long a command that opens a page has to fail. One that still runs is the browser itself, which has the page.
const PageTaken = 2 * time.Second

// OpenPage stands in for a command that opens a page, opener, when a tunnel program calls it. It runs the real one in
// a session of its own, which does not end with the tunnel, and returns its exit status; 127 where there is none, as a
// shell would. A browser stays for as long as somebody uses it, and the tunnel program may wait for its command: so OpenPage
// returns 0 after patience, when the page can be taken for handed over. It returns 1 for a page that is held back: another program will
// open one. self is the path of tunhook. The error is a *LoopError or a *NoOpenerError.
func OpenPage(
	environ []string, self, opener string, args []string, stdout, stderr *os.File, patience time.Duration,
) (status int, err error) {
	if !mayOpenPage(environ) {
		return 1, nil
	}
	opening := filepath.SplitList(tunnel.Getenv(environ, openingVariable))
	if slices.Contains(opening, opener) {
		return 126, &LoopError{opener}
	}
	environ = PageEnviron(environ)
	path := findOpener(opener, tunnel.Getenv(environ, "PATH"), self)
	if path == "" {
		return 127, &NoOpenerError{opener}
	}
	out, err := shared(stdout)
	if err != nil {
		return 126, err
	}
	defer out.passOn()
	errs, err := shared(stderr)
	if err != nil {
		return 126, err
	}
	defer errs.passOn()
	_ = tunnel.UnlimitFiles() // a browser with a limit is better than none
	cmd := &exec.Cmd{
		Path:   path,
		Args:   append([]string{opener}, args...),
		Env:    append(environ, openingVariable+"="+strings.Join(append(opening, opener), string(filepath.ListSeparator))),
		Stdout: out.file, Stderr: errs.file, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return 126, nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the state says it all
	}()
	select {
	case <-ended:
		return tunnel.ExitStatus(cmd.ProcessState), nil
	case <-time.After(patience):
		return 0, nil
	}
}

// output is where a browser writes to. Whoever reads a pipe waits until all have closed it, a browser that stays too: so a
// browser gets a file in place of a pipe, which is passed on once.
type output struct{ file, pipe *os.File }

func shared(to *os.File) (output, error) {
	if info, err := to.Stat(); err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return output{file: to}, nil
	}
	file, err := scratchFile()
	return output{file, to}, err
}

// passOn copies what was written so far. From then on the file takes no more, where the system can do that.
func (o output) passOn() {
	if o.pipe == nil {
		return
	}
	endScratch(o.file)
	if info, err := o.file.Stat(); err == nil {
		_, _ = io.Copy(o.pipe, io.NewSectionReader(o.file, 0, info.Size()))
	}
}

// findOpener finds the command, or another that opens a page, since the links may have been made for another PATH; ""
// where there is none. What is tunhook itself under another name is passed over.
func findOpener(opener, path, self string) string {
	tunhook, _ := os.Stat(self) // nil: it has been removed meanwhile, and no command leads to it
	for _, name := range append([]string{opener}, tunnel.BrowserOpeners()...) {
		for _, dir := range filepath.SplitList(path) {
			file, err := findClient(name, dir)
			if err != nil {
				continue
			}
			if info, err := os.Stat(file); err == nil && !os.SameFile(info, tunhook) {
				return file
			}
		}
	}
	return ""
}
