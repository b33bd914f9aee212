package remmina

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// errKilled is what happens to a tunhook that is killed: whatever it was about to do is not done.
var errKilled = errors.New("killed")

// fakeListeners keeps listeners in memory.
type fakeListeners struct {
	all     map[string]Listener // by address
	inUse   string              // address that somebody is connected to
	fail    error               // of Enable
	left    int                 // so many calls are left until it is killed, where that is not 0
	killed  bool
	running bool // somebody is within Alone
}

func (f *fakeListeners) step() error {
	if f.left > 0 {
		f.left--
		f.killed = f.left == 0
	}
	if f.killed {
		return errKilled
	}
	return nil
}

func (f *fakeListeners) Enable(_ context.Context, l Listener) error {
	if err := errors.Join(f.step(), f.fail); err != nil {
		return err
	}
	if _, there := f.all[l.Address]; !there {
		f.all[l.Address] = l
	}
	return f.step()
}

func (f *fakeListeners) Disable(_ context.Context, l Listener) (inUse bool, err error) {
	if err := f.step(); err != nil {
		return false, err
	}
	if f.inUse == l.Address {
		return true, nil
	}
	delete(f.all, l.Address)
	return false, f.step()
}

func (f *fakeListeners) Enabled() ([]Listener, error) {
	var all []Listener
	for _, l := range f.all {
		all = append(all, l)
	}
	return all, f.step()
}

func (f *fakeListeners) Alone(_ context.Context, do func() error) error {
	if f.running {
		return errors.New("not alone")
	}
	f.running = true
	defer func() { f.running = false }()
	return do()
}

// addresses are those that are listened on.
func (f *fakeListeners) addresses() []string {
	var all []string
	for address := range f.all {
		all = append(all, address)
	}
	slices.Sort(all)
	return all
}

func newProfiles(t testing.TB) (Profiles, *fakeListeners) {
	t.Helper()
	f := &fakeListeners{all: map[string]Listener{}}
	dir := t.TempDir()
	return Profiles{Dirs: []Dir{{Path: filepath.Join(dir, "native")}, {Path: filepath.Join(dir, "flatpak"), Kind: Flatpak}}, Listeners: f}, f
}

// add writes a profile into one of the directories.
func (ps Profiles) add(t *testing.T, dir int, name string) (path string) {
	t.Helper()
	return place(t, ps.Dirs[dir].Path, name, "[remmina]\nname="+name+"\nprotocol=VNC\nserver=desk\n")
}

func connectionTo(address string) Tunnel {
	return Tunnel{Route: "desk:5900", Listen: address, By: ByConnection}
}

func TestAListenerIsThereForAsLongAsAProfileNeedsIt(t *testing.T) {
	ps, listeners := newProfiles(t)
	one, other := ps.add(t, 0, "one.remmina"), ps.add(t, 1, "other.remmina")
	elsewhere := place(t, t.TempDir(), "elsewhere", "[remmina]\nname=Elsewhere\nprotocol=VNC\nserver=desk\n")
	const address, another = "127.1.2.3:5900", "127.1.2.4:5900"
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, listeners.addresses()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	do := func(r Result, err error) Result {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return r
	}
	if r := do(ps.Enable(t.Context(), one, connectionTo(address), false)); !r.Changed || r.Profile.By != ByConnection {
		t.Errorf("enabled: %+v", r)
	}
	want := Listener{Route: "desk:5900", Address: address, Ready: "vnc", For: one}
	if diff := cmp.Diff(want, listeners.all[address]); diff != "" {
		t.Errorf("the listener (-want +got):\n%s", diff)
	}
	do(ps.Enable(t.Context(), other, connectionTo(address), false))
	do(ps.Enable(t.Context(), elsewhere, connectionTo(another), false))
	expect("three profiles", address, another)
	do(ps.Disable(t.Context(), one))
	expect("the other one needs it", address, another)
	do(ps.Enable(t.Context(), other, Tunnel{Route: "desk:5900", Listen: address, By: ByHook, Before: []string{"/t"}, After: []string{"/t"}}, false))
	expect("the other one goes by hook", another)
	do(ps.Enable(t.Context(), other, connectionTo(another), false))
	do(ps.Disable(t.Context(), elsewhere))
	expect("the other one shares it", another)
	do(ps.Enable(t.Context(), other, connectionTo(address), false))
	expect("the other one has moved", address)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	do(ps.Disable(t.Context(), one))
	expect("the profile was deleted in Remmina")
}

func TestAListenerThatAPersonHasEnabledStays(t *testing.T) {
	ps, listeners := newProfiles(t)
	one := ps.add(t, 0, "one.remmina")
	listeners.all["127.1.2.3:5900"] = Listener{Route: "desk:5900", Address: "127.1.2.3:5900"}
	if _, err := ps.Enable(t.Context(), one, connectionTo("127.1.2.3:5900"), false); err != nil {
		t.Fatal(err)
	}
	if _, err := ps.Disable(t.Context(), one); err != nil || len(listeners.all) != 1 {
		t.Errorf("there are %v, %v", listeners.all, err)
	}
}

func TestWhatFailsLeavesNoListener(t *testing.T) {
	ps, listeners := newProfiles(t)
	one := ps.add(t, 0, "one.remmina")
	before := read(t, one)
	listeners.fail = &NoListenerError{errors.New("no systemd")}
	if _, err := ps.Enable(t.Context(), one, connectionTo("127.1.2.3:5900"), false); !errors.As(err, new(*NoListenerError)) || read(t, one) != before {
		t.Errorf("without listeners: %v, and the profile is %q", err, read(t, one))
	}
	listeners.fail = nil
	if _, err := ps.Enable(t.Context(), one, connectionTo("127.1.2.3:99"), false); !errors.As(err, new(*ListenError)) || len(listeners.all) > 0 {
		t.Errorf("a listen address that means something else: %v, and there are %v", err, listeners.all)
	}
	if err := os.Chmod(one, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := ps.Enable(t.Context(), one, connectionTo("127.1.2.3:5900"), false); !errors.As(err, new(*WriteError)) || len(listeners.all) > 0 {
		t.Errorf("a profile that cannot be written: %v, and there are %v", err, listeners.all)
	}
}

func TestAListenerInUseStaysUntilTheNextCall(t *testing.T) {
	ps, listeners := newProfiles(t)
	one := ps.add(t, 0, "one.remmina")
	if _, err := ps.Enable(t.Context(), one, connectionTo("127.1.2.3:5900"), false); err != nil {
		t.Fatal(err)
	}
	listeners.inUse = "127.1.2.3:5900"
	r, err := ps.Disable(t.Context(), one)
	if err != nil || r.Profile.Enabled || len(r.Stays) != 1 || r.Stays[0].Address != listeners.inUse {
		t.Errorf("disabled in use: %+v, %v", r, err)
	}
	listeners.inUse = ""
	if r, err := ps.Disable(t.Context(), one); err != nil || len(r.Stays) > 0 || len(listeners.all) > 0 {
		t.Errorf("disabled again: %+v, %v; there are %v", r, err, listeners.all)
	}
}

func TestWhatAKilledSaveHasLeftIsRemoved(t *testing.T) {
	ps, _ := newProfiles(t)
	one := ps.add(t, 0, "one.remmina")
	dir := ps.Dirs[0].Path
	for _, name := range []string{".one.remmina123", ".one.remmina", ".one.remmina12x", ".other.remmina123", "one.remmina123"} {
		place(t, dir, name, "")
	}
	if _, err := ps.Disable(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if diff := cmp.Diff([]string{".one.remmina", ".one.remmina12x", ".other.remmina123", "one.remmina", "one.remmina123"}, left); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A profile that cannot be read may need its listener.
func TestADamagedProfileKeepsItsListener(t *testing.T) {
	ps, listeners := newProfiles(t)
	one, other := ps.add(t, 0, "one.remmina"), ps.add(t, 0, "other.remmina")
	if _, err := ps.Enable(t.Context(), one, connectionTo("127.1.2.3:5900"), false); err != nil {
		t.Fatal(err)
	}
	place(t, ps.Dirs[0].Path, "one.remmina", read(t, one)+"tunhook_wrote=\n")
	if _, err := ps.Disable(t.Context(), one); !errors.As(err, new(*DamagedError)) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := ps.Disable(t.Context(), other); err != nil || len(listeners.all) != 1 {
		t.Errorf("there are %v, %v", listeners.all, err)
	}
}

// Whatever happened to the calls before, the last one leaves the profiles as it says, and just the listeners that they need.
func TestTheNextCallPutsRightWhatAKilledOneHasLeft(t *testing.T) {
	ps, listeners := newProfiles(t)
	files := []string{ps.add(t, 0, "one.remmina"), ps.add(t, 1, "other.remmina")}
	original := read(t, files[0])
	addresses := []string{"127.1.2.3:5900", "127.1.2.4:5900"}
	rapid.Check(t, func(rt *rapid.T) {
		listeners.all = map[string]Listener{}
		for _, file := range files {
			place(t, filepath.Dir(file), filepath.Base(file), original)
		}
		step := func(file string) {
			address := rapid.SampledFrom(addresses).Draw(rt, "address")
			tunnel := connectionTo(address)
			switch rapid.IntRange(0, 3).Draw(rt, "call") {
			case 0:
				_, _ = ps.Disable(t.Context(), file) // the error is that it was killed
				return
			case 1:
				tunnel = Tunnel{Route: "desk:5900", Listen: address, By: ByHook, Before: []string{"/t"}, After: []string{"/t"}}
			}
			_, _ = ps.Enable(t.Context(), file, tunnel, false) // likewise
		}
		for range rapid.IntRange(1, 6).Draw(rt, "killed calls") {
			listeners.left = rapid.IntRange(0, 5).Draw(rt, "killed after")
			step(rapid.SampledFrom(files).Draw(rt, "file"))
			listeners.left, listeners.killed = 0, false
		}
		step(rapid.SampledFrom(files).Draw(rt, "file"))

		needed := map[string]bool{}
		for _, file := range files {
			p, err := Load(file)
			if err != nil {
				rt.Fatal(err)
			}
			if p.By == ByConnection {
				needed[p.Server.Now] = true
			}
			if !p.Enabled && read(t, file) != original {
				rt.Errorf("disabled, it is %q", read(t, file))
			}
		}
		for _, address := range addresses {
			if _, there := listeners.all[address]; there != needed[address] {
				rt.Errorf("%s is needed: %v, and enabled: %v", address, needed[address], there)
			}
		}
		for _, file := range files {
			if _, err := ps.Disable(t.Context(), file); err != nil {
				rt.Error(err)
			}
		}
		if len(listeners.all) > 0 {
			rt.Errorf("left: %v", listeners.all)
		}
	})
}

// TestAnAddressHasOneSetOfArguments: those that a profile needs are not another's.
func TestAnAddressHasOneSetOfArguments(t *testing.T) {
	ps, listeners := newProfiles(t)
	one, other := ps.add(t, 0, "one.remmina"), ps.add(t, 1, "other.remmina")
	const address = "127.1.2.3:5900"
	with := func(by Way, args ...string) Tunnel {
		tunnel := Tunnel{Route: "desk:5900", Listen: address, By: by, Args: args}
		if by == ByHook {
			tunnel.Before, tunnel.After = append([]string{"/t", "start", "desk:5900", address, "--"}, args...), []string{"/t", "stop"}
		}
		return tunnel
	}
	for _, tc := range []struct {
		theirs, ours Way
	}{{ByConnection, ByConnection}, {ByConnection, ByHook}, {ByHook, ByConnection}, {ByHook, ByHook}} {
		if _, err := ps.Enable(t.Context(), one, with(tc.theirs, "-J", "a b"), false); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"-J", "c"}, nil} {
			was := read(t, other)
			_, err := ps.Enable(t.Context(), other, with(tc.ours, args...), false)
			want := &UsedError{Address: address, By: "one.remmina", Args: []string{"-J", "a b"}}
			var got *UsedError
			if !errors.As(err, &got) || !cmp.Equal(want, got) || read(t, other) != was {
				t.Errorf("%+v, %q: %v, %q", tc, args, err, read(t, other))
			}
		}
		for _, path := range []string{other, one, one} { // the same, and its own
			if _, err := ps.Enable(t.Context(), path, with(tc.ours, "-J", "a b"), false); err != nil {
				t.Errorf("%+v: %v", tc, err)
			}
		}
		for _, path := range []string{other, one} {
			if _, err := ps.Disable(t.Context(), path); err != nil {
				t.Error(err)
			}
		}
	}
	listeners.all[address] = Listener{Route: "desk:5900", Address: address, Args: []string{"-v"}}
	if _, err := ps.Enable(t.Context(), one, with(ByConnection), false); err != nil {
		t.Errorf("what a person has enabled does for a profile that asks for nothing: %v", err)
	}
	if _, err := ps.Enable(t.Context(), other, with(ByConnection, "-J", "c"), false); !errors.As(err, new(*UsedError)) {
		t.Errorf("what a person has enabled is another tunnel: %v", err)
	}
	plan := Plan{Profile: Profile{Path: other}, Tunnel: Tunnel{Route: "desk:5900", Listen: "127.1.2.4:5900", By: ByConnection, Args: []string{"-C"}}}
	planned := []Plan{{Profile: Profile{Name: "planned"}, Tunnel: Tunnel{Route: "desk:5900", Listen: "127.1.2.4:5900"}}}
	if err := ps.Check(&plan, false, planned); !errors.As(err, new(*UsedError)) {
		t.Errorf("what is planned counts: %v", err)
	}
	want := []Change{{"server", "desk", "127.1.2.4:5900"}}
	if err := ps.Check(&plan, false, nil); err != nil || !cmp.Equal(want, plan.Changes) {
		t.Errorf("%v, %v", plan.Changes, err)
	}
}
