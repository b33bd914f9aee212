package hook

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/tunhook/tunhook/tunnel"
)

// SSH is the tunnel program of ssh:// routes; it returns only when that has ended, or cannot become ssh.
func (h *Env) SSH(ctx context.Context, s tunnel.SSH) error {
	s.Self, s.Environ, s.Dir = h.Self, h.Environ, h.socketDir
	return s.Run(ctx)
}

const (
	// socketDirs is how the directories begin that sockets of ours are in for the time of a login.
	socketDirs = "socket-"
	// socketDirsFor is how long such a directory is left: no login takes longer, and none that is older is in use.
	socketDirsFor = time.Hour
	// longestSocketDir is how long a directory's path may be, in bytes: a socket's has 107 at most, unix(7), of which
	// ssh takes 17 while it makes it, and we two.
	longestSocketDir = 88
)

// socketDir makes a private directory for a socket, with the records where the path is short enough. Those that are
// left over are removed.
func (h *Env) socketDir() (string, error) {
	records, err := h.records(true)
	if err != nil {
		return "", err
	}
	h.removeSocketDirs(records.Path())
	const random = 10 // what MkdirTemp adds, in digits
	parent := records.Path()
	if len(parent)+len("/")+len(socketDirs)+random > longestSocketDir {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, socketDirs)
}

func (h *Env) removeSocketDirs(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, socketDirs+"*"))
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err == nil && info.IsDir() && h.Now().Sub(info.ModTime()) > socketDirsFor {
			_ = os.RemoveAll(dir) // the next one tries again
		}
	}
}
