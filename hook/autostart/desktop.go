package autostart

import "strings"

// desktopEntry is the entry that the desktop runs at login, of the Desktop Entry Specification 1.5. The environment comes by
// env(1): a desktop entry has no key for it.
func (e Entry) desktopEntry() string {
	argv := append([]string{"/usr/bin/env"}, e.Environ...)
	argv = append(append(argv, e.Program), e.Args...)
	for i, arg := range argv {
		argv[i] = execQuote(arg)
	}
	return marker +
		"[Desktop Entry]\nType=Application\nName=" + e.title() + "\n" +
		"Comment=Starts the tunnel when somebody connects\n" +
		"Exec=" + stringValue(strings.Join(argv, " ")) + "\n" +
		"Terminal=false\nNoDisplay=true\n" + e.keys()
}

// execQuote writes one argument of a command as the key Exec has it. Quotes stand only where they are needed: what a field code
// within quotes means is undefined, and %% is one.
func execQuote(arg string) string {
	doubled := strings.ReplaceAll(arg, "%", "%%")
	if arg != "" && !strings.ContainsAny(arg, " \t\r\n\"'\\><~|&;$*?#()`") {
		return doubled
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(doubled) {
		if strings.IndexByte("\"`$\\", doubled[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(doubled[i])
	}
	b.WriteByte('"')
	return b.String()
}

// stringValue writes a value of the type string, whose escapes are read before those of the key.
func stringValue(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(text)
}
