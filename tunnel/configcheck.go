package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// UnknownKeyError says that no key of that name is known where it stands, and which are.
type UnknownKeyError struct {
	Key   string // all of it, such as "tunnel.desk.rout"
	Known []string
}

func (e *UnknownKeyError) Error() string { return fmt.Sprintf("unknown key %q", e.Key) }

// Last is the part of the key that is not known.
func (e *UnknownKeyError) Last() string { return e.Key[strings.LastIndexByte(e.Key, '.')+1:] }

// CheckConfig gives every fault in the files at paths, each read over the one before it, where LoadConfig stops at the first. The routes
// of names, and their listen addresses, are looked at too, and nothing outside of the files. What a fault makes impossible to tell is
// not told. They come in the order of files and lines.
func CheckConfig(paths ...string) []*ConfigError {
	c := &Config{builtin: builtinTables(), providers: map[string]*Provider{}, named: map[string]Named{}, paths: paths}
	var all []*ConfigError
	for _, path := range paths {
		text, err := readConfig(path)
		if err != nil {
			all = append(all, &ConfigError{Path: path, Err: fmt.Errorf("cannot be read: %w", underlying(err))})
			continue
		}
		check := checkOfFile{Config: c, path: path, text: string(text), damaged: map[string]bool{}, misspelt: map[string]bool{}}
		check.run()
		slices.SortStableFunc(check.faults, func(a, b *ConfigError) int { return cmp.Compare(a.Line, b.Line) })
		all = append(all, check.faults...)
	}
	return all
}

// checkOfFile is the check of one file on its way.
type checkOfFile struct {
	*Config
	path, text string
	meta       toml.MetaData
	faults     []*ConfigError
	damaged    map[string]bool // tables, "tunnel.desk", of which something cannot be read or used: more about them would be guessed
	misspelt   map[string]bool // tables that have unknown keys
}

func (c *checkOfFile) fault(line int, err error) {
	c.faults = append(c.faults, &ConfigError{c.path, line, err})
}

// faultIn is a fault of a table; key is the one that it is in, "" for the table itself.
func (c *checkOfFile) faultIn(table, name, key string, err error) {
	c.fault(c.lineOf(table, name, key), fmt.Errorf("[%s.%s]: %w", table, name, err))
}

func (c *checkOfFile) run() {
	c.leaveOutUnreadable()
	var file map[string]toml.Primitive
	meta, err := toml.Decode(c.text, &file)
	if err != nil {
		c.syntax(err)
		return
	}
	c.meta = meta
	providers, names := c.tables(file, "provider"), c.tables(file, "tunnel")
	for _, key := range slices.Sorted(maps.Keys(file)) {
		if key != "provider" && key != "tunnel" {
			c.fault(c.lineOf("", key, ""), &UnknownKeyError{key, []string{"provider", "tunnel"}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		c.provider(name, providers[name])
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c.name(name, names[name])
	}
	for _, name := range slices.Sorted(maps.Keys(names)) { // now that all providers of the file are known
		c.route(name)
	}
}

// tables gives the tables of that kind, by name.
func (c *checkOfFile) tables(file map[string]toml.Primitive, kind string) map[string]map[string]toml.Primitive {
	all := map[string]map[string]toml.Primitive{}
	if _, ok := file[kind]; !ok {
		return all
	}
	var byName map[string]toml.Primitive
	if err := c.meta.PrimitiveDecode(file[kind], &byName); err != nil || !c.isTable(kind) {
		c.fault(c.lineOf("", kind, ""), fmt.Errorf("%s is not a table: write [%s.NAME]", kind, kind))
		return all
	}
	for name, primitive := range byName {
		var keys map[string]toml.Primitive
		if err := c.meta.PrimitiveDecode(primitive, &keys); err != nil || !c.isTable(kind, name) {
			c.fault(c.lineOf(kind, name, ""), fmt.Errorf("%s.%s is not a table: write [%s.%s]", kind, name, kind, name))
			continue
		}
		all[name] = keys
	}
	return all
}

// isTable tells whether a key holds one. Of those that only the names of others imply the decoder does not tell the type.
func (c *checkOfFile) isTable(key ...string) bool {
	kind := c.meta.Type(key...)
	return kind == "" || kind == "Hash"
}

func (c *checkOfFile) provider(name string, keys map[string]toml.Primitive) {
	defined := func(key string) bool { _, ok := keys[key]; return ok }
	p, err := c.startingWith(name, true, defined)
	if err != nil {
		c.faultIn("provider", name, "", err)
		return
	}
	embedded := p.Errors
	p.Errors = nil
	c.decode("provider", name, keys, p)
	p.complete(name)
	if c.damaged["provider."+name] {
		return
	}
	c.problems("provider", name, keys, p.problems())
	p.Errors = append(p.Errors, embedded...)
	c.providers[name] = p
}

func (c *checkOfFile) name(name string, keys map[string]toml.Primitive) {
	var n Named
	c.decode("tunnel", name, keys, &n)
	if !c.damaged["tunnel."+name] {
		c.problems("tunnel", name, keys, n.problems(name))
	}
	c.named[name] = n
}

// decode reads the keys of a table one by one into a struct of that form.
func (c *checkOfFile) decode(table, name string, keys map[string]toml.Primitive, into any) {
	fields := fieldsOf(into)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		field, ok := fields[strings.ToLower(key)] // as the decoder does
		if !ok {
			known := slices.Sorted(maps.Keys(fields))
			c.misspelt[table+"."+name] = true
			c.fault(c.lineOf(table, name, key), &UnknownKeyError{table + "." + name + "." + key, known})
			continue
		}
		if (key == "env" || key == "defaults") && !c.isTable(table, name, key) {
			c.faultIn(table, name, key, keyErrorf(key, "it is a table: write { NAME = \"value\" }"))
			c.damaged[table+"."+name] = true
			continue
		}
		if err := c.meta.PrimitiveDecode(keys[key], field.Addr().Interface()); err != nil {
			c.faultIn(table, name, key, fmt.Errorf("%s: %s", key, withoutPlace(err)))
			c.damaged[table+"."+name] = true
			continue
		}
		c.nested(table, name, key)
	}
}

// nested tells of unknown keys below a key of a table: in the rows of errors.
func (c *checkOfFile) nested(table, name, key string) {
	if key != "errors" {
		return
	}
	known := slices.Sorted(maps.Keys(fieldsOf(&ErrorPattern{})))
	for _, k := range c.meta.Keys() {
		if len(k) == 4 && k[0] == table && k[1] == name && k[2] == key && !slices.Contains(known, strings.ToLower(k[3])) {
			c.fault(c.lineBelow(c.lineOf(table, name, key), k[3]), &UnknownKeyError{k.String(), known})
		}
	}
}

// fieldsOf gives the fields of the struct that into points to, by the names that they have in a file.
func fieldsOf(into any) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		if key := v.Type().Field(i).Tag.Get("toml"); key != "" {
			fields[key] = v.Field(i)
		}
	}
	return fields
}

// place is what the decoder's errors begin with.
var place = regexp.MustCompile(`^toml: (line \d+ )?(\(last key "[^"]*"\): )?`)

func withoutPlace(err error) string { return place.ReplaceAllString(err.Error(), "") }

// problems tells of what is wrong in a table that could be read.
func (c *checkOfFile) problems(table, name string, keys map[string]toml.Primitive, all []error) {
	for _, err := range all {
		if c.misspelt[table+"."+name] && strings.HasPrefix(err.Error(), "it has no ") {
			continue // it has, under a name that is told already
		}
		c.damaged[table+"."+name] = true
		c.faultIn(table, name, keyIn(err, keys), err)
	}
}

// keyIn gives the key that an error is about, which most begin with; "" where that is none of the table's.
func keyIn(err error, keys map[string]toml.Primitive) string {
	word := firstWord.FindString(err.Error())
	if strings.HasPrefix(err.Error(), "route form") {
		word = "routes"
	}
	if _, ok := keys[word]; ok {
		return word
	}
	return ""
}

var firstWord = regexp.MustCompile(`^[a-z_]+`)

// route looks at where a name leads, and where it listens.
func (c *checkOfFile) route(name string) {
	n, damaged := c.named[name], c.damaged["tunnel."+name]
	if n.Route == "" || checkName(name) != nil {
		return
	}
	r, err := c.Route(name)
	switch {
	case err != nil && c.lacksProvider(): // it may be the one of that route
		return
	case err != nil:
		c.faultIn("tunnel", name, "route", err)
		return
	case damaged:
		return
	}
	if _, err := r.ParseListen(""); err != nil {
		c.faultIn("tunnel", name, "listen", err)
	}
	all, _ := variables(r.Named.Env) // checked
	for _, v := range all {
		if !placed(v.value, r.Provider.names()) {
			c.faultIn("tunnel", name, "env", unknownIn(v.name))
		}
	}
}

// lacksProvider tells whether a provider of the file could not be read.
func (c *checkOfFile) lacksProvider() bool {
	for table := range c.damaged {
		if strings.HasPrefix(table, "provider.") {
			return true
		}
	}
	return false
}

// header is a line that begins a table. An element of a list begins with a quote, if it is one of ours.
var header = regexp.MustCompile(`^\s*\[\[?\s*([A-Za-z0-9_-]+\s*(?:\.[^\]]*)?)\]`)

// assignment is a line that begins with a key and its value.
var assignment = regexp.MustCompile(`^\s*([A-Za-z0-9_."'-]+)\s*=`)

// leaveOutUnreadable tells of what is no TOML, and empties its lines, so that the rest can be looked at.
func (c *checkOfFile) leaveOutUnreadable() {
	if toml.Unmarshal([]byte(c.text), new(map[string]any)) == nil {
		return
	}
	lines := strings.Split(c.text, "\n")
	for first := 0; first < len(lines); {
		last := first + 1
		for last < len(lines) && !header.MatchString(lines[last]) {
			last++
		}
		c.leaveOutOf(lines, first, last)
		first = last
	}
	for range lines { // what only the whole does not allow: a table or a key that is there twice
		err := toml.Unmarshal([]byte(strings.Join(lines, "\n")), new(map[string]any))
		if err == nil {
			break
		}
		line := c.syntax(err)
		if line < 1 || line > len(lines) {
			lines = nil // nothing of it can be told apart
			break
		}
		first, last := line-1, line
		for last < len(lines) && header.MatchString(lines[first]) && !header.MatchString(lines[last]) {
			last++
		}
		c.empty(lines, first, last)
	}
	c.text = strings.Join(lines, "\n")
}

// leaveOutOf does so with the lines of one table.
func (c *checkOfFile) leaveOutOf(lines []string, first, last int) {
	unreadable := func(from, to int) error {
		part := strings.Repeat("\n", from) + strings.Join(lines[from:to], "\n")
		return toml.Unmarshal([]byte(part), new(map[string]any))
	}
	if unreadable(first, last) == nil {
		return
	}
	before := len(c.faults)
	for from := first; from < last; {
		to := from + 1
		for to < last && !assignment.MatchString(lines[to]) {
			to++
		}
		if err := unreadable(from, to); err != nil {
			line := c.syntax(err)
			c.faults[len(c.faults)-1].Line = min(max(line, from+1), to)
			c.markDamaged(lines[first])
			c.empty(lines, from, to)
		}
		from = to
	}
	if err := unreadable(first, last); err != nil {
		if len(c.faults) == before {
			c.syntax(err)
		}
		c.empty(lines, first, last)
	}
}

func (c *checkOfFile) markDamaged(line string) {
	if m := header.FindStringSubmatch(line); m != nil {
		c.damaged[plainKeys.Replace(m[1])] = true
	}
}

func (c *checkOfFile) empty(lines []string, first, last int) {
	for i := first; i < last; i++ {
		c.markDamaged(lines[i])
		lines[i] = ""
	}
}

// syntax tells of what the decoder does not take, and gives the line.
func (c *checkOfFile) syntax(err error) int {
	var known *ConfigError
	errors.As(syntaxError(c.path, err), &known)
	c.faults = append(c.faults, known)
	return known.Line
}

// plainKeys takes from a line what a key may be written with.
var plainKeys = strings.NewReplacer(" ", "", "\t", "", `"`, "", "'", "")

// lineOf finds the line of a key within a table, or else of the table, or of what it is in; 0 where it finds none of them. A key
// outside of all tables has no table.
func (c *checkOfFile) lineOf(table, name, key string) int {
	wanted := plainKeys.Replace(strings.TrimPrefix(table+"."+name, "."))
	at, current := 0, ""
	for i, line := range strings.Split(c.text, "\n") {
		if m := header.FindStringSubmatch(line); m != nil {
			current = plainKeys.Replace(m[1])
			if at == 0 && (current == wanted || strings.HasPrefix(current, wanted+".")) {
				at = i + 1
			}
			if key != "" && current == wanted+"."+key {
				return i + 1
			}
			continue
		}
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		full := strings.TrimPrefix(current+"."+plainKeys.Replace(m[1]), ".")
		switch {
		case key != "" && (full == wanted+"."+key || strings.HasPrefix(full, wanted+"."+key+".")):
			return i + 1
		case at == 0 && (full == wanted || strings.HasPrefix(full, wanted+".")):
			at = i + 1
		}
	}
	if at == 0 && table != "" {
		return c.lineOf("", table, "")
	}
	return at
}

// lineBelow finds the first line, from one on, that holds a key; it is that one where none does.
func (c *checkOfFile) lineBelow(line int, key string) int {
	pattern := regexp.MustCompile(`(^|[\s{,"'])` + regexp.QuoteMeta(key) + `["']?\s*=`)
	lines := strings.Split(c.text, "\n")
	for i := max(line-1, 0); i < len(lines); i++ {
		if pattern.MatchString(lines[i]) {
			return i + 1
		}
	}
	return line
}
