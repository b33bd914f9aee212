package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// Help fits a terminal of 80 columns: what the cli package would print does not.
const helpWidth = 79

// A paragraph of a description that begins with this is printed as it stands, and not wrapped.
const example = "Example:\n"

const appHelp = `{{.Name}}: {{.Usage}}

Usage: {{.UsageText}}

{{.Description}}

Commands:
{{range .VisibleCommands}}  {{printf "%-9s" .Name}}{{.Usage}}
{{end}}
tunhook help COMMAND tells more; tunhook version prints the version.
`

// commandHelp is the whole help of a command, as a template without anything to fill in.
func commandHelp(path string, sub *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nUsage: %s\n", wrap(path+": "+sub.Usage, ""), strings.ReplaceAll(sub.UsageText, "\n", "\n       "))
	if sub.Description != "" {
		for paragraph := range strings.SplitSeq(sub.Description, "\n\n") {
			if strings.HasPrefix(paragraph, example) {
				b.WriteString("\n" + paragraph + "\n")
			} else {
				b.WriteString("\n" + wrap(paragraph, ""))
			}
		}
	}
	if len(sub.Subcommands) > 0 {
		b.WriteString("\nCommands:\n")
		for _, s := range sub.Subcommands {
			fmt.Fprintf(&b, "  %-9s%s\n", s.Name, s.Usage)
		}
	}
	if len(sub.Flags) > 0 {
		b.WriteString("\nFlags:\n")
	}
	for _, f := range sub.Flags {
		b.WriteString(flagHelp(f))
	}
	return strings.ReplaceAll(b.String(), "{", `{{"{"}}`)
}

// flagHelp is the flag with the name of its value on one line, and what it does below.
func flagHelp(f cli.Flag) string {
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
	return "  " + strings.Join(names, ", ") + value + "\n" + wrap(usage, "      ")
}

func wrap(text, indent string) string {
	var b strings.Builder
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > helpWidth && line != indent {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}
