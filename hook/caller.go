package hook

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v3/process"
)

// inBetween are programs that stand between a client and tunhook, without the version that may be part of the name: what runs scripts,
// and what runs one command and ends with it.
var inBetween = []string{
	"ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "yash", "zsh",
	"lua", "node", "perl", "php", "python", "ruby", "tclsh",
	"doas", "env", "flatpak-spawn", "nice", "nohup", "script", "setsid", "stdbuf", "sudo", "systemd-run", "time", "timeout", "xargs",
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
	name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	return slices.Contains(inBetween, strings.TrimRight(name, "0123456789.-"))
}
