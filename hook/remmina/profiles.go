package remmina

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
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
	// Enable does nothing where there is one of that address already, which keeps its For. The error is a *NoListenerError where
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

// Enable is Enable of the profile, and of its listener. Errors are those of both.
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
	if t.By == ByConnection {
		p, err := Load(path)
		if err != nil {
			return Result{}, err
		}
		if err := ps.Listeners.Enable(ctx, Listener{Route: t.Route, Address: t.Listen, Ready: cmp.Or(t.Ready, p.Ready()), Args: t.Args, For: path}); err != nil {
			return Result{}, err
		}
	}
	return Enable(path, t, force)
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
