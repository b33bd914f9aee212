package hook

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunhook/tunhook/tunnel"
)

// Question is what a tunnel program wants to know from whoever starts it: a passphrase, or whether a host is the one it
// says it is.
type Question struct {
	Text   string // as the program has put it: several lines perhaps, and safe for nothing
	Secret bool   // the answer must not be shown
	Notice bool   // there is nothing to answer: a key wants to be touched, say
}

// Askpass is the name under which tunhook asks, when ssh calls it by SSH_ASKPASS, ssh(1).
const Askpass = "tunhook-askpass"

// askVariable names the socket at which the start waits for questions.
const askVariable = "TUNHOOK_ASK"

// askpassPrograms are those that ssh has without being told, by distribution: Debian, Fedora, Arch and openSUSE.
var askpassPrograms = []string{"/usr/bin/ssh-askpass", "/usr/libexec/openssh/ssh-askpass", "/usr/lib/ssh/ssh-askpass"}

// hasAskpass tells whether ssh has a program of the user's to ask with, on their desktop.
func hasAskpass(environ []string) bool {
	own := tunnel.Getenv(environ, "SSH_ASKPASS")
	switch {
	case filepath.Base(own) == Askpass: // of a start that has come this way
		return false
	case tunnel.Getenv(environ, "SSH_ASKPASS_REQUIRE") == "force":
		return own != ""
	case tunnel.Getenv(environ, "DISPLAY") == "" && tunnel.Getenv(environ, "WAYLAND_DISPLAY") == "":
		return false
	}
	return own != "" || slices.ContainsFunc(askpassPrograms, func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// questions takes those that the tunnel program has while a start waits for it.
type questions struct {
	dir    string // holds the socket, and tunhook by the name of Askpass
	socket *net.UnixListener
	came   atomic.Bool
	cancel context.CancelFunc
	over   sync.WaitGroup
}

// takeQuestions has the tunnel program's questions asked, where there is somebody to ask and no better way. Without it
// ssh asks nobody: the tunnel has no terminal.
func (s *start) takeQuestions(ctx context.Context) {
	if s.Ask == nil || s.asking != nil || hasAskpass(s.Environ) {
		return
	}
	dir, err := s.socketDir()
	if err != nil {
		return
	}
	q := &questions{dir: dir}
	q.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err == nil {
		err = os.Symlink(s.Self, filepath.Join(dir, Askpass))
	}
	if err != nil {
		q.close()
		return
	}
	ctx, q.cancel = context.WithCancel(ctx)
	q.over.Go(func() {
		for {
			conn, err := q.socket.AcceptUnix()
			if err != nil {
				return
			}
			q.came.Store(true)
			s.answer(ctx, conn) // one at a time: there is one terminal
		}
	})
	s.asking = q
}

// close ends it, and returns when nothing is being asked any more.
func (q *questions) close() {
	if q == nil {
		return
	}
	if q.cancel != nil {
		q.cancel()
	}
	if q.socket != nil {
		q.socket.Close()
	}
	q.over.Wait()
	_ = os.RemoveAll(q.dir)
}

// environ is what makes ssh ask here.
func (q *questions) environ() []string {
	if q == nil {
		return nil
	}
	return []string{
		"SSH_ASKPASS=" + filepath.Join(q.dir, Askpass), "SSH_ASKPASS_REQUIRE=force", askVariable + "=" + filepath.Join(q.dir, "s"),
	}
}

// askerPause is the pause between two looks at whether the program that asks is still there.
const askerPause = 200 * time.Millisecond

// mostAsked bounds a question, in bytes.
const mostAsked = 64 << 10

// answer answers one question: its kind and its text, each ending with a zero byte, by a "1" and the answer, or by
// nothing.
func (s *start) answer(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	var asked []byte
	for buffer := make([]byte, mostAsked); bytes.Count(asked, []byte{0}) < 2; {
		n, err := conn.Read(buffer)
		if asked = append(asked, buffer[:n]...); err != nil || len(asked) > mostAsked {
			return
		}
	}
	kind, text, _ := strings.Cut(string(asked), "\x00")
	go func() { // whoever has asked may be gone before the answer comes
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	}()
	answer, ok := s.Ask(ctx, questionOf(kind, strings.TrimSpace(strings.TrimRight(text, "\x00"))))
	if ok {
		_, _ = io.WriteString(conn, "1"+answer)
	}
}

// questionOf tells by SSH_ASKPASS_PROMPT and the words of ssh what is asked: ssh does not say whether the answer is
// secret, but asks yes or no for host keys only in these words (its confirm in sshconnect.c).
func questionOf(kind, text string) Question {
	yesNo := kind == "confirm" || strings.Contains(text, "(yes/no") || strings.Contains(text, "'yes', 'no'")
	return Question{Text: text, Secret: !yesNo, Notice: kind == "none"}
}

// AskStart is tunhook by the name of Askpass: it hands the question on to the start that waits for the tunnel, writes
// the answer to stdout, and returns the exit status, which is 1 where nobody answers.
func AskStart(environ, args []string, stdout io.Writer) (status int) {
	conn, err := net.Dial("unix", tunnel.Getenv(environ, askVariable))
	if err != nil {
		return 1
	}
	defer conn.Close()
	go func() { // nobody needs the answer of one whose program is gone; and it would keep the tunnel from being over
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(askerPause)
		}
		conn.Close()
	}()
	asked := tunnel.Getenv(environ, "SSH_ASKPASS_PROMPT") + "\x00" + strings.ReplaceAll(strings.Join(args, " "), "\x00", "") + "\x00"
	if _, err := io.WriteString(conn, asked); err != nil {
		return 1
	}
	answer, err := io.ReadAll(conn)
	if err != nil || len(answer) == 0 {
		return 1
	}
	if _, err := stdout.Write(append(answer[1:], '\n')); err != nil {
		return 1
	}
	return 0
}
