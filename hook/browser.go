package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// browserDir is where tunnel programs find the commands that open a page.
func (h *Env) browserDir() string { return filepath.Join(filepath.Dir(h.LogDir), "browser") }

// tunnelEnviron is the environment of a tunnel program: the caller's, with the variables more.
func (h *Env) tunnelEnviron(token string, more []string) ([]string, error) {
	dir, err := pidfile.PrivateDir(h.browserDir(), false, true)
	if err != nil {
		return nil, err
	}
	environ := tunnel.WithoutBrowserLinks(withVariables(h.Environ, more))
	if err := tunnel.LinkBrowserOpeners(dir.Path(), h.Self, Variable(environ, "PATH"), h.Now()); err != nil {
		return nil, err
	}
	return tunnel.FirstOnPath(append(withToken(environ, token), h.asking.environ()...), dir.Path()), nil
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

// OpenPage stands in for a command that opens a page, opener, when a tunnel program calls it. It runs the real one in
// a session of its own, which does not end with the tunnel, and returns its exit status; 127 where there is none, as a
// shell would. self is the path of tunhook. The error is a *LoopError.
func OpenPage(environ []string, self, opener string, args []string, stdout, stderr *os.File) (status int, err error) {
	opening := filepath.SplitList(Variable(environ, openingVariable))
	if slices.Contains(opening, opener) {
		return 126, &LoopError{opener}
	}
	environ = PageEnviron(environ)
	path := findOpener(opener, Variable(environ, "PATH"), self)
	if path == "" {
		return 127, nil
	}
	_ = tunnel.UnlimitFiles() // a browser with a limit is better than none
	cmd := &exec.Cmd{
		Path:   path,
		Args:   append([]string{opener}, args...),
		Env:    append(environ, openingVariable+"="+strings.Join(append(opening, opener), string(filepath.ListSeparator))),
		Stdout: stdout, Stderr: stderr, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	_ = cmd.Run() // the state says it all
	if cmd.ProcessState == nil {
		return 126, nil
	}
	return exitStatus(cmd.ProcessState), nil
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
