package hook

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v3/process"
)

// inBetween are programs that stand between a client and tunhook, without the version that may be part of the name: what runs scripts,
// and what runs one command and ends with it. Some systems have all of coreutils, timeout(1) among them, in one program.
var inBetween = []string{
	"ash", "bash", "bash-static", "busybox", "busybox-static", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "pwsh", "rbash",
	"sh", "tcsh", "toybox", "yash", "zsh", "zsh-static",
	"awk", "bun", "deno", "expect", "gawk", "gjs-console", "guile", "just", "lua", "luajit", "make", "mawk", "node", "nodejs", "perl",
	"php", "pypy", "python", "ruby", "tclsh",
	"bwrap", "coreutils", "dbus-run-session", "doas", "env", "firejail", "flatpak-spawn", "flock", "nice", "nohup", "runuser", "script",
	"setsid", "stdbuf", "su", "sudo", "sudo-rs", "systemd-inhibit", "systemd-run", "time", "timeout", "unshare", "xargs",
}

// IsInBetween tells whether a process is no client, as far as its executable can be seen: by its name it would be its script.
func IsInBetween(pid int) bool {
	proc, err := process.NewProcess(int32(pid))
	if err != nil {
		return false
	}
	exe, err := proc.Exe()
	if err != nil {
		return false
	}
	return isInBetween(exe)
}

// isInBetween is IsInBetween for an executable.
func isInBetween(exe string) bool {
	name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	return slices.Contains(inBetween, strings.TrimRight(name, "0123456789.-"))
}
