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
	bound       float64 // the ratio, or the difference, may be at most this; 0: no bound
	part        int     // of the rounds, one in so many: for what is slow
}

// result is what the rounds of a row came to.
type result struct {
	ratio       quartiles // or the difference, in milliseconds
	ours, other quartiles // milliseconds
	rounds      int
}

// compare measures a row and prints it.
func (b *bench) compare(r row) error {
	ours, other, err := b.measured(r)
	if err != nil {
		return err
	}
	ratios := make([]float64, len(ours))
	for i := range ratios {
		ratios[i] = ours[i] / other[i]
	}
	b.table.row(r, result{quartilesOf(ratios), quartilesOf(ours), quartilesOf(other), len(ratios)})
	return nil
}

// compareAdded is compare for a row whose bound is how many milliseconds ours may take longer, where a bare Go program takes no
// longer than usual; on a slower machine all of it takes longer, in proportion.
func (b *bench) compareAdded(r row) error {
	ours, other, err := b.measured(r)
	if err != nil {
		return err
	}
	added := make([]float64, len(ours))
	for i := range added {
		added[i] = ours[i] - other[i]
	}
	r.bound *= float64(max(bareTakes, b.pace.bare)) / float64(bareTakes)
	b.table.added(r, result{quartilesOf(added), quartilesOf(ours), quartilesOf(other), len(added)})
	return nil
}

// measured gives what both sides of a row took in each round, in milliseconds.
func (b *bench) measured(r row) (ours, other []float64, err error) {
	n := max(1, b.rounds/max(1, r.part))
	for i := range n + 1 {
		times, err := r.round(i%2 == 0)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", r.name, err)
		}
		if err := b.ctx.Err(); err != nil {
			return nil, nil, err
		}
		if i == 0 {
			continue // the first round finds cold caches
		}
		ours, other = append(ours, milliseconds(times[0])), append(other, milliseconds(times[1]))
	}
	return ours, other, nil
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
