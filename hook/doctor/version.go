package doctor

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// versionOf says how a program is asked for its version, and the first one that will do, if not all do.
type versionOf struct {
	args  []string
	least string
}

// versions are the programs that tell their version at once, without a connection.
func versions() map[string]versionOf {
	return map[string]versionOf{
		// Before 0.29 it says nowhere where to sign in.
		"pomerium-cli": {[]string{"--version"}, "0.29"},
		"ssh":          {[]string{"-V"}, ""},
		"cloudflared":  {[]string{"--version"}, ""},
		"kubectl":      {[]string{"version", "--client"}, ""},
		"tailscale":    {[]string{"version"}, ""},
		"boundary":     {[]string{"version"}, ""},
		"tsh":          {[]string{"version", "--client"}, ""},
		"chisel":       {[]string{"--version"}, ""},
		"wstunnel":     {[]string{"--version"}, ""},
		"frpc":         {[]string{"--version"}, ""},
	}
}

// number is a version within a text. That of a build that was never released is none.
//
// It is compiled when it is needed, as all of them are: each start would wait for it.
var number = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\d+(\.\d+)+[0-9A-Za-z.+-]*`)
})

const unreleased = "0.0.0"

// version asks a program; answered is false where it does not end in time. Without arguments it is not asked.
func (e *exam) version(ctx context.Context, program string, args []string) (version string, answered bool) {
	if len(args) == 0 {
		return "", true
	}
	ctx, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = e.Hook.Environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children, where it is a script
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	_ = cmd.Run() // what it has said counts, however it ended
	if version = number().FindString(said.String()); strings.HasPrefix(version, unreleased) {
		version = ""
	}
	return version, version != "" || ctx.Err() == nil
}

// older compares number by number. A version that is not known is not older.
func older(version, than string) bool {
	have, want := strings.Split(version, "."), strings.Split(than, ".")
	for i, w := range want {
		if i >= len(have) {
			return version != ""
		}
		a, err := strconv.Atoi(digits().FindString(have[i]))
		b, _ := strconv.Atoi(w)
		if err != nil || a != b {
			return err == nil && a < b
		}
	}
	return false
}

var digits = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\d+`)
})
