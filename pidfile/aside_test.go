package pidfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnlyWhatIsNoRecordIsSetAside(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		goes bool
	}{
		"damaged":      {"{", true},
		"empty":        {"", true},
		"another's":    {"RECORD", true},
		"from a newer": {`{"version": 99}`, false},
		"a record":     {"RECORD", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, rec := recordDir(t)
			good := filepath.Join(d.Path(), rec.Key().Name()+recordSuffix)
			record, err := os.ReadFile(good)
			if err != nil {
				t.Fatal(err)
			}
			path := good
			if name == "another's" {
				path = filepath.Join(d.Path(), "other-0123"+recordSuffix)
			}
			if err := os.WriteFile(path, []byte(strings.Replace(tc.text, "RECORD", string(record), 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			aside, err := d.SetAside(path, time.Now())
			if err != nil || (aside != "") != tc.goes {
				t.Errorf("%q, %v", aside, err)
			}
			if _, err := os.Lstat(path); (err != nil) != tc.goes {
				t.Errorf("it is there: %v", err)
			}
			if kept, err := os.ReadFile(aside); tc.goes && (err != nil || strings.Contains(tc.text, "{") && string(kept) != tc.text) {
				t.Errorf("what was set aside is %q, %v", kept, err)
			}
			if again, err := d.SetAside(path, time.Now()); again != "" || err != nil {
				t.Errorf("again: %q, %v", again, err)
			}
		})
	}
}

// recordDir is a directory with one record.
func recordDir(t *testing.T) (Dir, Record) {
	t.Helper()
	d, err := PrivateDir(filepath.Join(t.TempDir(), "run"), false, true)
	if err != nil {
		t.Fatal(err)
	}
	rec := testRecord()
	mustWrite(t, d, rec)
	rec.Route, rec.Listen = testKey.Route, testKey.Listen
	return d, rec
}

func TestWhatSomebodyWorksOnIsNotSetAside(t *testing.T) {
	t.Parallel()
	d, rec := recordDir(t)
	path := filepath.Join(d.Path(), rec.Key().Name()+recordSuffix)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := d.Lock(context.Background(), testKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.SetAside(path, time.Now()); !errors.As(err, new(*BusyError)) {
		t.Errorf("%v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if aside, err := d.SetAside(path, time.Now()); aside == "" || err != nil {
		t.Errorf("%q, %v", aside, err)
	}
	if _, err := d.SetAside(filepath.Join(filepath.Dir(d.Path()), "x.json"), time.Now()); err == nil {
		t.Error("a file elsewhere was taken for one of the directory")
	}
	if left, _ := os.ReadDir(d.Path()); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}
