package main

import (
	"fmt"
	"strings"
	"time"
)

// page prints the steps, for a terminal of 80 columns.
type page struct {
	bold  bool
	steps int
}

const width = 78

// title begins a step.
func (p *page) title(text string) {
	p.steps++
	fmt.Printf("\n%d. %s\n", p.steps, text)
}

// did prints what was done, with the time it took at the right edge.
func (p *page) did(what string, took time.Duration) {
	ms := fmt.Sprintf("%.1f ms", float64(took.Microseconds())/1000)
	gap := strings.Repeat(" ", max(1, width-3-len(what)-len(ms)))
	if p.bold {
		what = "\x1b[1m" + what + "\x1b[0m"
	}
	fmt.Printf("   %s%s%s\n", what, gap, ms)
}

// shows prints what came of it.
func (p *page) shows(text string) {
	for line := range strings.Lines(text) {
		fmt.Printf("     %s\n", strings.TrimRight(line, "\n"))
	}
}
