package tunnel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// roles are what the test binary does as a helper process. Each says on its standard output when it is where it shall be.
var roles = map[string]func(args []string) error{
	"listen":   func(args []string) error { return listenOn(args) },
	"dial":     dial,
	"quit":     func([]string) error { fmt.Println("a last word"); return nil },
	"idle":     func([]string) error { fmt.Println("ready"); return forever() },
	"parent":   parent,
	"stubborn": stubborn,
	"breeder":  breeder,
	"launcher": func(args []string) error { return launcher(args) },
	"stdio":    func(args []string) error { return stdioRelay(args) },

	"withoutnetlink":  func(args []string) error { return withoutNetlink(args) },
	"waitunseen":      func(args []string) error { return waitUnseen(args) },
	"private":         func(args []string) error { return listenPrivately(args) },
	"firstthreadends": func(args []string) error { return firstThreadEnds(args) },
	"saysnetwork":     func(args []string) error { return saysNetwork(args) },
	"sayscutoff":      func(args []string) error { return saysCutOff(args) },
}

// forever lasts until the helper is killed, or its time is up.
func forever() error {
	select {}
}

// listenOn listens on every address in args and says on which, and when somebody connects.
func listenOn(args []string) error {
	var listeners []net.Listener
	for _, addr := range args {
		network, addr, ok := strings.Cut(addr, "=")
		if !ok {
			network, addr = "tcp", network
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		fmt.Println(l.Addr())
		go func() {
			for {
				conn, err := l.Accept()
				fmt.Println("accepted", conn, err)
			}
		}()
	}
	return forever()
}

// dial connects to args[0] and stays connected.
func dial(args []string) error {
	for range args[1:] { // once more for each further argument
		if _, err := net.Dial("tcp", args[0]); err != nil {
			return err
		}
	}
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(conn.LocalAddr())
	return forever()
}

// parent starts a child that plays the role of args[1:]. With "leave" the parent ends, with "stay" it does not; with "-daemon" behind
// that the child has a session of its own.
func parent(args []string) error {
	how := args[0]
	child := exec.Command("/proc/self/exe")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.Env = roleEnviron(args[1:]...)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: strings.HasSuffix(how, "-daemon")}
	if err := child.Start(); err != nil || strings.HasPrefix(how, "leave") {
		return err
	}
	return forever()
}

// stubborn ignores the signal to end, and says so once it does. With arguments it has a child that plays their role.
func stubborn(args []string) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("ready")
	if len(args) > 0 {
		return parent(append([]string{"stay"}, args...))
	}
	return forever()
}

// breeder starts one more process when it is asked to end, and only then does so.
func breeder(args []string) error {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM)
	fmt.Println("ready")
	select {
	case <-caught:
		return parent(append([]string{"leave"}, args...))
	case <-time.After(deadline):
		return errors.New("nobody has asked")
	}
}
