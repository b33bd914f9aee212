package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Columns of a terminal: what it shows of a text takes fewer of them than there are bytes, and more than there are characters where
// those are of East Asia, or small pictures.

// columns tells how many columns a text takes, which safe has been through; at most, where terminals differ.
func columns(text string) int {
	sum, last := 0, 0
	for _, r := range text {
		last = columnsOf(r, last)
		sum += last
	}
	return sum
}

// emojiStyle makes a picture of the character before it, which is wide then: UTS #51, "emoji presentation selector".
const emojiStyle = '\ufe0f'

// columnsOf tells what one character takes more, where the one before it has taken so many columns.
func columnsOf(r rune, before int) int {
	switch {
	case r < 0x300: // nothing below combines or is wide
		return 1
	case r == emojiStyle && before == 1:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut gives the beginning of a text that takes more than so many columns.
func cut(text string, most int) string {
	if len(text) <= most || columns(text) <= most {
		return text
	}
	sum, last := 0, 0
	for i, r := range text {
		last = columnsOf(r, last)
		if sum += last; sum > most-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// table is lines whose cells stand below each other, however wide their characters are.
type table struct {
	out  io.Writer
	rows [][]string
}

func newTable(out io.Writer) *table { return &table{out: out} }

// row adds a line to a table.
func row(t *table, cells ...string) {
	for i, cell := range cells {
		cells[i] = safe(cell)
	}
	t.rows = append(t.rows, cells)
}

// Flush writes the lines at once.
func (t *table) Flush() error {
	var widest []int
	for _, cells := range t.rows {
		for i, cell := range cells {
			if i == len(widest) {
				widest = append(widest, 0)
			}
			widest[i] = max(widest[i], columns(cell))
		}
	}
	var b strings.Builder
	for _, cells := range t.rows {
		last := len(cells) - 1
		for i, cell := range cells[:last] {
			fmt.Fprintf(&b, "%s%*s", cell, widest[i]-columns(cell)+2, "")
		}
		b.WriteString(cells[last] + "\n")
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}
