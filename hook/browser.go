package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// browserDir is where tunnel programs find the commands that open a page.
func (h *Hook) browserDir() string { return filepath.Join(filepath.Dir(h.LogDir), "browser") }

// tunnelEnviron is the environment of a tunnel program.
func (h *Hook) tunnelEnviron(token string) ([]string, error) {
	dir, err := pidfile.PrivateDir(h.browserDir(), false, true)
	if err != nil {
		return nil, err
	}
	if err := tunnel.LinkBrowserOpeners(dir.Path(), h.Self, Variable(h.Environ, "PATH"), h.Now()); err != nil {
		return nil, err
	}
	return tunnel.FirstOnPath(withToken(h.Environ, token), dir.Path()), nil
}

// OpenPage stands in for a command that opens a page, opener, when a tunnel program calls it: it runs the real one in a session of
// its own, which does not end with the tunnel, and returns its exit status; 127 where there is none, as a shell would.
func (h *Hook) OpenPage(opener string, args []string, stdout, stderr *os.File) int {
	environ := tunnel.NotOnPath(withToken(h.Environ, ""), h.browserDir())
	path, err := findClient(opener, Variable(environ, "PATH"))
	for _, other := range tunnel.BrowserOpeners() { // the links may have been made for another PATH
		if err == nil {
			break
		}
		path, err = findClient(other, Variable(environ, "PATH"))
	}
	if err != nil {
		return 127
	}
	_ = tunnel.UnlimitFiles() // a browser with a limit is better than none
	cmd := &exec.Cmd{
		Path: path, Args: append([]string{opener}, args...), Env: environ,
		Stdout: stdout, Stderr: stderr, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	_ = cmd.Run() // the state says it all
	if cmd.ProcessState == nil {
		return 126
	}
	return exitStatus(cmd.ProcessState)
}
