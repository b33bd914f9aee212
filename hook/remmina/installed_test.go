package remmina

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVersionsThatRunHooks(t *testing.T) {
	for version, want := range map[string]bool{
		"1.4.29": true, "1.4.40": true, "1.4.41": true, "1.3.99": true, "1.2": true, "0.9.99.1": true,
		"1.4.42": false, "1.4.43": false, "1.4.44": false, "1.4.100": false, "1.5.0": false, "2.0": false, "1.4": false, "": false, "next": false,
	} {
		if got := (Installed{Native, version}).RunsHooks(); got != want {
			t.Errorf("%q: %v", version, got)
		}
		if (Installed{Snap, version}).RunsHooks() {
			t.Errorf("a Snap of %q", version)
		}
	}
}

// place writes a file below a directory.
func place(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // what another test forks meanwhile would have the program open: then it cannot be executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func compressed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLookFindsEachKindAndItsVersion(t *testing.T) {
	const (
		app   = "app/org.remmina.Remmina/current/active/"
		meta  = app + "files/share/metainfo/org.remmina.Remmina.appdata.xml"
		xml   = "<component>\n<releases>\n<release date=\"2026-01-01\" version=\"1.4.43\">\n<release version=\"1.4.42\"/>\n"
		print = "#!/bin/sh\n[ \"$*\" = --version ] || exit 1\necho noise >&2\n" +
			"echo 'Load modules from /usr/lib/remmina/plugins'\necho 'org.remmina.Remmina - 1.4.40 (git n/a)'\n"
		yaml = "remmina/current/meta/snap.yaml"
	)
	for name, tc := range map[string]struct {
		files map[string]string
		links map[string]string
		want  []Installed
	}{
		"nothing":          {},
		"native":           {files: map[string]string{"bin/remmina": print}, want: []Installed{{Native, "1.4.40"}}},
		"native, mute":     {files: map[string]string{"bin/remmina": "#!/bin/sh\nexit 3\n"}, want: []Installed{{Native, ""}}},
		"Flatpak":          {files: map[string]string{"var/lib/flatpak/" + meta: xml}, want: []Installed{{Flatpak, "1.4.43"}}},
		"Flatpak, unnamed": {files: map[string]string{"data/flatpak/" + app + "metadata": ""}, want: []Installed{{Flatpak, ""}}},
		"Flatpak, compressed": {
			files: map[string]string{"data/flatpak/" + app + "files/share/app-info/xmls/org.remmina.Remmina.xml.gz": compressed(t, xml)},
			want:  []Installed{{Flatpak, "1.4.43"}},
		},
		"the user's Flatpak first": {
			files: map[string]string{"var/lib/flatpak/" + meta: xml, "data/flatpak/" + meta: "<release version=\"v1.4.41\">"},
			want:  []Installed{{Flatpak, "1.4.41"}},
		},
		"Snap":           {files: map[string]string{"snap/" + yaml: "name: remmina\nversion: v1.4.36\n"}, want: []Installed{{Snap, "1.4.36"}}},
		"Snap elsewhere": {files: map[string]string{"var/lib/snapd/snap/" + yaml: "version: '1.4.43+g'\n"}, want: []Installed{{Snap, "1.4.43"}}},
		"all": {
			files: map[string]string{
				"bin/remmina": print, "var/lib/flatpak/" + meta: xml, "snap/" + yaml: "version: git\n",
			},
			want: []Installed{{Native, "1.4.40"}, {Flatpak, "1.4.43"}, {Snap, ""}},
		},
		"links to the Flatpak's and the Snap's": {
			files: map[string]string{"exports/org.remmina.Remmina": print, "usr/snap": print},
			links: map[string]string{"bin/remmina": "../exports/org.remmina.Remmina", "sbin/remmina": "../usr/snap"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range tc.files {
				place(t, root, file, text)
			}
			for link, to := range tc.links {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
					t.Fatal(err)
				}
			}
			m := Machine{Root: root, DataHome: filepath.Join(root, "data"), Path: "bin:" + filepath.Join(root, "bin")}
			if diff := cmp.Diff(tc.want, m.Look(t.Context())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Remmina writes its preferences even when it is only asked for its version.
func TestLookLeavesNothingInTheHome(t *testing.T) {
	root := t.TempDir()
	place(t, root, "bin/remmina", "#!/bin/sh\nfor d in \"$HOME\" \"$XDG_CONFIG_HOME\" \"$XDG_DATA_HOME\" \"$XDG_CACHE_HOME\"; do\n"+
		"touch \"$d/written\"\ndone\necho 'org.remmina.Remmina - 1.4.41'\n")
	home := filepath.Join(root, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	environ := []string{"PATH=/usr/bin:/bin", "HOME=" + home, "XDG_CONFIG_HOME=" + home}
	m := Machine{Root: root, DataHome: home, Path: filepath.Join(root, "bin"), Environ: environ}
	if diff := cmp.Diff([]Installed{{Native, "1.4.41"}}, m.Look(t.Context())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("left in the home: %v, %v", left, err)
	}
}

func TestLookDoesNotWaitForARemminaThatHangs(t *testing.T) {
	root := t.TempDir()
	place(t, root, "bin/remmina", "#!/bin/sh\nsleep 300\n")
	m := Machine{Root: root, DataHome: root, Path: filepath.Join(root, "bin"), Environ: []string{"PATH=/usr/bin:/bin"}, Patience: time.Second}
	if diff := cmp.Diff([]Installed{{Native, ""}}, m.Look(t.Context())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
