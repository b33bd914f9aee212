package tunnel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAFileIsCheckedWithWhatItBelongsTo: what a drop-in adds to is there, and what only others do wrong is not told.
func TestAFileIsCheckedWithWhatItBelongsTo(t *testing.T) {
	const (
		adds    = "[tunnel.desk]\nargs_add = [\"-x\"]\n[provider.oc]\nargs_add = [\"{host}\"]\nbefore_add = [[\"up\", \"{host}\"]]\n"
		whole   = "[tunnel.desk]\nroute = \"oc://desk\"\n[provider.oc]\nroutes = [\"oc://{host}\"]\ncommand = [\"oc\", \"{host}\"]\n"
		foreign = "[tunnel.other]\nlisen = \"stable\"\n"
	)
	for name, tc := range map[string]struct {
		files  map[string]string
		check  string
		faults []string // FILE:LINE
		left   []string
	}{
		"drop-in beside the main file":     {map[string]string{"new/config.toml": whole + foreign, "new/config.d/50.toml": adds}, "new/config.d/50.toml", nil, nil},
		"drop-in over an earlier drop-in":  {map[string]string{"new/config.toml": "", "new/config.d/10.toml": whole, "new/config.d/50.toml": adds}, "new/config.d/50.toml", nil, nil},
		"drop-in before one that adds":     {map[string]string{"new/config.toml": "", "new/config.d/50.toml": adds, "new/config.d/40.toml": whole}, "new/config.d/40.toml", nil, nil},
		"drop-in that is not named as one": {map[string]string{"new/config.toml": whole, "new/config.d/50.toml.new": adds}, "new/config.d/50.toml.new", nil, nil},
		"drop-in that adds to nothing":     {map[string]string{"new/config.toml": "", "new/config.d/50.toml": adds}, "new/config.d/50.toml", []string{"new/config.d/50.toml:3", "new/config.d/50.toml:1"}, nil},
		"drop-in alone":                    {map[string]string{"new/config.d/50.toml": adds}, "new/config.d/50.toml", nil, []string{"new/config.d/50.toml:3", "new/config.d/50.toml:1"}},
		"provider of another file": {
			map[string]string{"new/config.d/50.toml": "[tunnel.desk]\nroute = \"oc://desk\"\n"}, "new/config.d/50.toml", nil, []string{"new/config.d/50.toml:2"},
		},
		"file of any name":            {map[string]string{"new/corp.toml": adds + "[tunnel.lab]\nroute = \"oc://lab\"\n"}, "new/corp.toml", nil, []string{"new/corp.toml:3", "new/corp.toml:1", "new/corp.toml:7"}},
		"unknown scheme in one":       {map[string]string{"new/corp.toml": "[tunnel.lab]\nroute = \"gopher://lab\"\n"}, "new/corp.toml", []string{"new/corp.toml:2"}, nil},
		"main file, of which all is":  {map[string]string{"new/config.toml": adds}, "new/config.toml", []string{"new/config.toml:3", "new/config.toml:1"}, nil},
		"main file with its drop-ins": {map[string]string{"new/config.toml": whole, "new/config.d/50.toml": adds + foreign}, "new/config.toml", []string{"new/config.d/50.toml:7"}, nil},
		"user's over the system's":    {map[string]string{"etc/config.toml": whole + foreign, "home/config.toml": adds}, "home/config.toml", nil, nil},
		"user's drop-in likewise":     {map[string]string{"etc/config.d/10.toml": whole + foreign, "home/config.d/50.toml": adds}, "home/config.d/50.toml", nil, nil},
		"user's that adds to nothing": {map[string]string{"home/config.d/50.toml": adds}, "home/config.d/50.toml", []string{"home/config.d/50.toml:3", "home/config.d/50.toml:1"}, nil},
		"what it breaks elsewhere": {
			map[string]string{"new/config.toml": whole + foreign, "new/config.d/50.toml": "[provider.oc]\nroutes = [\"oc://{gateway}/{host}\"]\n"},
			"new/config.d/50.toml",
			[]string{"new/config.toml:2"},
			nil,
		},
		"values that can be judged alone": {
			map[string]string{"new/config.d/50.toml": "[tunnel.a]\nlisten = \"x\"\n[tunnel.b]\nlisen = \"1\"\n[provider.oc]\ntimeout = \"3\"\n[provider.ssh]\nsignal = \"x\"\n[tunnel.c]\nroute = \"\"\n"},
			"new/config.d/50.toml",
			[]string{"new/config.d/50.toml:6", "new/config.d/50.toml:7", "new/config.d/50.toml:1", "new/config.d/50.toml:4", "new/config.d/50.toml:10"},
			nil,
		},
		"no TOML":                    {map[string]string{"new/config.toml": whole, "new/config.d/50.toml": "= 1\n"}, "new/config.d/50.toml", []string{"new/config.d/50.toml:1"}, nil},
		"beside what cannot be read": {map[string]string{"new/config.toml": "", "new/config.d/10.toml": "DIR", "new/config.d/50.toml": adds}, "new/config.d/50.toml", nil, []string{"new/config.d/50.toml:3", "new/config.d/50.toml:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := tree(t, tc.files)
			faults, left := CheckFile(filepath.Join(dir, tc.check), []string{filepath.Join(dir, "etc", "config.toml"), filepath.Join(dir, "home", "config.toml")})
			places := func(all []*ConfigError) (at []string) {
				for _, e := range all {
					place, _, _ := strings.Cut(strings.TrimPrefix(e.Error(), dir+"/"), ": ")
					at = append(at, place)
				}
				slices.Sort(at)
				return at
			}
			slices.Sort(tc.faults)
			slices.Sort(tc.left)
			if diff := cmp.Diff(tc.faults, places(faults)); diff != "" {
				t.Errorf("%s %v", diff, faults)
			}
			if diff := cmp.Diff(tc.left, places(left)); diff != "" {
				t.Errorf("left: %s %v", diff, left)
			}
		})
	}
}

// TestAFileIsCheckedByWhateverNameItIsReached: people keep their configuration elsewhere, and link it. A fault is told by the name that
// was given.
func TestAFileIsCheckedByWhateverNameItIsReached(t *testing.T) {
	const (
		provider = "[provider.oc]\nroutes = [\"oc://{host}\"]\ncommand = [\"oc\", \"{host}\"]\n"
		whole    = "[tunnel.desk]\nroute = \"oc://desk\"\n" + provider
		adds     = "[tunnel.desk]\nargs_add = [\"-x\"]\n"
		unknown  = "lisen = \"stable\"\n"
	)
	for name, tc := range map[string]struct {
		files map[string]string
		links map[string]string // to what
		check string
	}{
		"directory":    {map[string]string{"dot/config.toml": whole, "dot/config.d/50.toml": adds}, map[string]string{"home": "dot"}, "dot/config.d/50.toml"},
		"no main file": {map[string]string{"etc/config.toml": whole, "dot/config.d/50.toml": adds}, map[string]string{"home": "dot"}, "dot/config.d/50.toml"},
		"above it":     {map[string]string{"dot/home/config.d/10.toml": whole, "dot/home/config.d/50.toml": adds}, map[string]string{"home": "dot/home"}, "dot/home/config.d/50.toml"},
		"main file": {
			map[string]string{"etc/config.toml": whole, "dot/tunhook.toml": adds, "home/config.d/50.toml": adds, "dot/config.d/50.toml": "= 1\n"},
			map[string]string{"home/config.toml": "dot/tunhook.toml"},
			"dot/tunhook.toml",
		},
		"directory of drop-ins": {map[string]string{"home/config.toml": whole, "dot/50.toml": adds}, map[string]string{"home/config.d": "dot"}, "dot/50.toml"},
		"not named as a drop-in yet": {
			map[string]string{"home/config.toml": whole, "dot/50.toml.new": adds}, map[string]string{"home/config.d": "dot"}, "dot/50.toml.new",
		},
		"drop-in": {
			map[string]string{"home/config.toml": whole, "home/config.d/10.toml": "", "dot/desk": adds},
			map[string]string{"home/config.d/50.toml": "dot/desk"},
			"dot/desk",
		},
		"link that counts":  {map[string]string{"home/config.toml": whole, "dot/50.toml": adds}, map[string]string{"home/config.d": "dot"}, "home/config.d/50.toml"},
		"link to all of it": {map[string]string{"home/config.toml": whole, "home/config.d/50.toml": adds}, map[string]string{"link": "home"}, "link/config.d/50.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := tree(t, tc.files)
			for link, to := range tc.links {
				if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			path, paths := filepath.Join(dir, tc.check), []string{filepath.Join(dir, "etc", "config.toml"), filepath.Join(dir, "home", "config.toml")}
			if faults, left := CheckFile(path, paths); len(faults)+len(left) > 0 {
				t.Errorf("%v, left: %v", faults, left)
			}
			if err := os.WriteFile(path, []byte(adds+unknown), 0o600); err != nil {
				t.Fatal(err)
			}
			if faults, left := CheckFile(path, paths); len(faults) != 1 || faults[0].Path != path || faults[0].Line != 3 || len(left) > 0 {
				t.Errorf("with a fault: %v, left: %v", faults, left)
			}
		})
	}
}
