package main

import (
	"fmt"
	"strings"
)

// table prints the rows as they are measured, for a terminal of 80 columns.
type table struct {
	bench  *bench
	shown  []string // pairs for strings.NewReplacer: what commands really say, and how the table shows it
	broken []string
}

func newTable(b *bench) *table { return &table{bench: b} }

const width = 78

const layout = "%-30s %5s %-15s %-9s %-11s %6s"

func (t *table) head() {
	fmt.Print(`Each row: tunhook ÷ something else, measured in turns. ratio is the median of
the rounds' ratios, with its quartiles; ms ÷ ms are the medians of each side.

`)
	t.line("", "ratio", "quartiles", "bound", "ms ÷ ms", "rounds")
}

func (t *table) line(columns ...any) {
	fmt.Println(strings.TrimRight(fmt.Sprintf(layout, columns...), " "))
}

// show gives a command as the table shows it.
func (t *table) show(argv ...string) string { return t.short().Replace(strings.Join(argv, " ")) }

// showAll does so with commands that come one after the other.
func (t *table) showAll(commands [][]string) string {
	var all []string
	for _, argv := range commands {
		all = append(all, t.show(argv...))
	}
	return strings.Join(all, " && ")
}

// abbreviate shortens commands: pairs of what they say and what the table shows.
func (t *table) abbreviate(pairs ...string) { t.shown = append(t.shown, pairs...) }

func (t *table) short() *strings.Replacer {
	b := t.bench
	return strings.NewReplacer(append(t.shown, b.tunhook, "tunhook", b.home.Dir+"/", "", route, "ROUTE", b.addr, "LISTEN")...)
}

// legend explains what the commands of the rows do not.
func (t *table) legend() {
	fmt.Print(`
ROUTE is ` + route + `, LISTEN a port of 127.0.0.1. "up" is until LISTEN answers, "down"
until it does so no more, whenever the commands return. hooks/ is in scripts/bench;
OPTIONS are keys and known hosts. The rows of a listener are times to the first
byte of an RDP server's answer, RELAY being a route to it that needs no gateway.
Tunnels take long to bring up: the rows with ` + fmt.Sprint(manyRecords) + ` of them up are not measured in
turns, but in one go, between the two halves of those with one. The row with a "-" is
a difference in ms: what tunhook adds until an RDP server answers from behind DESK,
whose gateway lets the user in. Its bound grows with the time of a bare program.

The stand-in for pomerium-cli listens 5 ms after its exec, and later in proportion
on a machine where a bare Go program takes more than 2.75 ms: here it took ` + number(milliseconds(t.bench.pace.bare)) + ` ms.
`)
}

// row prints one comparison and the two commands that made it.
func (t *table) row(r row, res result) {
	t.line(r.name, number(res.ratio.median), fmt.Sprintf("(%s–%s)", number(res.ratio.first), number(res.ratio.third)),
		t.verdict(r.name, res.ratio.median, r.bound), number(res.ours.median)+" ÷ "+number(res.other.median), fmt.Sprint(res.rounds))
	fmt.Println(wrapped("    ", r.ours.command))
	fmt.Println(wrapped("  ÷ ", r.other.command))
}

// added prints a comparison by the difference, which is not ours alone to be a ratio of: most of the time is the other side's.
func (t *table) added(r row, res result) {
	t.line(r.name, number(res.ratio.median), fmt.Sprintf("(%s–%s) ms", number(res.ratio.first), number(res.ratio.third)),
		t.verdict(r.name, res.ratio.median, r.bound), number(res.ours.median)+" - "+number(res.other.median), fmt.Sprint(res.rounds))
	fmt.Println(wrapped("    ", r.ours.command))
	fmt.Println(wrapped("  - ", r.other.command))
}

// fact prints what is no ratio of times.
func (t *table) fact(name string, value float64, unit string, bound float64, how string) {
	t.line(name, number(value), unit, t.atMost(name, value, bound), "", "")
	fmt.Println("    " + how)
}

// missing prints a row that cannot be measured here.
func (t *table) missing(name, why string) { t.line(name, "-", why, "", "", "") }

func (t *table) verdict(name string, ratio, bound float64) string {
	if bound == 0 {
		return ""
	}
	return t.atMost(name, ratio, bound)
}

func (t *table) atMost(name string, value, bound float64) string {
	if value > bound {
		t.broken = append(t.broken, fmt.Sprintf("%s: %s, at most %.1f", name, number(value), bound))
		return fmt.Sprintf("≤ %.1f NO", bound)
	}
	return fmt.Sprintf("≤ %.1f ok", bound)
}

// wrapped breaks a command that is too long for a line between its words.
func wrapped(prefix, command string) string {
	text, used := prefix, len(prefix)
	for i, word := range strings.Fields(command) {
		switch {
		case i == 0:
		case used+1+len(word) > width:
			text += " \\\n        "
			used = 8
		default:
			text += " "
			used++
		}
		text += word
		used += len(word)
	}
	return text
}

// number has about as many digits as the measurements go.
func number(v float64) string {
	switch {
	case v == 0 || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v < 0.01:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
