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
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
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

// Config is what the configuration files say, over the embedded providers.
type Config struct {
	builtin   map[string]string    // the embedded tables
	providers map[string]*Provider // those of the files, and the embedded ones that were needed so far
	named     map[string]Named
	paths     []string
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
	c := &Config{builtin: builtinTables(), providers: map[string]*Provider{}, named: map[string]Named{}, paths: paths}
	for _, path := range paths {
		text, err := readConfig(path)
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

func (c *Config) add(path, text string) error {
	var file configFile
	meta, err := toml.Decode(text, &file)
	if err != nil {
		return syntaxError(path, err)
	}
	for _, table := range []string{"provider", "tunnel"} {
		if kind := meta.Type(table); kind != "" && kind != "Hash" {
			return &ConfigError{path, lineOf(text, "", table, ""), fmt.Errorf("%s is not a table: write [%s.NAME]", table, table)}
		}
	}
	fail := func(table, name string, err error) error {
		var in *keyError
		key := ""
		if errors.As(err, &in) {
			key = in.key
		}
		return &ConfigError{path, lineOf(text, table, name, key), fmt.Errorf("[%s.%s]: %w", table, name, err)}
	}
	providers, named := map[string]*Provider{}, map[string]Named{}
	for name, table := range file.Provider {
		defined := func(key string) bool { return meta.IsDefined("provider", name, key) }
		if providers[name], err = c.startingWith(name, path != builtinPath, defined); err != nil {
			return err
		}
		embedded := providers[name].Errors
		providers[name].Errors = nil
		if err := meta.PrimitiveDecode(table, providers[name]); err != nil {
			return fail("provider", name, err)
		}
		providers[name].Errors = append(providers[name].Errors, embedded...) // one's own come first
	}
	for name, table := range file.Tunnel {
		var n Named
		if err := meta.PrimitiveDecode(table, &n); err != nil {
			return fail("tunnel", name, err)
		}
		named[name] = n
	}
	for _, key := range meta.Keys() {
		if len(key) == 3 && (key[2] == "env" || key[2] == "defaults") && meta.Type(key...) != "Hash" { // which the decoder passes over
			return fail(key[0], key[1], keyErrorf(key[2], "it is a table: write { NAME = \"value\" }"))
		}
	}
	if err := unknownKey(path, text, meta); err != nil { // before what a misspelt key would seem to leave out
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		providers[name].complete(name)
		if path == builtinPath { // checked by a test, and not at every start
			continue
		}
		if err := providers[name].check(); err != nil {
			return fail("provider", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if err := named[name].check(name); err != nil {
			return fail("tunnel", name, err)
		}
	}
	maps.Copy(c.providers, providers)
	maps.Copy(c.named, named)
	return nil
}

// startingWith gives what a provider's table adds its keys to. One with a command is whole, and takes nothing from
// another of its name: such a one may be embedded only since the last update.
func (c *Config) startingWith(name string, own bool, defined func(key string) bool) (*Provider, error) {
	if defined("command") || defined("stdio") {
		delete(c.builtin, name)
		return &Provider{own: own}, nil
	}
	old, err := c.provider(name)
	if err != nil || old == nil {
		return &Provider{own: own}, err
	}
	p := *old
	if defined("env") { // a table would be added to
		p.Env = nil
	}
	if defined("defaults") {
		p.Defaults = nil
	}
	return &p, nil
}

func (n Named) check(name string) error { return firstOf(n.problems(name)) }

// problems are all that is wrong with a [tunnel.NAME] table, as far as that does not depend on the route.
func (n Named) problems(name string) []error {
	var missing error
	if n.Route == "" {
		missing = errors.New("it has no route")
	}
	all := []error{
		checkName(name), missing, checkListen(n.Listen), checkTimeout(n.Timeout), checkEnv(n.Env, nil), CheckReady(n.Ready),
		checkSteps(n.Before, n.After, stepNames),
	}
	return slices.DeleteFunc(all, func(err error) bool { return err == nil })
}

func syntaxError(path string, err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return &ConfigError{path, parse.Position.Line, errors.New(parse.Message)}
	}
	return &ConfigError{Path: path, Err: err}
}

func unknownKey(path, text string, meta toml.MetaData) error {
	undecoded := slices.DeleteFunc(meta.Undecoded(), func(key toml.Key) bool {
		return len(key) > 3 && key[2] == "env" // see checkEnv
	})
	if len(undecoded) == 0 {
		return nil
	}
	key := undecoded[0]
	table, name, last := "", key[0], ""
	if len(key) > 1 {
		table, name, last = key[0], key[1], key[len(key)-1]
	}
	return &ConfigError{path, lineOf(text, table, name, last), fmt.Errorf("unknown key %q", key.String())}
}

// lineOf finds the line of a key in a table, or that on which the table, or a key outside of all tables, begins, which is near
// enough to an error in it; 0 where it finds neither.
func lineOf(text, table, name, key string) int {
	wanted := strings.TrimPrefix(table+"."+name, ".")
	plain := strings.NewReplacer(" ", "", "\t", "", `"`, "", "'", "")
	begins := 0
	for i, line := range strings.Split(text, "\n") {
		line = plain.Replace(line)
		found, _, ok := strings.Cut(line, "=")
		if header, is := strings.CutPrefix(line, "["); is {
			found, _, ok = strings.Cut(header, "]")
		}
		switch {
		case begins > 0 && ok && key != "" && found == key:
			return i + 1
		case begins == 0 && ok && (found == wanted || strings.HasPrefix(found, wanted+".")):
			begins = i + 1
		}
	}
	return begins
}

// Names returns the names of the [tunnel.NAME] tables, sorted.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.named)) }

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
	slices.Sort(names)
	return slices.Compact(names)
}

// provider gives the provider of that name, nil for none.
func (c *Config) provider(name string) (*Provider, error) {
	if p, ok := c.providers[name]; ok {
		return p, nil
	}
	text, ok := c.builtin[name]
	if !ok {
		return nil, nil
	}
	delete(c.builtin, name)
	err := c.add(builtinPath, text)
	return c.providers[name], err
}

// mayServe tells whether the provider could have routes of that scheme, "" for none, as far as can be told without decoding it.
func (c *Config) mayServe(name, scheme string) bool {
	text, ok := c.builtin[name]
	return !ok || scheme == "" && strings.Contains(text, `routes = ["{`) || scheme != "" && strings.Contains(text, scheme+"://")
}

// userPath is the file in which a user would add what is missing.
func (c *Config) userPath() string {
	if len(c.paths) == 0 {
		return "config.toml"
	}
	return c.paths[len(c.paths)-1]
}
