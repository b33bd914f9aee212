package main

import (
	"fmt"
	"slices"
	"time"
)

// side is one of the two things that a row compares.
type side struct {
	command string // as the table shows it
	measure func() (time.Duration, error)
}

// row compares tunhook with something else.
type row struct {
	name        string
	ours, other side
	bound       float64 // the ratio may be at most this; 0: no bound
	part        int     // of the rounds, one in so many: for what is slow
}

// result is what the rounds of a row came to.
type result struct {
	ratio       quartiles
	ours, other quartiles // milliseconds
	rounds      int
}

// compare measures a row and prints it.
func (b *bench) compare(r row) error {
	n := max(1, b.rounds/max(1, r.part))
	var ours, other, ratios []float64
	for i := range n + 1 {
		times, err := r.round(i%2 == 0)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if i == 0 {
			continue // the first round finds cold caches
		}
		ours, other = append(ours, milliseconds(times[0])), append(other, milliseconds(times[1]))
		ratios = append(ratios, float64(times[0])/float64(times[1]))
	}
	b.table.row(r, result{quartilesOf(ratios), quartilesOf(ours), quartilesOf(other), n})
	return nil
}

// round measures both sides once; the order changes from round to round.
func (r row) round(oursFirst bool) (times [2]time.Duration, err error) {
	for i, s := range []side{r.ours, r.other} {
		if !oursFirst {
			i, s = 1-i, []side{r.other, r.ours}[i]
		}
		if times[i], err = s.measure(); err != nil {
			return times, err
		}
	}
	return times, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quartiles of some measurements.
type quartiles struct{ first, median, third float64 }

func quartilesOf(values []float64) quartiles {
	slices.Sort(values)
	at := func(part float64) float64 {
		place := part * float64(len(values)-1)
		below := int(place)
		above := min(below+1, len(values)-1)
		return values[below] + (place-float64(below))*(values[above]-values[below])
	}
	return quartiles{at(0.25), at(0.5), at(0.75)}
}
