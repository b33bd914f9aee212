package main

import (
	"time"

	"github.com/tunhook/tunhook/scripts/internal/sandbox"
)

// The stand-in for pomerium-cli is quicker than the real one, against which tunhook would look slower than it is to its users: so
// it waits before it listens, as long as makes it 5 ms from exec to listening. The real program, which was measured at 6 ms where a
// bare Go program with the same libraries took 2.5 ms, works all that time, and needs longer on a machine that is slow, as a shared
// one may become within seconds. A pause would not: so where the bare program takes longer than usual, the stand-in does in the same
// proportion. Where it takes less, the stand-in stays at 5 ms.
const (
	listensAfter = 5 * time.Millisecond
	bareTakes    = 2750 * time.Microsecond // as measured here, where starting it and waiting for it take some 0.25 ms more
)

// pace is how the stand-in is kept at the pace of the real program.
type pace struct {
	undelayed *sandbox.Home // the home, with a stand-in that listens as soon as it can
	delay     time.Duration // before it listens in the home that is measured
	bare      time.Duration // what the bare program takes
}

// pacePart is the part of a time by which it is corrected at once: small beside the noise, and yet a machine that is ten times
// slower than usual is caught up with before the rows begin.
const pacePart = 50

// target is when the stand-in shall listen, after its exec.
func (p *pace) target() time.Duration {
	return listensAfter * max(bareTakes, p.bare) / bareTakes
}

// findPace measures until the stand-in has its pace.
func (b *bench) findPace() error {
	b.pace = pace{undelayed: b.home, bare: bareTakes}
	b.setDelay(listensAfter / 2)
	start, alone := b.startIn(), b.aloneSide()
	for range 150 {
		if _, err := start.measure(); err != nil { // as in the row: what the machine has just done makes a difference
			return err
		}
		if _, err := alone.measure(); err != nil {
			return err
		}
	}
	return nil
}

// keepPace changes the delay by a step after each time that the stand-in took, so that its median comes to be the target and stays
// there, and likewise what the bare program takes.
func (b *bench) keepPace(took time.Duration) error {
	bare, err := b.run(b.home, b.home.Path("bin", "bare"))
	if err != nil {
		return err
	}
	b.pace.bare += stepTo(bare, b.pace.bare)
	b.setDelay(b.pace.delay + stepTo(b.pace.target(), took))
	return nil
}

// stepTo is the step from one value in the direction of another.
func stepTo(want, have time.Duration) time.Duration {
	if want < have {
		return -have / pacePart
	}
	return have / pacePart
}

func (b *bench) setDelay(delay time.Duration) {
	b.pace.delay = max(0, delay)
	b.home = b.pace.undelayed.With("TUNNELTEST_DELAY=" + b.pace.delay.String())
}
