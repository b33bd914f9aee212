package autostart

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestWhatWasWrittenIsReadBack, whatever the arguments are.
func TestWhatWasWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	back := func(t interface {
		Fatal(...any)
		Error(...any)
	}, e Entry,
	) {
		dir, err := os.MkdirTemp("", "tunhook-autostart-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s := Store{ConfigHome: dir}
		if _, err := s.Write(e); err != nil {
			t.Fatal(err)
		}
		listed, err := s.List()
		if err != nil || len(listed) != 1 {
			t.Fatal(listed, err)
		}
		got, ok := s.Read(listed[0])
		got.Since = time.Time{}
		if diff := cmp.Diff(e, got, cmp.Comparer(func(a, b Entry) bool {
			return a.By == b.By && a.Program == b.Program && cmp.Equal(a.Args, b.Args) && cmp.Equal(a.Environ, b.Environ) && a.Key() == b.Key()
		})); !ok || diff != "" {
			t.Error(ok, diff)
		}
		if missing, changed := s.Amiss(got); len(missing)+len(changed) > 0 {
			t.Error(missing, changed)
		}
	}
	for _, by := range []By{BySystemd, ByDesktop} {
		back(t, nasty(by))
		quoting := nasty(by)
		quoting.Program = `/opt/it's "mine"\tunhook`
		back(t, quoting)
	}
	rapid.Check(t, func(t *rapid.T) {
		e := plainEntry(rapid.SampledFrom([]By{BySystemd, ByDesktop}).Draw(t, "by"))
		e.Args = rapid.SliceOfN(word(), 1, 6).Draw(t, "args")
		back(t, e)
	})
}

func TestAmissIsWhatIsGoneOrChanged(t *testing.T) {
	t.Parallel()
	s := Store{ConfigHome: t.TempDir()}
	e := plainEntry(BySystemd)
	if _, err := s.Write(e); err != nil {
		t.Fatal(err)
	}
	link, service := filepath.Join(s.wantsDir(), e.Socket()), filepath.Join(s.UnitDir(), e.Service())
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(service, []byte(e.serviceUnit()+"[Service]\nNice=19\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, ok := s.Read(e)
	missing, changed := s.Amiss(e)
	if diff := cmp.Diff([][]string{{link}, {service}}, [][]string{missing, changed}); !ok || diff != "" {
		t.Error(ok, diff)
	}
	if err := os.Remove(service); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Read(e); ok {
		t.Error("it was read though it is gone")
	}
}
