package remmina

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// extension is that of every profile; Remmina overlooks other files.
const extension = ".remmina"

// Dir is a directory where a Remmina keeps its profiles.
type Dir struct {
	Path string
	Kind Kind // of that Remmina
}

// Dirs lists where a user's profiles are: under dataHome ($XDG_DATA_HOME), in the directory that Remmina used before
// 1.0 and still prefers where it exists, and in the Flatpak's and the Snap's. home and dataHome are absolute. A directory that
// the user chose in Remmina's preferences is not among them: profiles there are named by their file.
func Dirs(home, dataHome string) []Dir {
	return []Dir{
		{Path: filepath.Join(dataHome, "remmina")},
		{Path: filepath.Join(home, ".remmina")},
		{Path: filepath.Join(home, ".var/app/org.remmina.Remmina/data/remmina"), Kind: Flatpak},
		{Path: filepath.Join(home, "snap/remmina/current/.local/share/remmina"), Kind: Snap},
	}
}

// Entry is a profile in a list, or a file that should be one.
type Entry struct {
	Profile       // of a file that cannot be read only Path and Kind
	Err     error // a *FileError or *DamagedError
}

// List reads all profiles in dirs, sorted by name. A directory that does not exist holds none.
func List(dirs []Dir) ([]Entry, error) {
	var entries []Entry
	seen := map[string]bool{}
	for _, dir := range dirs {
		files, err := os.ReadDir(dir.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, file := range files {
			path := filepath.Join(dir.Path, file.Name())
			// One directory may be a link to another, and then holds the same profiles.
			target, err := filepath.EvalSymlinks(path)
			if filepath.Ext(path) != extension || err == nil && seen[target] {
				continue
			}
			seen[target] = true
			entries = append(entries, load(path, dir.Kind))
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	return entries, nil
}

func load(path string, kind Kind) Entry {
	p, err := Load(path)
	p.Path, p.Kind = path, kind
	return Entry{Profile: p, Err: err}
}

// Find looks a profile up and reads it. Its name is that which Remmina shows, or that of its file in one of dirs,
// with or without .remmina; what contains a slash, or is a .remmina file in workDir, is a path.
//
// The errors are *NotFoundError, *AmbiguousError, and those of Load.
func Find(name, workDir string, dirs []Dir) (Profile, error) {
	if path, ok := asPath(name, workDir); ok {
		entry := load(path, kindOf(path, dirs))
		return entry.Profile, entry.Err
	}
	entries, err := List(dirs)
	if err != nil {
		return Profile{}, err
	}
	matching := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		base := filepath.Base(e.Path)
		return e.Name != name && base != name && base != name+extension
	})
	switch len(matching) {
	case 0:
		return Profile{}, &NotFoundError{Name: name, Dirs: dirs, Candidates: readable(entries)}
	case 1:
		return matching[0].Profile, matching[0].Err
	}
	return Profile{}, &AmbiguousError{Name: name, Candidates: profiles(matching)}
}

func asPath(name, workDir string) (path string, ok bool) {
	path = name
	if !filepath.IsAbs(path) {
		path = filepath.Join(workDir, path)
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return path, true
	}
	_, err := os.Stat(path)
	return path, err == nil && filepath.Ext(path) == extension
}

// kindOf compares directories, since there may be links on the way to either.
func kindOf(path string, dirs []Dir) Kind {
	parent, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return Native
	}
	for _, d := range dirs {
		if info, err := os.Stat(d.Path); err == nil && os.SameFile(parent, info) {
			return d.Kind
		}
	}
	return Native
}

func readable(entries []Entry) []Profile {
	return profiles(slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Err != nil }))
}

func profiles(entries []Entry) []Profile {
	all := make([]Profile, len(entries))
	for i, e := range entries {
		all[i] = e.Profile
	}
	return all
}
