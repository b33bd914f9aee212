package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelWorlds is how many accounts there are at a time: they wait more than they work.
const modelWorlds = 8

// modelSteps is the environment variable that tells how far TestModel goes.
const modelSteps = "TUNHOOK_MODEL_STEPS"

// TestModel does at random what people, clients and accidents do to tunnels, and looks after each step whether what must always
// hold does: model_test.go says what that is. A sequence that fails is shrunk, and printed in the form of TestModelSequences.
// TUNHOOK_MODEL_SEED makes it draw what another run has drawn; what processes do meanwhile is not the same each time.
//
// make soak takes many more steps, and is to be looked at: what fails there counts also where it fails once.
func TestModel(t *testing.T) {
	t.Parallel()
	steps := fromEnviron(t, modelSteps, 2000)
	standin := buildStandin(t)
	seed := fromEnviron(t, "TUNHOOK_MODEL_SEED", 1+rand.Uint64N(1<<40))
	t.Logf("seed %d", seed)
	var done atomic.Int64
	t.Cleanup(func() { t.Logf("%d steps, seed %d", done.Load(), seed) })
	var seeding sync.Mutex // the seed of rapid is a flag of the whole program
	var all sync.WaitGroup
	for i := range uint64(modelWorlds) {
		all.Go(func() { // not t.Parallel, which lets only as many run as there are processors
			t.Run(strconv.FormatUint(i, 10), func(t *testing.T) {
				seeding.Lock()
				seeded := sync.OnceFunc(seeding.Unlock)
				defer seeded()
				setFlag(t, "rapid.seed", strconv.FormatUint(seed+i<<32, 10))
				setFlag(t, "rapid.checks", strconv.FormatUint(steps, 10)) // there is at least one step to a sequence
				setFlag(t, "rapid.nofailfile", "true")
				p := player{t: t, standin: standin, steps: &done, most: int64(steps), known: map[string]error{}, strict: os.Getenv(modelSteps) != ""}
				rapid.Check(t, func(rt *rapid.T) {
					seeded()
					sequence := rapid.SliceOfN(modelStep(), 1, 40).Draw(rt, "sequence")
					if err := p.play(sequence); err != nil {
						failStep(rt, err)
					}
				})
			})
		})
	}
	all.Wait()
}

// player plays sequences, and shrinks one that has failed.
type player struct {
	t       *testing.T
	standin string
	steps   *atomic.Int64 // taken so far, by all players
	most    int64
	failed  time.Time        // when the first sequence has; zero if none
	known   map[string]error // what has failed: what processes do is not the same the next time
	strict  bool             // what fails once counts; otherwise what fails again does
}

// replays is how often a sequence is played again that has failed: a busy machine may be what is to blame.
const replays = 3

// shrinkTime is the time to look for a shorter sequence that fails in the same way.
const shrinkTime = 90 * time.Second

func (p *player) play(sequence []string) error {
	name := strings.Join(sequence, "; ")
	if err, ok := p.known[name]; ok {
		return err
	}
	patience := modelPatience
	switch {
	case p.failed.IsZero() && p.steps.Load() >= p.most, !p.failed.IsZero() && time.Since(p.failed) > shrinkTime:
		return nil
	case !p.failed.IsZero():
		patience = hurry
	}
	n, err := playIn(p.t, p.standin, patience, sequence)
	p.steps.Add(int64(n))
	if err != nil && p.failed.IsZero() && !p.strict && !p.failsAgain(sequence) {
		p.t.Logf("failed, and not again in %d more plays: %v", replays, err)
		return nil
	}
	if err != nil {
		p.known[name] = err
		if p.failed.IsZero() {
			p.failed = time.Now()
		}
	}
	return err
}

// failsAgain plays a sequence that has failed, and tells whether it does so another time.
func (p *player) failsAgain(sequence []string) bool {
	for range replays {
		if _, err := playIn(p.t, p.standin, modelPatience, sequence); err != nil {
			return true
		}
	}
	return false
}

// TestModelSequence plays the one that TUNHOOK_MODEL_SEQUENCE holds, with a semicolon between two steps.
func TestModelSequence(t *testing.T) {
	text := os.Getenv("TUNHOOK_MODEL_SEQUENCE")
	if text == "" {
		return
	}
	if _, err := playIn(t, buildStandin(t), modelPatience, strings.Split(text, "; ")); err != nil {
		t.Error(err)
	}
}

// sequences have failed once, or show what a rule means.
var sequences = []struct{ name, steps string }{
	{"a stop takes back what was promised before it", "start A; connect A; stop A; start A holder=1; leave A; end holder=1; wait"},
	{"a stop takes back the holders before it", "start A holder=1; connect A; stop A; start A holder=2; leave A; end holder=2; wait"},
	{"a stop takes back --keep-alive", "start A holder=1 keep; connect A; stop A; start A holder=1; die A; pause; status"},
	{"a stop takes back --idle-stop", "start A idle; connect A; stop A; start A; quit; pause; pause; pause; pause; status"},
	{"what a stop has taken back does not make the next one wait", "start A holder=1; start A; stop A; start A; stop A"},
	{"started by its name and stopped by its route", "start A name; stop A"},
	{"started by its route and stopped by its name", "start A; stop A name"},
	{"one name's tunnel has died, and another's is at its address", "start A name; die A; start A; status; stop A"},
	{"one address in four spellings", "start A as=0; start A as=1; start A as=2 holder=1; stop A as=3; wait"},
	{"stop from another PID namespace", "start A; stop A in=pid; stop A"},
	{"start from another PID namespace", "start A; start A in=pid; stop A"},
	{"stop from another network namespace", "start A; connect A; stop A in=net; status"},
	{"start from another network namespace", "start A; start A in=net; connect A"},
	{"start from another network namespace where a child serves", "start A kid; die A; start A in=net; connect A"},
	{"a half-closed client is a client", "start A; connect A; half A; stop A; status"},
	{"a half-closed client outlives the holder", "start A holder=1; connect A; half A; end holder=1; pause; pause; pause; status"},
	{"no file can be written at the stop", "start A; stop A in=full"},
	{"no file can be written at the start", "start A in=full; stop A"},
	{"the first thread has ended: found again", "start A; main-exit A; start A; status"},
	{"the first thread has ended: ended", "start A; main-exit A; stop A"},
	{"a daemon lives on: stop", "start A daemon; stop A"},
	{"a daemon lives on: stop after death", "start A daemon; die A; stop A"},
	{"a daemon lives on: start after death", "start A daemon; die A; start A"},
	{"a child that serves is the tunnel", "start A kid; die A; start A; status; stop A"},
	{"hundreds of holders", "start A holder=1 many; status; stop A now"},
	{"--keep-alive with other arguments", "start A; start A holder=1 keep args; die A"},
	{"--keep-alive", "start A holder=1 keep; die A; connect A"},
	{"an idle tunnel that is started again", "start A idle; pause; pause; start A idle; pause; connect A"},
	{"short connections are use", "start A idle; pause; visit A; pause; visit A; pause; visit A; pause; visit A; quit; wait"},
	{"two windows of one client", "start A holder=1; connect A; leave A; start A holder=1; stop A; connect A; stop A; leave A; wait"},
	{"the stranger on the pid of a tunnel before the last boot", "start A holder=1; reboot A; start A; stop A"},
	{"the stranger on the pid of a tunnel that has died", "start A holder=1; recycle A; stop A now"},
	{"a listener", "listen A; connect A; stop A; half A; connect A; leave A; leave A; pause; pause; connect A; unlisten A; start A"},
	{"a listener where another name's tunnel has died", "start A name; die A; listen A; connect A; leave A; unlisten A"},
	{"a killed listener", "listen A; connect A; unlisten A kill; start A; stop A"},
	{"a frozen keeper", "start A holder=1; keeper A freeze; start A; stop A; start A holder=1; keeper thaw; end holder=1; wait"},
	{"a frozen keeper keeps the program alive", "start A holder=1; keeper A freeze; start A holder=1 keep; die A; connect A"},
	{"a frozen keeper goes on where there is nothing to add", "start A holder=1 keep; keeper A freeze; start A holder=1 keep; die A; connect A"},
	{"a lost keeper", "start A holder=1; keeper A; start A holder=2; end holder=1; end holder=2; wait"},
}

// TestModelSequences plays them.
func TestModelSequences(t *testing.T) {
	t.Parallel()
	standin := buildStandin(t)
	var all sync.WaitGroup
	turn := make(chan struct{}, modelWorlds)
	for _, tc := range sequences {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			t.Run(tc.name, func(t *testing.T) {
				if _, err := playIn(t, standin, modelPatience, strings.Split(tc.steps, "; ")); err != nil {
					t.Error(err)
				}
			})
		})
	}
	all.Wait()
}

// failStep fails with the rule alone: shrinking looks for the same failure.
func failStep(rt *rapid.T, err error) {
	var b *broken
	if !errors.As(err, &b) {
		rt.Fatalf("%v", err)
	}
	rt.Logf("%v", err)
	rt.Fatalf("%s", b.rule)
}

func playIn(t *testing.T, standin string, patience time.Duration, sequence []string) (steps int, err error) {
	w, err := newModelWorld(t, standin, patience)
	if err != nil {
		return 0, err
	}
	defer w.close()
	steps, err = w.play(sequence)
	if err != nil {
		err = fmt.Errorf("%w\nafter %s", err, strings.Join(w.did, "; "))
	}
	return steps, err
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	check(t, flag.Set(name, value))
}

func buildStandin(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "standin")
	build := exec.Command("go", "build", "-o", path, "../../tunnel/tunneltest/standin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// odds are the steps, each as often as its number says, with what may come with it. The simplest come first: shrinking goes there.
var odds = []struct {
	weight  int
	verb    string
	options []string // each is given once in three times; of those with a slash in between one
}{
	{10, "start", []string{"name", "as=1/as=2/as=3", "holder=1/holder=2", "idle", "keep", "kid", "args"}},
	{2, "start", []string{"daemon", "holder=1", "name"}},
	{1, "start", []string{"in=net/in=pid/in=full", "holder=1"}},
	{10, "stop", []string{"name", "as=1/as=2/as=3"}},
	{2, "stop", []string{"now"}},
	{2, "stop", []string{"wait", "name"}},
	{3, "stop", []string{"in=net/in=pid/in=full"}},
	{1, "stop-all", []string{"now"}},
	{16, "connect", nil},
	{4, "visit", nil},
	{8, "half", nil},
	{10, "leave", nil},
	{2, "quit", nil},
	{5, "end", []string{"holder=1/holder=2"}},
	{2, "run", []string{"name", "holder=1", "keep"}},
	{3, "run-end", nil},
	{3, "listen", nil},
	{3, "unlisten", []string{"kill"}},
	{3, "status", nil},
	{2, "wait", nil},
	{2, "pause", nil},
	{4, "die", nil},
	{1, "main-exit", nil},
	{3, "keeper", []string{"freeze"}},
	{1, "keeper thaw", nil},
	{2, "kill-start", []string{"after=1/after=5/after=10/after=20/after=40", "holder=1"}},
	{1, "damage", nil},
	{1, "newer", nil},
	{2, "sweep", nil},
	{1, "reboot", nil},
	{1, "recycle", nil},
}

// modelStep draws a step. TUNHOOK_MODEL_WITHOUT has words that are not to be drawn: to look beyond a fault that is known. A tunnel
// with two names may have two records after an accident, and one that ends when idle may do so between two looks: "name idle" leaves
// that out.
func modelStep() *rapid.Generator[string] {
	without := strings.Fields(os.Getenv("TUNHOOK_MODEL_WITHOUT"))
	var table []int
	for i, o := range odds {
		if !slices.Contains(without, o.verb) {
			table = append(table, slices.Repeat([]int{i}, o.weight)...)
		}
	}
	return rapid.Custom(func(t *rapid.T) string {
		o := odds[rapid.SampledFrom(table).Draw(t, "step")]
		step := o.verb + rapid.SampledFrom([]string{" A", " A", " B"}).Draw(t, "place")
		for _, option := range o.options {
			if rapid.IntRange(0, 2).Draw(t, "option") == 2 {
				which := rapid.SampledFrom(strings.Split(option, "/")).Draw(t, "which")
				if !slices.Contains(without, which) {
					step += " " + which
				}
			}
		}
		return step
	})
}
