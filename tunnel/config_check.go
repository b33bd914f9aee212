package tunnel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// mainFile is the name of the file that drop-ins are beside.
const mainFile = "config.toml"

// CheckFile gives what is wrong with one file of a configuration, before it is shipped perhaps. paths are the files that count here, in
// the order of LoadConfig: one of them, or a drop-in of it, is checked over those below. Any other drop-in is checked with the
// file that its directory lies beside, and with its other drop-ins. Of those files only what this one breaks is told.
//
// Where it is not known what a file belongs to, left is what another file has to give.
func CheckFile(path string, paths []string) (faults, left []*ConfigError) {
	f := checked{path: countedName(filepath.Clean(path), paths)}
	f.place(paths)
	all := f.load(true)
	others := map[string]bool{}
	for _, fault := range f.load(false).Faults() {
		others[fault.Error()] = true
	}
	left = slices.DeleteFunc(all.lacking, func(e *ConfigError) bool { return e.Path != f.path })
	for _, fault := range all.Faults() {
		switch {
		case others[fault.Error()]:
		case f.leaves(fault, left):
			left = append(left, fault)
		default:
			faults = append(faults, fault)
		}
	}
	for _, fault := range slices.Concat(faults, left) {
		if fault.Path == f.path {
			fault.Path = filepath.Clean(path)
		}
	}
	return faults, left
}

// countedName gives the name by which a file is one of paths, or a drop-in of one, where it has been reached by another: people link
// their configuration from elsewhere. It is the path itself where the file is none of them, or is so by its name.
func countedName(path string, paths []string) string {
	whole, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	drops := func(of string) string { return filepath.Join(filepath.Dir(of), dropInDir) }
	if slices.ContainsFunc(paths, func(of string) bool { return whole == filepath.Clean(of) || filepath.Dir(whole) == drops(of) }) {
		return path
	}
	for _, of := range paths {
		for _, counted := range append(new(Config).dropIns(drops(of)), of) {
			if sameFile(whole, counted) {
				return counted
			}
		}
		if sameFile(filepath.Dir(whole), drops(of)) { // one that is not named as a drop-in yet
			return filepath.Join(drops(of), filepath.Base(whole))
		}
	}
	return path
}

// sameFile tells whether two paths lead to one file or directory.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	other, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(one, other)
}

// checked is a file that is checked, and what it belongs to.
type checked struct {
	path  string
	main  string   // the file that it is, or that its directory lies beside
	below []string // what comes before that
	part  bool     // what else counts with it is not known
}

func (f *checked) place(paths []string) {
	whole, err := filepath.Abs(f.path)
	if err != nil {
		whole = f.path
	}
	f.main = f.path
	if filepath.Base(filepath.Dir(whole)) == dropInDir {
		f.main = filepath.Join(filepath.Dir(f.path), "..", mainFile)
		whole = filepath.Join(filepath.Dir(whole), "..", mainFile)
	}
	if i := slices.IndexFunc(paths, func(p string) bool { return filepath.Clean(p) == whole }); i >= 0 {
		f.below = paths[:i]
		return
	}
	_, err = os.Stat(f.main)
	f.part = filepath.Base(whole) != mainFile || errors.Is(err, fs.ErrNotExist)
}

// load reads the files that count for this one, and it itself where with says so.
func (f *checked) load(with bool) *Config {
	c := LoadConfig(f.below...)
	c.partial = f.part || c.blind != nil
	c.paths = []string{f.path} // where what is missing is to be added
	if f.main == f.path && !with {
		return c
	}
	c.load(f.main, fs.ErrNotExist, errNotDir)
	for _, path := range f.dropIns(c) {
		c.partial = c.partial || c.blind != nil
		if with || path != f.path {
			c.load(path)
		}
	}
	c.blind = nil // what cannot be read breaks no route of this file, as far as is known
	return c
}

// leaves tells whether a fault is that of a route whose provider another file may have: one of a drop-in, or one that the file adds to.
func (f *checked) leaves(fault *ConfigError, left []*ConfigError) bool {
	var route *RouteError
	if !f.part || !errors.As(fault, &route) || len(route.Known) == 0 {
		return false
	}
	return f.main != f.path || slices.ContainsFunc(left, func(e *ConfigError) bool { return e.Table == "provider."+schemeOf(route.Route) })
}

// dropIns are those of the main file. One that is checked is among them though by its name it is none yet.
func (f *checked) dropIns(c *Config) []string {
	if f.main == f.path {
		return c.dropIns(filepath.Join(filepath.Dir(f.path), dropInDir))
	}
	all := c.dropIns(filepath.Dir(f.path))
	if !slices.Contains(all, f.path) {
		all = append(all, f.path)
	}
	slices.Sort(all)
	return all
}

// lacks notes what another file has to give for a table to be of use.
func (c *Config) lacks(d decoded, key string) {
	c.lacking = append(c.lacking, d.layer.fault(d.key, "", fmt.Errorf("[%s] has no %s: another file has to give it", d.key, key)))
}
