package remmina

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// home is a user's home directory with a few profiles in it.
func home(t *testing.T) (workDir string, dirs []Dir) {
	t.Helper()
	root := t.TempDir()
	dirs = Dirs(root, filepath.Join(root, ".local/share"))
	write := func(dir, name, profile string) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(profile), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dirs[0].Path, "work_rdp_desk.remmina", "[remmina]\nname=Desk\nprotocol=RDP\n")
	write(dirs[0].Path, "both.remmina", "[remmina]\nname=Both\n")
	write(dirs[0].Path, "broken.remmina", "no profile")
	write(dirs[0].Path, "remmina.pref", "[remmina]\nname=Both\n")
	write(dirs[2].Path, "kiosk.remmina", "[remmina]\nname=Büro 'x' 100%h\n")
	write(dirs[2].Path, "2.remmina", "[remmina]\nname=Both\n")
	write(dirs[3].Path, "pc.remmina", "[remmina]\nname=Snapped\n")
	workDir = filepath.Join(root, "work")
	write(workDir, "here.remmina", "[remmina]\nname=Here\n")
	write(workDir, "Desk", "not a profile, and not in the way")
	return workDir, dirs
}

func TestFindTakesNamesAndFiles(t *testing.T) {
	workDir, dirs := home(t)
	native, flatpak := dirs[0].Path, dirs[2].Path
	for _, tc := range []struct {
		name, want string
		kind       Kind
	}{
		{"Desk", filepath.Join(native, "work_rdp_desk.remmina"), Native},
		{"work_rdp_desk", filepath.Join(native, "work_rdp_desk.remmina"), Native},
		{"work_rdp_desk.remmina", filepath.Join(native, "work_rdp_desk.remmina"), Native},
		{"Büro 'x' 100%h", filepath.Join(flatpak, "kiosk.remmina"), Flatpak},
		{"kiosk", filepath.Join(flatpak, "kiosk.remmina"), Flatpak},
		{filepath.Join(flatpak, "kiosk.remmina"), filepath.Join(flatpak, "kiosk.remmina"), Flatpak},
		{"here.remmina", filepath.Join(workDir, "here.remmina"), Native},
		{"./here.remmina", filepath.Join(workDir, "here.remmina"), Native},
		{"both", filepath.Join(native, "both.remmina"), Native},
		{"pc", filepath.Join(dirs[3].Path, "pc.remmina"), Snap},
		{filepath.Join(dirs[3].Path, "pc.remmina"), filepath.Join(dirs[3].Path, "pc.remmina"), Snap},
	} {
		p, err := Find(tc.name, workDir, dirs)
		if err != nil || p.Path != tc.want || p.Kind != tc.kind || p.Name == "" {
			t.Errorf("Find(%q) = %+v, %v; want %s", tc.name, p, err, tc.want)
		}
	}
}

func TestFindNamesTheCandidates(t *testing.T) {
	workDir, dirs := home(t)
	_, err := Find("desk", workDir, dirs)
	unknown := (*NotFoundError)(nil)
	if !errors.As(err, &unknown) {
		t.Fatalf("unknown name: %v", err)
	}
	var names []string
	for _, p := range unknown.Candidates {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"Both", "Both", "Büro 'x' 100%h", "Desk", "Snapped"}, names); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
	if want := `no profile "desk": there are "Both", "Both", "Büro 'x' 100%h", "Desk", "Snapped"`; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}

	_, err = Find("Both", workDir, dirs)
	ambiguous := (*AmbiguousError)(nil)
	if !errors.As(err, &ambiguous) || len(ambiguous.Candidates) != 2 {
		t.Fatalf("ambiguous name: %v", err)
	}
	want := `several profiles are called "Both": name the file of one: ` +
		filepath.Join(dirs[0].Path, "both.remmina") + ", " + filepath.Join(dirs[2].Path, "2.remmina")
	if err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}

	for _, name := range []string{"", "nothing"} {
		if _, err := Find(name, workDir, nil); !errors.As(err, &unknown) {
			t.Errorf("Find(%q) without profiles: %v", name, err)
		}
	}
}

func TestFindTellsWhatIsWrongWithTheNamedFile(t *testing.T) {
	workDir, dirs := home(t)
	for _, name := range []string{"broken", "./missing.remmina", "./", "../work/Desk"} {
		if _, err := Find(name, workDir, dirs); !errors.As(err, new(*FileError)) {
			t.Errorf("Find(%q): %v, want a FileError", name, err)
		}
	}
}

func TestListIsSortedAndShowsBrokenFiles(t *testing.T) {
	_, dirs := home(t)
	// A Flatpak that was given the native profiles must not double them.
	if err := os.Symlink(dirs[0].Path, dirs[1].Path); err != nil {
		t.Fatal(err)
	}
	entries, err := List(dirs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name+"|"+filepath.Base(e.Path))
		if broken := filepath.Base(e.Path) == "broken.remmina"; broken != (e.Err != nil) {
			t.Errorf("%s: error %v", e.Path, e.Err)
		}
	}
	want := []string{
		"|broken.remmina", "Both|both.remmina", "Both|2.remmina", "Büro 'x' 100%h|kiosk.remmina", "Desk|work_rdp_desk.remmina",
		"Snapped|pc.remmina",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListOfMissingDirectoriesIsEmpty(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	entries, err := List(Dirs(missing, missing))
	if err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
