package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// Text fits a terminal of 80 columns, and what is no terminal gets it so; what the cli package would print does not. A terminal
// that is narrower gets shorter lines, but none that would hold next to nothing.
const (
	helpWidth  = usualColumns - 1
	leastWidth = 39
)

// width is how long the lines of text may be on stdout.
func (u *ui) width() int {
	columns, _, err := term.GetSize(int(u.stdout.Fd()))
	if err != nil || columns <= 0 {
		return helpWidth
	}
	return min(max(columns-1, leastWidth), helpWidth)
}

// A paragraph of a description that begins with this has commands, which can be copied.
const example = "Example:\n"

// Where the text begins that is behind a command's name.
const behindName = 11

// escaped is text that is no template.
func escaped(text string) string { return strings.ReplaceAll(text, "{", `{{"{"}}`) }

// appHelp is the whole help of the program, as a template without anything to fill in.
func appHelp(app *cli.App, width int) string {
	text := wrap(app.Name+": "+app.Usage, "", width) + "\n" + usage(app.UsageText, width) +
		description(app.Description, width) + commandList(app.VisibleCommands(), width) + "\n" +
		wrap("tunhook help COMMAND tells more; tunhook version prints the version.", "", width)
	return escaped(text)
}

// commandHelp is the whole help of a command, as a template without anything to fill in.
func commandHelp(path string, sub *cli.Command, width int) string {
	text := wrap(path+": "+sub.Usage, "", width) + "\n" + usage(sub.UsageText, width) + description(sub.Description, width)
	if len(sub.Subcommands) > 0 {
		text += commandList(sub.Subcommands, width)
	}
	if len(sub.Flags) > 0 {
		text += "\nFlags:\n"
	}
	for _, f := range sub.Flags {
		text += flagHelp(f, width)
	}
	return escaped(text)
}

// usage is a line for each form of a command.
func usage(forms string, width int) string {
	text := ""
	for form := range strings.SplitSeq(forms, "\n") {
		text += hanging("       "+form, "       ", width)
	}
	return "Usage:" + strings.TrimPrefix(text, "      ")
}

// description is the paragraphs of one, each behind an empty line.
func description(text string, width int) string {
	var b strings.Builder
	if text == "" {
		return ""
	}
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		b.WriteString("\n")
		commands, isExample := strings.CutPrefix(paragraph, example)
		switch {
		case !isExample && strings.Contains(paragraph, "\n") && fits(paragraph, width):
			b.WriteString(paragraph + "\n")
		case isExample:
			b.WriteString(example)
			for line := range strings.SplitSeq(commands, "\n") {
				b.WriteString(continued(line, width))
			}
		case strings.Contains(paragraph, ":  "): // words with what they mean, in columns
			for line := range strings.SplitSeq(paragraph, "\n") {
				_, meaning, _ := strings.Cut(line, ":")
				b.WriteString(hanging(line, strings.Repeat(" ", len(line)-len(strings.TrimLeft(meaning, " "))), width))
			}
		default:
			b.WriteString(wrap(paragraph, "", width))
		}
	}
	return b.String()
}

func fits(text string, width int) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if columns(line) > width {
			return false
		}
	}
	return true
}

func commandList(commands []*cli.Command, width int) string {
	text := "\nCommands:\n"
	for _, sub := range commands {
		text += hanging(fmt.Sprintf("  %-*s%s", behindName-2, sub.Name, sub.Usage), strings.Repeat(" ", behindName), width)
	}
	return text
}

// flagHelp is the flag with the name of its value on one line, and what it does below.
func flagHelp(f cli.Flag, width int) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	var names []string
	for _, n := range f.Names() {
		dashes := "--"
		if len(n) == 1 {
			dashes = "-"
		}
		names = append(names, dashes+n)
	}
	usage, value := doc.GetUsage(), ""
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		name, after, _ := strings.Cut(rest, "`")
		usage, value = before+name+after, " "+name
	}
	if def := strings.Trim(doc.GetDefaultText(), `"`); doc.TakesValue() && def != "" {
		usage += " (default: " + def + ")"
	}
	return "  " + strings.Join(names, ", ") + value + "\n" + wrap(usage, "      ", width)
}

func wrap(text, indent string, width int) string {
	var b strings.Builder
	line := indent
	for _, word := range strings.Fields(text) {
		if columns(line)+1+columns(word) > width && line != indent {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}

// hanging is a line as it stands, or, where it has no room, wrapped below what stands behind its indent.
func hanging(line, indent string, width int) string {
	if columns(line) <= width || len(line) <= len(indent) {
		return line + "\n"
	}
	return line[:len(indent)] + strings.TrimPrefix(wrap(line[len(indent):], indent, width), indent)
}

// continued is a command on as many lines as it needs, which a shell takes for one.
func continued(line string, width int) string {
	if columns(line) <= width {
		return line + "\n"
	}
	const more = " \\\n"
	lines := wrap(line, "      ", width-2)
	return strings.ReplaceAll(strings.TrimSuffix("  "+strings.TrimLeft(lines, " "), "\n"), "\n", more) + "\n"
}
