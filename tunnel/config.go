// Package tunnel knows the tunnel programs: routes and providers, listen addresses, launching, telling when a tunnel is ready,
// and ending it. Processes come in as handles and logs open, so that which ones those are is decided elsewhere.
package tunnel

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed providers.toml
var builtin string

const builtinPath = "providers.toml"

// builtinTables are the embedded provider tables, by name. Each is decoded when it is needed: all of them would be a good part of
// the time that a start takes.
func builtinTables() map[string]string {
	tables := map[string]string{}
	for _, text := range strings.Split(builtin, "\n[provider.")[1:] {
		name, _, _ := strings.Cut(text, "]")
		tables[name] = "[provider." + text
	}
	return tables
}

// cutErrors takes the rows of errors out of an embedded table, see Provider.rows.
func cutErrors(table string) (rest, rows string) {
	const begins, ends = "\nerrors = [\n", "\n]\n"
	before, rows, found := strings.Cut(table, begins)
	if !found {
		return table, ""
	}
	rows, after, _ := strings.Cut(rows, ends)
	return before + "\n" + after, begins + rows + ends
}

// Config is what the configuration files say, over the embedded providers.
type Config struct {
	builtin   map[string]string    // the embedded tables
	providers map[string]*Provider // those of the files, and the embedded ones that were needed so far
	named     map[string]Named
	layers    map[tableKey][]layer      // what each of those is made of, the most important last
	broken    map[tableKey]*ConfigError // tables that cannot be used, and why
	faults    []*ConfigError
	blind     *ConfigError // of a file that could not be read at all
	paths     []string
	read      []string // the files that were there

	partial bool           // a table may leave to a file that is not known what it cannot be without
	lacking []*ConfigError // what such tables leave out
}

// Named is a [tunnel.NAME] table: a route under a short name, with what goes with it.
type Named struct {
	Route   string         `toml:"route"`
	Listen  string         `toml:"listen"`
	Args    []string       `toml:"args"`
	Ready   string         `toml:"ready"`
	Timeout string         `toml:"timeout"`
	Env     map[string]any `toml:"env"`
	Before  Steps          `toml:"before"`
	After   Steps          `toml:"after"`
	Probe   *bool          `toml:"probe"` // over the provider's
}

// ConfigError says what is wrong in which file.
type ConfigError struct {
	Path  string
	Line  int    // 0 where it is not known
	Table string // "tunnel.NAME" or "provider.NAME", which cannot be used; "" where the file is concerned, or a part that is unknown
	Err   error
}

func (e *ConfigError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Path, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

// LoadConfig reads the files at paths over the embedded providers, each over the one before it, and beside each one its drop-ins,
// config.d/*.toml, in the order of their names. Files that do not exist are passed over. What is wrong breaks no more than the
// table that it is in, or the file where that is no TOML: see Faults. What a file that cannot be read was to say nobody knows, so then
// no route can be used.
func LoadConfig(paths ...string) *Config {
	c := &Config{
		builtin: builtinTables(), providers: map[string]*Provider{}, named: map[string]Named{},
		layers: map[tableKey][]layer{}, broken: map[tableKey]*ConfigError{}, paths: paths,
	}
	for _, path := range paths {
		c.load(path, fs.ErrNotExist, errNotDir)
		for _, path := range c.dropIns(filepath.Join(filepath.Dir(path), dropInDir)) {
			c.load(path)
		}
	}
	return c
}

// dropInDir is the directory of drop-ins beside a configuration file.
const dropInDir = "config.d"

// dropIns lists the files in a directory of drop-ins. What editors keep beside a file is none: it begins with a dot, or ends
// otherwise.
func (c *Config) dropIns(dir string) (paths []string) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotDir) {
		c.cannotRead(dir, err)
	}
	for _, entry := range entries {
		if name := entry.Name(); filepath.Ext(name) == ".toml" && name[0] != '.' {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// Dirs are the directories that the files and drop-ins are in, or would be.
func (c *Config) Dirs() (dirs []string) {
	for _, path := range c.paths {
		dirs = append(dirs, filepath.Dir(path), filepath.Join(filepath.Dir(path), dropInDir))
	}
	return dirs
}

// load reads one file. One whose errors are of the passed kinds is as good as empty.
func (c *Config) load(path string, passed ...error) {
	text, err := readConfig(path)
	if slices.ContainsFunc(passed, func(kind error) bool { return errors.Is(err, kind) }) {
		return
	}
	c.read = append(c.read, path)
	if err != nil {
		c.cannotRead(path, err)
		return
	}
	c.add(path, string(text))
}

func (c *Config) cannotRead(path string, err error) {
	fault := &ConfigError{Path: path, Err: fmt.Errorf("cannot be read: %w", underlying(err))}
	c.fault(fault)
	if c.blind == nil {
		c.blind = fault
	}
}

// maxConfig bounds a configuration file, in bytes: people write them.
const maxConfig = 1 << 20

// readConfig reads a regular file. People link their configuration from elsewhere, and it may be an administrator's; but a named
// pipe, which may never be written to, is no configuration.
func readConfig(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, unix.EISDIR
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxConfig:
		return nil, fmt.Errorf("it is larger than %d KiB", maxConfig>>10)
	}
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

// Faults lists what is wrong with the configuration: all of it, in the order of the files.
func (c *Config) Faults() []*ConfigError {
	faults := slices.Clone(c.faults)
	for _, name := range c.Names() {
		var fault *ConfigError
		if _, err := c.Route(name); errors.As(err, &fault) && !slices.Contains(faults, fault) {
			faults = append(faults, fault)
		}
	}
	return faults
}

// Unread lists the faults of those files, or parts of them, that have no effect. Of a file that cannot be read at all it is Route that
// tells.
func (c *Config) Unread() []*ConfigError {
	return slices.DeleteFunc(slices.Clone(c.faults), func(e *ConfigError) bool { return e.Table != "" || c.blind != nil })
}

// fault keeps what is wrong, and that the table where it is cannot be used.
func (c *Config) fault(e *ConfigError, tables ...tableKey) {
	c.faults = append(c.faults, e)
	for _, table := range tables {
		if c.broken[table] == nil {
			c.broken[table] = e
		}
	}
}

// check says what is wrong with a table, which may be one to be completed elsewhere.
func (n Named) check(name string, partial bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	if n.Route == "" && !partial {
		return errors.New("it has no route")
	}
	if err := checkListen(n.Listen); err != nil {
		return err
	}
	if err := checkTimeout(n.Timeout); err != nil {
		return err
	}
	if err := checkEnv(n.Env, nil); err != nil {
		return err
	}
	if err := CheckReady(n.Ready); err != nil {
		return err
	}
	return checkSteps(n.Before, n.After, stepNames)
}

// Names returns the names of the [tunnel.NAME] tables that can be used, sorted.
func (c *Config) Names() []string {
	names := slices.Sorted(maps.Keys(c.named))
	return slices.DeleteFunc(names, func(name string) bool { return c.blind != nil || c.broken[tableKey{"tunnel", name}] != nil })
}

// Aliases gives all that a route is called: as it is written out, and by the names that the configuration has for it.
func (c *Config) Aliases(r Route) []string {
	aliases := []string{r.Text}
	for _, name := range c.Names() {
		text := c.named[name].Route
		if text != r.Text && schemeOf(text) == schemeOf(r.Text) { // it may be written in another way
			if other, err := c.Route(name); err == nil {
				text = other.Text
			}
		}
		if text == r.Text {
			aliases = append(aliases, name)
		}
	}
	return aliases
}

// providerNames returns the names of the providers, sorted.
func (c *Config) providerNames() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(c.providers)), maps.Keys(c.builtin))
	for table := range c.broken {
		if table.kind == "provider" {
			names = append(names, table.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// provider gives the provider of that name, nil for none. The error is a *ConfigError where it cannot be used.
func (c *Config) provider(name string) (*Provider, error) {
	if fault := c.broken[tableKey{"provider", name}]; fault != nil {
		return nil, fault
	}
	if p, ok := c.providers[name]; ok {
		return p, nil
	}
	text, ok := c.builtin[name]
	if !ok {
		return nil, nil
	}
	delete(c.builtin, name)
	text, rows := cutErrors(text)
	c.add(builtinPath, text) // which a test checks
	if p, key := c.providers[name], (tableKey{"provider", name}); rows != "" {
		p.embedded = rows
		c.layers[key][0].keys = append(c.layers[key][0].keys, "errors")
	}
	return c.providers[name], nil
}

// mayServe tells whether the provider could have routes of that scheme, "" for none, as far as can be told without decoding it. Of
// one that cannot be used it tells what it would have.
func (c *Config) mayServe(name, scheme string) bool {
	text, ok := c.builtin[name]
	if key := (tableKey{"provider", name}); c.broken[key] != nil {
		return name == scheme || slices.ContainsFunc(c.written(key), func(route string) bool { return schemeOf(route) == scheme })
	}
	return !ok || scheme == "" && strings.Contains(text, `routes = ["{`) || scheme != "" && strings.Contains(text, scheme+"://")
}

// userPath is the file in which a user would add what is missing.
func (c *Config) userPath() string {
	if len(c.paths) == 0 {
		return "config.toml"
	}
	return c.paths[len(c.paths)-1]
}
