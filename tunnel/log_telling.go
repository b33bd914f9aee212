package tunnel

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// What a program says when it fails is often one line among much that helps nobody then: how to call it, a table of its flags, the
// stack of its functions, and a line that tells of each attempt.

// isError are the words of lines that say what went wrong; JSON and logfmt have a level for it, glog a letter.
const isError = `(?i)\b(errors?|fatal|panic|failed|failure|fails|cannot|can't|could ?n[o']t|couldn’t|unable|denied|forbidden|refused|invalid|incorrect|` +
	`unknown|unrecognized|unexpected|unsupported|missing|mismatch|not found|no such|does not|doesn't|do not|is not|not provided|must be|must specify|` +
	`unauthorized|unauthenticated|unavailable|expired|timed out|timeout|rejected|aborted|exception|traceback|usage of|reset by|closed by|unreachable)\b|` +
	`^tunhook: |"level":"(error|fatal|panic)"|\blevel=(error|fatal|panic)\b|\b(ERR|FTL|CRITICAL)\b|^[EF][0-9]{4} `

// The beginnings of help, after which everything that is indented is more of it; what stands in its tables; and lines of stacks.
const (
	helpBegins = `^\s*(?i:usage|synopsis|name|version|commands?|subcommands|available commands|options?|global options|command options|flags|global flags|` +
		`arguments|positional arguments|optional arguments|aliases|examples?|description|see also)\s*:?\s*$|^\s*(?i:usage):|^\s*(?i:for more|run|try|type|use|see) .*(--?help|help)\b`
	helpTable = `^\s+--?[A-Za-z0-9]|^\s*-[A-Za-z0-9],? |^\s*--[a-z][a-z-]+[ =]`
	stackLine = `^goroutine \d+ |^\s+\S+\.(go|py|rb|js|java|rs|c|cc):\d+|^\s*File ".*", line \d+|^\s+at \S+|^\S+\(.*\)$|^created by |^\s+\^+\s*$|` +
		`^Traceback \(most recent|^During handling of|^exit status \d+$|^stack backtrace:|^\s+\d+: `
)

// TellingLines gives those n lines of the log from byte offset from on that tell most of why the program failed, made safe to show.
// They are the last ones where there are no more than n, or nothing says that any of them matters.
func TellingLines(log *os.File, from int64, n int) []string {
	lines := logLines(log, from)
	if len(lines) <= n {
		return printable(lines)
	}
	told := withoutHelp(lines)
	if len(told) == 0 {
		return printable(lines[len(lines)-n:])
	}
	if !slices.ContainsFunc(told, regexp.MustCompile(isError).MatchString) {
		return printable(told[max(0, len(told)-n):])
	}
	return printable(choose(once(told), n))
}

// Telling gives the line that tells most.
func Telling(lines []string) string {
	errors := regexp.MustCompile(isError)
	for _, line := range slices.Backward(lines) {
		if errors.MatchString(line) {
			return line
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// withoutHelp leaves out help, tables of flags and stacks.
func withoutHelp(lines []string) (kept []string) {
	begins, table, stack := regexp.MustCompile(helpBegins), regexp.MustCompile(helpTable), regexp.MustCompile(stackLine)
	inHelp, inStack := false, false
	for _, line := range lines {
		indented := strings.TrimLeft(line, " \t") != line
		switch {
		case stack.MatchString(line):
			inStack = true
		case begins.MatchString(line):
			inHelp, inStack = true, false
		case table.MatchString(line), (inHelp || inStack) && indented:
		default:
			inHelp, inStack = false, false
			kept = append(kept, line)
		}
	}
	return kept
}

// once leaves out what is said again, but for numbers: times, ports, counts.
func once(lines []string) (kept []string) {
	numbers := regexp.MustCompile(`[0-9]+`)
	said := map[string]bool{}
	for _, line := range lines {
		words := numbers.ReplaceAllString(line, "0")
		if !said[words] {
			said[words] = true
			kept = append(kept, line)
		}
	}
	return kept
}

// choose takes n lines in their order: those that tell of an error, of too many the first, which is the cause, and the last; then
// the last of the others.
func choose(lines []string, n int) []string {
	errors := regexp.MustCompile(isError)
	var bad, others []int
	for i, line := range lines {
		if errors.MatchString(line) {
			bad = append(bad, i)
		} else {
			others = append(others, i)
		}
	}
	if len(bad) > n {
		bad = append(bad[:1:1], bad[len(bad)-n+1:]...)
	}
	chosen := append(bad, others[max(0, len(others)-(n-len(bad))):]...)
	slices.Sort(chosen)
	var kept []string
	for _, i := range chosen {
		kept = append(kept, lines[i])
	}
	return kept
}

func printable(lines []string) []string {
	shown := make([]string, len(lines))
	for i, line := range lines {
		shown[i] = Printable(line)
	}
	return shown
}
