package autostart

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree gives what lies below a directory: modes, and what files hold or links lead to.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		text, _ := os.ReadFile(path)
		if to, err := os.Readlink(path); err == nil {
			text = []byte(to)
		}
		found = append(found, path+" "+d.Type().String()+" "+string(text))
		return nil
	}))
	return found
}

func TestEntriesAreWrittenListedAndRemoved(t *testing.T) {
	t.Parallel()
	for _, by := range []By{BySystemd, ByDesktop} {
		t.Run(string(by), func(t *testing.T) {
			t.Parallel()
			s := Store{t.TempDir()}
			for _, e := range []Entry{nasty(by), plainEntry(by)} {
				if wrote, err := s.Write(e); err != nil || !wrote.Any || wrote.Socket {
					t.Fatalf("%+v, %v", wrote, err)
				}
				before := tree(t, s.ConfigHome)
				if wrote, err := s.Write(e); err != nil || wrote.Any {
					t.Errorf("written again: %+v, %v", wrote, err)
				}
				if after := tree(t, s.ConfigHome); !slices.Equal(before, after) {
					t.Errorf("%q became %q", before, after)
				}
			}
			entries, err := s.List()
			check(t, err)
			if len(entries) != 2 {
				t.Fatalf("%d entries: %+v", len(entries), entries)
			}
			for _, e := range []Entry{nasty(by), plainEntry(by)} {
				if !slices.ContainsFunc(entries, func(got Entry) bool {
					return got.By == by && got.Route == e.Route && got.Address == e.Address && got.Program == e.Program && !got.Since.IsZero()
				}) {
					t.Errorf("%+v is not among %+v", e, entries)
				}
				for _, f := range s.files(e) {
					if info, err := os.Lstat(f.path); err != nil || info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
						t.Errorf("%v, %v", info, err)
					}
				}
				removed, err := s.Remove(e)
				check(t, err)
				again, err := s.Remove(e)
				check(t, err)
				if !removed || again {
					t.Errorf("removed: %v, and again: %v", removed, again)
				}
			}
			if left := tree(t, s.ConfigHome); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestWhomAnEntryIsForComesBack(t *testing.T) {
	t.Parallel()
	for _, by := range []By{BySystemd, ByDesktop} {
		e := nasty(by)
		e.For = "/home/m\xe9/My \"desk\" 100%\n[x]\\"
		s := Store{t.TempDir()}
		_, err := s.Write(e)
		check(t, err)
		entries, err := s.List()
		if err != nil || len(entries) != 1 || entries[0].For != e.For {
			t.Errorf("%s: %+v, %v", by, entries, err)
		}
	}
}

// TestUsersFilesStay: of the same directories, and of the names of ours.
func TestUsersFilesStay(t *testing.T) {
	t.Parallel()
	s := Store{t.TempDir()}
	e := plainEntry(BySystemd)
	own := []string{"mine.socket", e.Name() + ".service.d", "tunhook-other.socket"}
	check(t, os.MkdirAll(s.wantsDir(), 0o755))
	for _, name := range own {
		check(t, os.WriteFile(filepath.Join(s.UnitDir(), name), []byte("[Unit]\n"), 0o644))
	}
	before := tree(t, s.ConfigHome)
	check2(t)(s.Write(e))
	if entries, err := s.List(); err != nil || len(entries) != 1 {
		t.Errorf("%+v, %v", entries, err)
	}
	check2(t)(s.Remove(e))
	want := slices.DeleteFunc(before, func(line string) bool { return strings.Contains(line, "sockets.target.wants") })
	if after := tree(t, s.ConfigHome); !slices.Equal(after, want) {
		t.Errorf("%q became %q", want, after)
	}
}

func check2(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		check(t, err)
	}
}

// TestSomebodyElsesFileIsNeitherWrittenNorRemoved in the place of any of ours, which is named.
func TestSomebodyElsesFileIsNeitherWrittenNorRemoved(t *testing.T) {
	t.Parallel()
	foreign := map[string]func(path string) error{
		"a file":      func(path string) error { return os.WriteFile(path, []byte("[Unit]\n"), 0o644) },
		"a mask":      func(path string) error { return os.Symlink("/dev/null", path) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o755) },
	}
	for kind, put := range foreign {
		for _, by := range []By{BySystemd, ByDesktop} {
			for i, f := range (Store{}).files(plainEntry(by)) {
				if f.link != "" && kind == "a mask" {
					continue // that one is a link itself
				}
				s := Store{t.TempDir()}
				path := s.files(plainEntry(by))[i].path
				check(t, os.MkdirAll(filepath.Dir(path), 0o755))
				check(t, put(path))
				before := tree(t, s.ConfigHome)
				for what, err := range map[string]error{
					"check": s.Check(plainEntry(by)), "write": second(s.Write(plainEntry(by))), "remove": second(s.Remove(plainEntry(by))),
				} {
					var problem *FileError
					if !errors.As(err, &problem) || problem.Path != path || problem.Reason != "was not made by tunhook" {
						t.Errorf("%s over %s at %s: %v", what, kind, path, err)
					}
				}
				if after := tree(t, s.ConfigHome); !slices.Equal(before, after) {
					t.Errorf("%q became %q", before, after)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestDirectoriesThatAreNoneAreNamed, and nothing is written through a link.
func TestDirectoriesThatAreNoneAreNamed(t *testing.T) {
	t.Parallel()
	for _, by := range []By{BySystemd, ByDesktop} {
		for reason, put := range map[string]func(path string) error{
			"is a symbolic link":     func(path string) error { return os.Symlink(filepath.Dir(path), path) },
			"is not a directory":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
			"cannot be written to (": func(path string) error { return os.Mkdir(path, 0o500) },
		} {
			if os.Geteuid() == 0 && strings.Contains(reason, "written") {
				continue // root may write anywhere
			}
			s := Store{t.TempDir()}
			dir := filepath.Dir(s.files(plainEntry(by))[0].path)
			check(t, os.MkdirAll(filepath.Dir(dir), 0o700))
			check(t, put(dir))
			_, err := s.Write(plainEntry(by))
			var problem *FileError
			if !errors.As(err, &problem) || problem.Path != dir || !strings.HasPrefix(problem.Reason, reason) || problem.Hint == "" {
				t.Errorf("%s: %v", reason, err)
			}
		}
	}
}

// TestWhatAKilledWriteHasLeftIsRemoved, by the next one and by a removal.
func TestWhatAKilledWriteHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	for _, by := range []By{BySystemd, ByDesktop} {
		s := Store{t.TempDir()}
		e := plainEntry(by)
		temporary := func() {
			for _, f := range s.files(e) {
				check(t, os.MkdirAll(filepath.Dir(f.path), 0o700))
				check(t, os.WriteFile(filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+"123456"), []byte("half"), 0o600))
			}
		}
		temporary()
		check2(t)(s.Write(e))
		if left := tree(t, s.ConfigHome); slices.ContainsFunc(left, func(line string) bool { return strings.Contains(line, "half") && !strings.Contains(line, "wants") }) {
			t.Errorf("left behind by Write: %q", left)
		}
		temporary()
		s.Sweep()
		if left := tree(t, s.ConfigHome); slices.ContainsFunc(left, func(line string) bool { return strings.Contains(line, "half") }) {
			t.Errorf("left behind by Sweep: %q", left)
		}
		temporary()
		check2(t)(s.Remove(e))
		if left := tree(t, s.ConfigHome); len(left) > 0 {
			t.Errorf("left behind by Remove: %q", left)
		}
	}
}

// TestDirectoriesThatAKilledCallHasLeftAreRemoved, whichever of them it had got to.
func TestDirectoriesThatAKilledCallHasLeftAreRemoved(t *testing.T) {
	t.Parallel()
	for _, by := range []By{BySystemd, ByDesktop} {
		s := Store{t.TempDir()}
		e := plainEntry(by)
		for _, f := range s.files(e) {
			for dir := filepath.Dir(f.path); dir != s.ConfigHome; dir = filepath.Dir(dir) {
				check(t, os.MkdirAll(dir, 0o700))
				check2(t)(s.Remove(e))
				if left := tree(t, s.ConfigHome); len(left) > 0 {
					t.Errorf("%s alone: left behind: %q", dir, left)
				}
				check(t, os.MkdirAll(dir, 0o700))
				s.Sweep()
				if left := tree(t, s.ConfigHome); len(left) > 0 {
					t.Errorf("%s alone: left behind by Sweep: %q", dir, left)
				}
			}
		}
	}
}

// TestOneFileIsEnoughToBeListed: what a killed call has left is found.
func TestOneFileIsEnoughToBeListed(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{socketSuffix, serviceSuffix} {
		s := Store{t.TempDir()}
		e := plainEntry(BySystemd)
		check2(t)(s.Write(e))
		check(t, os.Remove(filepath.Join(s.UnitDir(), e.Name()+suffix)))
		if entries, err := s.List(); err != nil || len(entries) != 1 || entries[0].Route != e.Route {
			t.Errorf("without the %s: %+v, %v", suffix, entries, err)
		}
	}
}

func TestChangedSocketIsToldApart(t *testing.T) {
	t.Parallel()
	s := Store{t.TempDir()}
	e := plainEntry(BySystemd)
	check2(t)(s.Write(e))
	e.Args = append(e.Args, "--linger", "1m")
	if wrote, err := s.Write(e); err != nil || !wrote.Any || wrote.Socket {
		t.Errorf("other arguments: %+v, %v", wrote, err)
	}
	e.Program = "/usr/local/bin/tunhook"
	if wrote, err := s.Write(e); err != nil || !wrote.Any || !wrote.Socket {
		t.Errorf("another program: %+v, %v", wrote, err)
	}
}

func TestWhatIsNotUTF8IsRefused(t *testing.T) {
	t.Parallel()
	s := Store{t.TempDir()}
	for _, by := range []By{BySystemd, ByDesktop} {
		e := plainEntry(by)
		e.Args = append(e.Args, "--", "\xff")
		if err := s.Check(e); !errors.As(err, new(*TextError)) {
			t.Errorf("%s: %v", by, err)
		}
	}
}

// TestALinkInThePlaceOfADirectoryStays: people keep their units elsewhere.
func TestALinkInThePlaceOfADirectoryStays(t *testing.T) {
	t.Parallel()
	s := Store{t.TempDir()}
	elsewhere := t.TempDir()
	check(t, os.Mkdir(filepath.Dir(s.UnitDir()), 0o700))
	check(t, os.Symlink(elsewhere, s.UnitDir()))
	s.Sweep()
	check2(t)(s.Remove(plainEntry(BySystemd)))
	if to, err := os.Readlink(s.UnitDir()); err != nil || to != elsewhere {
		t.Errorf("%q, %v", to, err)
	}
}

// TestFilesOfAnEditorStay, whatever they are called.
func TestFilesOfAnEditorStay(t *testing.T) {
	t.Parallel()
	for _, by := range []By{BySystemd, ByDesktop} {
		s, e := Store{t.TempDir()}, plainEntry(by)
		check2(t)(s.Write(e))
		var swap []string
		for _, f := range s.files(e) {
			swap = append(swap, filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+".swp"), f.path+"~1")
		}
		for _, path := range swap {
			check(t, os.WriteFile(path, nil, 0o600))
		}
		s.Sweep()
		check2(t)(s.Write(e))
		check2(t)(s.Remove(e))
		for _, path := range swap {
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		}
	}
}
