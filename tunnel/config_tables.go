package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// tableKey is a table of the configuration: [tunnel.NAME] or [provider.NAME].
type tableKey struct{ kind, name string }

func (k tableKey) String() string { return k.kind + "." + k.name }

// source is a configuration file as it was read.
type source struct {
	path string
	meta toml.MetaData
}

// locator is decoded into to learn where a value stands: the decoder tells that with errors only.
type locator struct{}

var errLocated = errors.New("located")

// UnmarshalTOML always fails.
func (locator) UnmarshalTOML(any) error { return errLocated }

// line gives the line of a value, 0 where it is not known.
func (s *source) line(value toml.Primitive) int {
	var at toml.ParseError
	if errors.As(s.meta.PrimitiveDecode(value, &locator{}), &at) {
		return at.Position.Line
	}
	return 0
}

// layer is what one file says of a table.
type layer struct {
	*source
	table toml.Primitive
	keys  []string // those that it gives
}

func (l layer) gives(key string) bool {
	return slices.ContainsFunc(l.keys, func(k string) bool { return strings.EqualFold(k, key) }) // as the decoder has it
}

// whole tells whether the layer takes nothing from those below: such an earlier table may be another's, or embedded only since an
// update.
func (l layer) whole(kind string) bool {
	if kind == "tunnel" {
		return l.gives("route")
	}
	return l.gives("command") || l.gives("stdio")
}

// lineOf gives the line of a key, or where that is not known, as for "", the one on which the table begins.
func (l layer) lineOf(key string) int {
	begins, first := l.line(l.table), 0
	var values map[string]toml.Primitive
	if err := l.meta.PrimitiveDecode(l.table, &values); err != nil {
		return begins
	}
	for name, value := range values {
		line := l.line(value)
		if name == key && line > 0 {
			return line
		}
		if line > 0 && (first == 0 || line < first) {
			first = line
		}
	}
	if begins == 0 { // it has no header of its own
		return first
	}
	return begins
}

// lastGiving gives the layer that a key's value is from.
func (c *Config) lastGiving(table tableKey, key string) layer {
	for _, l := range slices.Backward(c.layers[table]) {
		if l.gives(key) {
			return l
		}
	}
	return layer{source: &source{}}
}

func (l layer) fault(table tableKey, key string, err error) *ConfigError {
	return &ConfigError{Path: l.path, Line: l.lineOf(key), Table: table.String(), Err: err}
}

// decoded is a table of a file over what was there before, not checked yet.
type decoded struct {
	layer
	key      tableKey
	named    Named
	provider *Provider
	err      error
}

// add adds a file. What is wrong with it becomes a fault.
func (c *Config) add(path, text string) {
	var file struct {
		Provider map[string]toml.Primitive `toml:"provider"`
		Tunnel   map[string]toml.Primitive `toml:"tunnel"`
	}
	meta, err := toml.Decode(text, &file)
	if err != nil {
		c.fault(syntaxError(path, err), headers(text)...)
		return
	}
	src := &source{path, meta}
	var tables []decoded
	for _, kind := range []string{"provider", "tunnel"} {
		if is := meta.Type(kind); is != "" && is != "Hash" {
			c.fault(src.outside(text, toml.Key{kind}, fmt.Errorf("%s is not a table: write [%s.NAME]", kind, kind)))
		}
		all := map[string]map[string]toml.Primitive{"provider": file.Provider, "tunnel": file.Tunnel}[kind]
		for _, name := range slices.Sorted(maps.Keys(all)) {
			tables = append(tables, c.decode(layer{src, all[name], keysOf(meta, kind, name)}, tableKey{kind, name}))
		}
	}
	unknown := src.unknownKeys()
	for _, key := range unknown[tableKey{}] {
		c.fault(src.outside(text, key, unknownKey(key)))
	}
	for _, t := range tables {
		c.take(t, unknown[t.key])
	}
}

// keysOf lists the keys that a file gives of a table.
func keysOf(meta toml.MetaData, kind, name string) (keys []string) {
	for _, key := range meta.Keys() {
		if len(key) > 2 && key[0] == kind && key[1] == name && !slices.Contains(keys, key[2]) {
			keys = append(keys, key[2])
		}
	}
	return keys
}

// decode decodes a table over what is there of it.
func (c *Config) decode(l layer, key tableKey) decoded {
	d := decoded{layer: l, key: key}
	for _, name := range []string{"env", "defaults", "env_add", "defaults_add"} { // the decoder passes them over
		if l.gives(name) && l.meta.Type(key.kind, key.name, name) != "Hash" {
			d.err = keyErrorf(name, "it is a table: write { NAME = \"value\" }")
		}
	}
	whole := l.whole(key.kind)
	var err error
	if key.kind == "tunnel" {
		if !whole {
			d.named = c.named[key.name]
		}
		err = l.into(&d.named, &d.named.Args, &d.named.Before, &d.named.After, &d.named.Env)
	} else {
		d.provider = c.startingWith(key.name, l.path != builtinPath, whole)
		err = l.intoProvider(d.provider)
	}
	if d.err == nil {
		d.err = err
	}
	return d
}

// startingWith gives what a provider's table adds its keys to, which is nothing where it is whole.
func (c *Config) startingWith(name string, own, whole bool) *Provider {
	if whole {
		delete(c.builtin, name)
		return &Provider{own: own}
	}
	if old, err := c.provider(name); err == nil && old != nil {
		p := *old
		return &p
	}
	return &Provider{own: own}
}

// intoProvider is into for a provider: rows of errors come before those that are there, and its lists of routes and its defaults
// can be added to.
func (l layer) intoProvider(p *Provider) error {
	rows := p.Errors
	p.Errors = nil
	err := l.into(p, &p.Args, &p.Before, &p.After, &p.Env)
	p.Errors = slices.Concat(p.Errors, rows)
	var more struct {
		Routes   []string       `toml:"routes_add"`
		Defaults map[string]any `toml:"defaults_add"`
	}
	if more := l.meta.PrimitiveDecode(l.table, &more); err == nil {
		err = more
	}
	p.Routes = slices.Concat(p.Routes, more.Routes)
	p.Defaults = merged(p.Defaults, more.Defaults)
	return err
}

// into decodes the layer into table: a key takes the place of what was there, and KEY_add is added to it.
func (l layer) into(table any, args *[]string, before, after *Steps, env *map[string]any) error {
	l.forget(table)
	if err := l.meta.PrimitiveDecode(l.table, table); err != nil {
		return err
	}
	var more struct {
		Args   []string       `toml:"args_add"`
		Before Steps          `toml:"before_add"`
		After  Steps          `toml:"after_add"`
		Env    map[string]any `toml:"env_add"`
	}
	err := l.meta.PrimitiveDecode(l.table, &more)
	*args, *before, *after = slices.Concat(*args, more.Args), slices.Concat(*before, more.Before), slices.Concat(*after, more.After)
	*env = merged(*env, more.Env)
	return err
}

// forget empties the fields of a table that the layer gives: the decoder would write into what they share with another table.
func (l layer) forget(table any) {
	v := reflect.ValueOf(table).Elem()
	for _, field := range reflect.VisibleFields(v.Type()) {
		if key := field.Tag.Get("toml"); key != "" && l.gives(key) {
			v.FieldByIndex(field.Index).SetZero()
		}
	}
}

func merged(table, more map[string]any) map[string]any {
	if len(more) == 0 {
		return table
	}
	all := maps.Clone(more)
	for name, value := range table {
		if _, ok := all[name]; !ok {
			all[name] = value
		}
	}
	return all
}

// take checks a table, and takes it where nothing is wrong with it. One that is whole mends what was broken below it.
func (c *Config) take(d decoded, unknown []toml.Key) {
	if d.whole(d.key.kind) {
		delete(c.broken, d.key)
		delete(c.layers, d.key)
	}
	c.layers[d.key] = append(c.layers[d.key], d.layer)
	err := d.err
	switch {
	case err != nil:
	case len(unknown) > 0: // before what a misspelt key would seem to leave out
		for _, key := range unknown {
			c.fault(d.layer.fault(d.key, slices.Concat(key, toml.Key{""})[2], unknownKey(key)), d.key)
		}
		return
	case c.broken[d.key] != nil:
		return // as it stands it would be incomplete
	case d.key.kind == "tunnel":
		err = d.named.check(d.key.name, c.partial)
		if err == nil && d.named.Route == "" && !d.whole(d.key.kind) {
			c.lacks(d, "route")
			return
		}
	case c.partial && !d.whole(d.key.kind) && len(d.provider.Command)+len(d.provider.Stdio) == 0:
		d.provider.complete(d.key.name)
		if err = d.provider.checkAlone(); err == nil {
			c.lacks(d, "command")
			return
		}
	default:
		d.provider.complete(d.key.name)
		if d.path != builtinPath { // checked by a test, and not at every start
			err = d.provider.check()
		}
	}
	if err != nil {
		c.fault(d.fault(err), d.key)
		return
	}
	if d.key.kind == "tunnel" {
		c.named[d.key.name] = d.named
		return
	}
	c.providers[d.key.name] = d.provider
}

// fault is what is wrong with the table, at the key where it is.
func (d decoded) fault(err error) *ConfigError {
	var in *keyError
	if errors.As(err, &in) {
		return d.layer.fault(d.key, in.key, fmt.Errorf("[%s]: %w", d.key, err))
	}
	e := d.layer.fault(d.key, "", fmt.Errorf("[%s]: %w", d.key, err))
	if m := wrongType().FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Err = fmt.Errorf("[%s]: %s: %s", d.key, strings.TrimPrefix(m[2], d.key.String()+"."), m[3])
	}
	return e
}

// wrongType is the message of the TOML library about a value of another type than its key has, which tells where it is with text only.
var wrongType = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^toml: line (\d+) \(last key "([^"]+)"\): (.*)$`)
})

// UnknownKeyError says that no key of that name is known where it stands, and which are.
type UnknownKeyError struct {
	Key   string   // all of it, such as tunnel.desk.rout
	Last  string   // its part that is not known
	Known []string // none where they are not told
}

func (e *UnknownKeyError) Error() string { return fmt.Sprintf("unknown key %q", e.Key) }

func unknownKey(key toml.Key) error {
	e := &UnknownKeyError{Key: key.String(), Last: key[len(key)-1]}
	switch {
	case len(key) <= 2:
		e.Last, e.Known = key[0], []string{"provider", "tunnel"}
	case len(key) == 3 && key[0] == "tunnel":
		e.Known = fieldsOf(reflect.TypeFor[Named]())
	case len(key) == 3:
		e.Known = fieldsOf(reflect.TypeFor[Provider]())
	}
	return e
}

// fieldsOf lists the keys of a table that is read into that type.
func fieldsOf(table reflect.Type) (keys []string) {
	for i := range table.NumField() {
		if key := table.Field(i).Tag.Get("toml"); key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

// unknownKeys are the keys that nothing was decoded from, by their table.
func (s *source) unknownKeys() map[tableKey][]toml.Key {
	unknown := map[tableKey][]toml.Key{}
	for _, key := range s.meta.Undecoded() {
		switch {
		case len(key) > 3 && (key[2] == "env" || key[2] == "env_add"): // see checkEnv
		case len(key) > 1 && (key[0] == "tunnel" || key[0] == "provider"):
			table := tableKey{key[0], key[1]}
			unknown[table] = append(unknown[table], key)
		default:
			unknown[tableKey{}] = append(unknown[tableKey{}], key)
		}
	}
	if own := unknown[tableKey{}]; len(own) > 1 { // not what is in a table that is unknown itself
		unknown[tableKey{}] = slices.DeleteFunc(own, func(key toml.Key) bool {
			return len(key) > 1 && slices.ContainsFunc(own, func(k toml.Key) bool { return len(k) < len(key) && k[0] == key[0] })
		})
	}
	return unknown
}

// outside is a fault outside of the tables that there are, or in what is in the place of all of them.
func (s *source) outside(text string, key toml.Key, err error) *ConfigError {
	e := &ConfigError{Path: s.path, Err: err}
	var values map[string]toml.Primitive
	meta, decodeErr := toml.Decode(text, &values)
	for again := (&source{s.path, meta}); decodeErr == nil && len(key) > 0; key = key[1:] {
		value, ok := values[key[0]]
		if !ok {
			break
		}
		if line := again.line(value); line > 0 {
			e.Line = line
			break
		}
		values = nil
		decodeErr = meta.PrimitiveDecode(value, &values)
	}
	return e
}

// quotedWord is a word of the file in a message of the TOML library, which may be a secret that its quotes were forgotten of.
var quotedWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"[^"]{2,}"`)
})

func syntaxError(path string, err error) *ConfigError {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return &ConfigError{Path: path, Line: parse.Position.Line, Err: errors.New(quotedWord().ReplaceAllString(parse.Message, `"…"`))}
	}
	return &ConfigError{Path: path, Err: err}
}

var header = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*\[[ \t]*(tunnel|provider)[ \t]*\.[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"'.\]]+))`)
})

// headers gives the tables of a file that is no TOML, as far as their headers can be told.
func headers(text string) (tables []tableKey) {
	for _, m := range header().FindAllStringSubmatch(text, -1) {
		tables = append(tables, tableKey{m[1], m[2] + m[3] + m[4]})
	}
	return tables
}

// written gives the forms of routes that stand in a provider's tables, broken or not.
func (c *Config) written(key tableKey) (forms []string) {
	if p := c.providers[key.name]; p != nil {
		forms = p.Routes
	}
	var table struct {
		Routes any `toml:"routes"`
		More   any `toml:"routes_add"`
	}
	for _, l := range c.layers[key] {
		_ = l.meta.PrimitiveDecode(l.table, &table) // it is no table at all, and has none
		for _, list := range []any{table.Routes, table.More} {
			all, _ := list.([]any)
			for _, form := range all {
				forms = append(forms, fmt.Sprint(form))
			}
		}
	}
	var embedded struct {
		Provider map[string]struct {
			Routes []string `toml:"routes"`
		} `toml:"provider"`
	}
	_, _ = toml.Decode(c.builtin[key.name], &embedded) // which a test checks
	return append(forms, embedded.Provider[key.name].Routes...)
}
