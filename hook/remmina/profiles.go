package remmina

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Listener is tunhook listening where profiles connect to that start their tunnel by connection.
type Listener struct {
	Route, Address string // those of Tunnel
	Ready          string // Profile.Ready
	Args           []string
	// For is the profile that it was enabled for, which may share it with others; "" where a person enabled it, and may need it
	// for other clients too.
	For string
}

// NoListenerError says that nothing on this machine starts a listener at login.
type NoListenerError struct{ Err error }

func (e *NoListenerError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NoListenerError) Unwrap() error { return e.Err }

// Listeners enables and disables them, at once and at every login.
type Listeners interface {
	// Enable gives the one of that address the arguments, where there is one already; it keeps its For. The error is a *NoListenerError where
	// there can be none.
	Enable(context.Context, Listener) error
	// Disable leaves one that somebody is connected to, and says so.
	Disable(context.Context, Listener) (inUse bool, err error)
	Enabled() ([]Listener, error)
	// Alone runs f while no other tunhook of the user runs another.
	Alone(ctx context.Context, f func() error) error
}

// Profiles enables and disables profiles together with the listeners that they need.
//
// A listener is there before the first profile that connects to it, and goes after the last. Who is killed in between leaves
// one that no profile needs; the next call takes it away.
type Profiles struct {
	Dirs      []Dir
	Listeners Listeners
}

// Plan is what Enable is to do with a profile.
type Plan struct {
	Profile Profile
	Tunnel  Tunnel
	Changes []Change // of the keys that Remmina reads
}

// Check completes a plan, and fails where Enable would on the profile's part. Other plans count as if they were done.
func (ps Profiles) Check(p *Plan, force bool, others []Plan) (err error) {
	if p.Changes, err = preview(p.Profile.Path, p.Tunnel, force); err != nil {
		return err
	}
	return ps.unused(p.Profile.Path, p.Tunnel, others)
}

// Enable is Enable of the profile, and of its listener. Errors are those of both, and a *UsedError.
func (ps Profiles) Enable(ctx context.Context, path string, t Tunnel, force bool) (r Result, err error) {
	err = ps.Listeners.Alone(ctx, func() error {
		removeTemporary(path)
		r, err = ps.enable(ctx, path, t, force)
		return errors.Join(err, ps.sweep(ctx, path, &r))
	})
	return r, err
}

func (ps Profiles) enable(ctx context.Context, path string, t Tunnel, force bool) (Result, error) {
	if err := Check(path, t, force); err != nil {
		return Result{}, err
	}
	if err := ps.unused(path, t, nil); err != nil {
		return Result{}, err
	}
	if t.By == ByConnection {
		p, err := Load(path)
		if err != nil {
			return Result{}, err
		}
		if err := ps.Listeners.Enable(ctx, Listener{Route: t.Route, Address: t.Listen, Ready: cmp.Or(t.Ready, p.Ready(ByConnection)), Args: t.Args, For: path}); err != nil {
			return Result{}, err
		}
	}
	return Enable(path, t, force)
}

// unused fails with a *UsedError where others use the listen address with other arguments.
func (ps Profiles) unused(path string, t Tunnel, planned []Plan) error {
	listeners, err := ps.Listeners.Enabled()
	if err != nil {
		return err
	}
	entries, err := ps.around(path, listeners)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return sameFile(e.Path, path) })
	for _, l := range listeners {
		if l.Address != t.Listen || slices.Equal(l.Args, t.Args) {
			continue
		}
		used := &UsedError{Address: l.Address, Args: l.Args}
		if l.For == "" {
			if len(t.Args) == 0 { // what a person has enabled does for whoever asks for nothing else
				continue
			}
			return used
		}
		if i := slices.IndexFunc(entries, l.mayServe); i >= 0 {
			used.By = cmp.Or(entries[i].Name, filepath.Base(entries[i].Path))
			return used
		}
	}
	planned = slices.Clip(planned)
	for _, e := range entries {
		if e.Err == nil && e.By == ByHook && e.Server.Ours {
			planned = append(planned, Plan{Profile: e.Profile, Tunnel: Tunnel{Route: e.Route, Listen: e.Server.Now, Args: e.argsByHook()}})
		}
	}
	for _, p := range planned {
		if p.Tunnel.Listen == t.Listen && p.Tunnel.Route == t.Route && !slices.Equal(p.Tunnel.Args, t.Args) {
			return &UsedError{Address: t.Listen, By: p.Profile.Name, Args: p.Tunnel.Args}
		}
	}
	return nil
}

// argsByHook are the arguments of the tunnel program in the command that Enable wrote.
func (p Profile) argsByHook() []string {
	all, _ := shellWords(p.Before.Now, false)
	for _, words := range all {
		if i := slices.Index(words, "--"); i >= 0 {
			return words[i+1:]
		}
	}
	return nil
}

// sameFile tells whether two paths lead to one file.
func sameFile(one, other string) bool {
	a, errA := os.Stat(one)
	b, errB := os.Stat(other)
	return one == other || errA == nil && errB == nil && os.SameFile(a, b)
}

// Disable is Disable of the profile, and of its listener where no other profile needs that. Errors are those of both.
func (ps Profiles) Disable(ctx context.Context, path string) (r Result, err error) {
	err = ps.Listeners.Alone(ctx, func() error {
		removeTemporary(path)
		r, err = Disable(path)
		return errors.Join(err, ps.sweep(ctx, path, &r))
	})
	return r, err
}

// sweep disables the listeners that were enabled for a profile and that no profile connects to any more.
func (ps Profiles) sweep(ctx context.Context, path string, r *Result) error {
	listeners, err := ps.Listeners.Enabled()
	if err != nil {
		return err
	}
	listeners = slices.DeleteFunc(listeners, func(l Listener) bool { return l.For == "" })
	if len(listeners) == 0 {
		return nil
	}
	entries, err := ps.around(path, listeners)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range listeners {
		if slices.ContainsFunc(entries, l.mayServe) {
			continue
		}
		inUse, err := ps.Listeners.Disable(ctx, l)
		errs = append(errs, err)
		if inUse {
			r.Stays = append(r.Stays, l)
		}
	}
	return errors.Join(errs...)
}

// around gives all profiles that may connect to a listener: a person may have some elsewhere, and name them by their file.
func (ps Profiles) around(path string, listeners []Listener) ([]Entry, error) {
	files := []string{path}
	for _, l := range listeners {
		files = append(files, l.For)
	}
	dirs := slices.Clone(ps.Dirs)
	for _, file := range files {
		dirs = append(dirs, Dir{Path: filepath.Dir(file)})
	}
	entries, err := List(dirs)
	for _, file := range files {
		entries = append(entries, load(file, Native)) // whatever it is called
	}
	return entries, err
}

// mayServe tells whether the profile needs the listener. One that is there and cannot be read may.
func (l Listener) mayServe(e Entry) bool {
	if e.Err != nil {
		return e.Path == l.For && !errors.Is(e.Err, fs.ErrNotExist)
	}
	return e.By == ByConnection && e.Server.Now == l.Address // which leads one way only
}
