package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/tunhook/tunhook/pidfile"
	"github.com/tunhook/tunhook/tunnel"
)

// ListedRoute is a route that a gateway has, and the provider that has listed it.
type ListedRoute struct {
	tunnel.Listed
	Provider string
}

// ListError says that a provider's list command came to nothing.
type ListError struct {
	Provider string
	Command  string // as it was called
	Hint     string // the way out, as the provider has it
	Err      error
}

func (e *ListError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Provider, e.Command, e.Err)
}

// Unwrap returns the cause.
func (e *ListError) Unwrap() error { return e.Err }

// errNothingListed says that a list command has printed nothing that is a route.
var errNothingListed = errors.New("it has listed no route")

// Bounds of what a list command may print, in bytes, and how long it may live on when it is told to end.
const (
	maxListOutput = 8 << 20
	listGrace     = 2 * time.Second
)

// Routes asks a provider's gateway for its routes, with args for the list command, whose messages go to messages: it may ask
// somebody to sign in. They are kept for CachedRoutes. Errors are *ListError, those of the configuration, and *tunnel.ProgramError.
func (h *Env) Routes(ctx context.Context, provider string, args []string, messages io.Writer) ([]ListedRoute, error) {
	config := h.Config()
	argv, environ, err := config.ListCommand(provider, args, tunnel.Getenv(h.Environ, "PATH"), tunnel.Getenv(h.Environ, "HOME"))
	if err != nil {
		return nil, err
	}
	fail := func(err error) error {
		return &ListError{Provider: provider, Command: strings.Join(slices.Concat([]string{filepath.Base(argv[0])}, argv[1:]), " "), Hint: config.ListHint(provider), Err: err}
	}
	var output bounded
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = slices.Concat(h.Environ, environ), "/"
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &output, messages, listGrace
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fail(err)
	}
	listed := config.Listed(provider, output.String())
	if len(listed) == 0 {
		return nil, fail(errNothingListed) // what is known already may be better than nothing
	}
	return ofProvider(provider, listed), h.keepRoutes(provider, listed)
}

// bounded keeps so much of an output as a list may have.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxListOutput {
		return 0, fmt.Errorf("it prints more than %d MiB", maxListOutput>>20)
	}
	return b.Buffer.Write(p)
}

func ofProvider(provider string, listed []tunnel.Listed) []ListedRoute {
	routes := make([]ListedRoute, len(listed))
	for i, l := range listed {
		routes[i] = ListedRoute{l, provider}
	}
	return routes
}

// routesDir holds the routes that were listed last.
func (h *Env) routesDir() string { return filepath.Join(filepath.Dir(h.LogDir), "routes") }

// routesSuffix is what the files of cached routes end with.
const routesSuffix = ".routes"

// keepRoutes writes a line for each route, with its name behind a tab.
func (h *Env) keepRoutes(provider string, listed []tunnel.Listed) error {
	if _, err := pidfile.PrivateDir(h.routesDir(), false, true); err != nil {
		return err
	}
	var text strings.Builder
	for _, l := range listed {
		text.WriteString(l.Route + "\t" + strings.Join(strings.Fields(l.Name), " ") + "\n")
	}
	path := filepath.Join(h.routesDir(), url.PathEscape(provider)+routesSuffix)
	return renameio.WriteFile(path, []byte(text.String()), 0o600, renameio.WithTempDir(h.routesDir()), renameio.IgnoreUmask())
}

// CachedRoutes gives what was listed last, of one provider or of all where provider is "". It runs nothing and creates nothing.
func (h *Env) CachedRoutes(provider string) (routes []ListedRoute, err error) {
	if _, err := pidfile.PrivateDir(h.routesDir(), false, false); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(h.routesDir()) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		name, isRoutes := strings.CutSuffix(entry.Name(), routesSuffix)
		name, err := url.PathUnescape(name)
		if !isRoutes || err != nil || provider != "" && name != provider {
			continue
		}
		text, err := readCached(filepath.Join(h.routesDir(), entry.Name()))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			route, known, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			routes = append(routes, ListedRoute{tunnel.Listed{Route: route, Name: known}, name})
		}
	}
	return routes, nil
}

func readCached(path string) (string, error) {
	f, err := pidfile.OpenOwn(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxListOutput))
	return string(text), err
}
