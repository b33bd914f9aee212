// Package flatpak runs programs on the host from inside a Flatpak sandbox and, on the host, finds the sandbox that a program was
// called from.
package flatpak

import (
	"io/fs"
	"strings"
)

// Sandbox is the Flatpak sandbox that this process runs in.
type Sandbox struct {
	AppID      string // "org.remmina.Remmina"; empty where a bare runtime runs
	InstanceID string // names the running sandbox on the host, see Host
	mounts     mounts
}

// Inside tells whether this process runs in a Flatpak sandbox, and in which. root is the root directory, os.DirFS("/"). Flatpak
// puts the file /.flatpak-info into every sandbox, flatpak-metadata(5).
func Inside(root fs.FS) (Sandbox, bool) {
	info, err := fs.ReadFile(root, ".flatpak-info")
	if err != nil {
		return Sandbox{}, false
	}
	s := sandboxOf(info)
	if text, err := fs.ReadFile(root, "proc/self/mountinfo"); err == nil {
		s.mounts = parseMounts(text)
	}
	return s, true
}

func sandboxOf(info []byte) Sandbox {
	return Sandbox{
		AppID:      value(info, "Application", "name"),
		InstanceID: value(info, "Instance", "instance-id"),
	}
}

// value reads one key of a file in the form of the Desktop Entry Specification, "Basic format of the file".
func value(file []byte, group, key string) string {
	in := false
	for text := range strings.Lines(string(file)) {
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "[") {
			in = text == "["+group+"]"
			continue
		}
		if k, v, ok := strings.Cut(text, "="); in && ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
