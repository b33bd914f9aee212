package tunnel

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Table is what a [tunnel.NAME] or [provider.NAME] table comes to, with all that the files say of it.
type Table struct {
	Kind, Name string // Kind is "tunnel" or "provider"
	Values     []Setting
	Faults     []*ConfigError // why it cannot be used; none if it can
}

// Setting is a key of a table, and where its value is from.
type Setting struct {
	Key string
	// Value is a string, bool or number, or slices and maps of them, as TOML has them. The value of an environment variable is
	// Hidden, unless it is the name of a file.
	Value   any
	Origins []Origin // several where files have added to each other; none where the value is what counts without any
}

// Hidden stands for a value that may be a secret.
const Hidden = "…"

// Origin is a place in a file; that of an embedded provider has no Path.
type Origin struct {
	Path string
	Line int // 0 where it is not known
}

// Files lists the files that were read, the most important last.
func (c *Config) Files() []string { return slices.Clone(c.read) }

// Tables gives what the files come to, sorted by kind and name: all tables that are in one, or those of the name, be it that of a
// provider that is in no file.
func (c *Config) Tables(name string) (tables []Table) {
	keys := map[tableKey]bool{}
	for key := range c.broken {
		keys[key] = true
	}
	for key, layers := range c.layers {
		keys[key] = keys[key] || slices.ContainsFunc(layers, func(l layer) bool { return l.path != builtinPath })
	}
	if name != "" {
		for key := range keys {
			keys[key] = key.name == name
		}
		if p, err := c.provider(name); p != nil || err != nil {
			keys[tableKey{"provider", name}] = true
		}
	}
	for key, wanted := range keys {
		if wanted {
			tables = append(tables, c.table(key))
		}
	}
	slices.SortFunc(tables, func(a, b Table) int {
		return strings.Compare(b.Kind+"\x00"+a.Name, a.Kind+"\x00"+b.Name) // tunnels first
	})
	return tables
}

// TableNames lists what Tables can be asked for, sorted: the names of tunnels and providers, also of those that cannot be used, but
// for what can be no name.
func (c *Config) TableNames() []string {
	names := c.providerNames()
	for key := range c.layers {
		names = append(names, key.name)
	}
	for key := range c.broken {
		names = append(names, key.name)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return checkName(name) != nil })
}

// table gives the outcome for one table, from the very values that are used.
func (c *Config) table(key tableKey) Table {
	t := Table{Kind: key.kind, Name: key.name}
	if fault := c.broken[key]; fault != nil {
		t.Faults = c.faultsOf(key, fault)
		return t
	}
	var value reflect.Value
	if named, ok := c.named[key.name]; ok && key.kind == "tunnel" {
		value = reflect.ValueOf(named)
	} else if p := c.providers[key.name]; p != nil && key.kind == "provider" {
		shown := *p
		shown.Errors, _ = p.rows()
		value = reflect.ValueOf(shown)
	} else {
		return t
	}
	for _, field := range reflect.VisibleFields(value.Type()) {
		name := field.Tag.Get("toml")
		if name == "" || value.FieldByIndex(field.Index).IsZero() {
			continue
		}
		t.Values = append(t.Values, Setting{name, plainValue(name, value.FieldByIndex(field.Index)), c.origins(key, name)})
	}
	return t
}

// faultsOf lists the faults of a broken table; that which broke it may be its file's.
func (c *Config) faultsOf(key tableKey, broke *ConfigError) []*ConfigError {
	return slices.DeleteFunc(slices.Clone(c.faults), func(e *ConfigError) bool { return e != broke && e.Table != key.String() })
}

// plainValue gives a field's value as TOML has it, and hides what may be a secret.
func plainValue(key string, v reflect.Value) any {
	switch v := v.Interface().(type) {
	case *bool:
		return *v
	case *Listing:
		return map[string]any{"command": v.Command, "match": v.Match, "route": v.Route}
	case []ErrorPattern:
		var rows []any
		for _, row := range v {
			fields := map[string]any{"match": row.Match, "means": row.Means}
			if row.Hint != "" {
				fields["hint"] = row.Hint
			}
			rows = append(rows, fields)
		}
		return rows
	case map[string]any:
		v = maps.Clone(v)
		for name, value := range v {
			if _, isFile := value.(map[string]any); key == "env" && !isFile {
				v[name] = Hidden
			}
		}
		return v
	default:
		return v
	}
}

// origins tells where a key's value is from, by the rules by which tables are merged.
func (c *Config) origins(table tableKey, key string) (origins []Origin) {
	for _, l := range c.layers[table] {
		if l.gives(key) {
			here := []Origin{l.origin(key)}
			if key == "errors" { // whose rows come before those that are there
				here = append(here, origins...)
			}
			origins = here
		}
		if l.gives(key + "_add") {
			origins = append(origins, l.origin(key+"_add"))
		}
	}
	return origins
}

func (l layer) origin(key string) Origin {
	if l.path == builtinPath {
		return Origin{}
	}
	return Origin{l.path, l.lineOf(key)}
}
