// Package tunnel knows the tunnel programs: routes and providers, listen addresses, launching, telling when a tunnel is ready,
// and ending it. Processes come in as handles, so that who they are is decided elsewhere.
package tunnel

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

//go:embed providers.toml
var builtin string

const builtinPath = "providers.toml"

// Config is what the configuration files say, over the embedded providers.
type Config struct {
	providers map[string]*Provider
	named     map[string]Named
	paths     []string
}

// Named is a [tunnel.NAME] table: a route under a short name, with what goes with it.
type Named struct {
	Route  string   `toml:"route"`
	Listen string   `toml:"listen"`
	Args   []string `toml:"args"`
	Ready  string   `toml:"ready"`
}

// ConfigError says what is wrong in which file.
type ConfigError struct {
	Path string
	Line int // 0 where it is not known
	Err  error
}

func (e *ConfigError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Path, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

type configFile struct {
	Provider map[string]toml.Primitive `toml:"provider"`
	Tunnel   map[string]toml.Primitive `toml:"tunnel"`
}

// LoadConfig reads the files at paths over the embedded providers, each over the one before it. Files that do not exist are
// passed over. Errors are *ConfigError.
func LoadConfig(paths ...string) (*Config, error) {
	c := &Config{providers: map[string]*Provider{}, named: map[string]Named{}, paths: paths}
	if err := c.add(builtinPath, builtin); err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
			continue
		}
		if err != nil {
			return nil, &ConfigError{Path: path, Err: fmt.Errorf("cannot be read: %w", underlying(err))}
		}
		if err := c.add(path, string(text)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Config) add(path, text string) error {
	var file configFile
	meta, err := toml.Decode(text, &file)
	if err != nil {
		return syntaxError(path, err)
	}
	fail := func(table, name string, err error) error {
		return &ConfigError{path, lineOf(text, table, name), fmt.Errorf("[%s.%s]: %w", table, name, err)}
	}
	for _, name := range slices.Sorted(maps.Keys(file.Provider)) {
		p := &Provider{}
		if old, ok := c.providers[name]; ok {
			*p = *old
		}
		if err := meta.PrimitiveDecode(file.Provider[name], p); err != nil {
			return fail("provider", name, err)
		}
		p.complete(name)
		if path != builtinPath {
			if err := p.check(); err != nil {
				return fail("provider", name, err)
			}
		}
		c.providers[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(file.Tunnel)) {
		var n Named
		if err := meta.PrimitiveDecode(file.Tunnel[name], &n); err != nil {
			return fail("tunnel", name, err)
		}
		if err := n.check(name); err != nil {
			return fail("tunnel", name, err)
		}
		c.named[name] = n
	}
	return unknownKey(path, text, meta)
}

func (n Named) check(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if n.Route == "" {
		return errors.New("it has no route")
	}
	return CheckReady(n.Ready)
}

func syntaxError(path string, err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return &ConfigError{path, parse.Position.Line, errors.New(parse.Message)}
	}
	return &ConfigError{Path: path, Err: err}
}

func unknownKey(path, text string, meta toml.MetaData) error {
	undecoded := meta.Undecoded()
	if len(undecoded) == 0 {
		return nil
	}
	key := undecoded[0]
	table, name := "", key[0]
	if len(key) > 1 {
		table, name = key[0], key[1]
	}
	return &ConfigError{path, lineOf(text, table, name), fmt.Errorf("unknown key %q", key.String())}
}

// lineOf finds the line on which a table, or a key outside of all tables, begins, which is near enough to an error in it; 0
// where it is not found.
func lineOf(text, table, name string) int {
	key := strings.TrimPrefix(table+"."+name, ".")
	plain := strings.NewReplacer(" ", "", "\t", "", `"`, "", "'", "")
	for i, line := range strings.Split(text, "\n") {
		line = plain.Replace(line)
		found, _, ok := strings.Cut(line, "=")
		if header, is := strings.CutPrefix(line, "["); is {
			found, _, ok = strings.Cut(header, "]")
		}
		if ok && (found == key || strings.HasPrefix(found, key+".")) {
			return i + 1
		}
	}
	return 0
}

// Names returns the names of the [tunnel.NAME] tables, sorted.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.named)) }

// Providers returns the names of the providers, sorted.
func (c *Config) Providers() []string { return slices.Sorted(maps.Keys(c.providers)) }

// userPath is the file in which a user would add what is missing.
func (c *Config) userPath() string {
	if len(c.paths) == 0 {
		return "config.toml"
	}
	return c.paths[len(c.paths)-1]
}
