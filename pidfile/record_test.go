package pidfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tunhook/tunhook/pidfile/process"
)

var testKey = Key{"desk.example.com:3389", "127.0.0.1:3389"}

func testRecord() Record {
	return Record{
		Version: RecordVersion, Route: testKey.Route, Listen: testKey.Listen,
		Address: netip.MustParseAddrPort("127.0.0.1:3389"), Provider: "pomerium", Program: "pomerium-cli", Signal: "TERM",
		Token: "T0KEN", Tunnel: process.Identity{PID: 4242, StartTicks: 123456789, BootID: "0b6ac5e3-0000-4000-8000-000000000000"},
		Started: time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC), Log: "/home/me/.local/state/tunhook/log/x.log", LogFrom: 1 << 33,
		ArgsHash: "abc", Ending: true,
		Promise: Promise{ForGood: true, EndWith: []process.Identity{{PID: 4243, StartTicks: 1 << 60, BootID: "b"}}},
	}
}

func testDir(t *testing.T) Dir {
	t.Helper()
	d, err := PrivateDir(filepath.Join(privateTemp(t), "records"), true, true)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustLock(t *testing.T, d Dir, key Key) *Lock {
	t.Helper()
	l, err := d.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustWrite(t *testing.T, d Dir, rec Record) {
	t.Helper()
	l := mustLock(t, d, rec.Key())
	if err := errors.Join(l.Write(rec), l.Unlock()); err != nil {
		t.Fatal(err)
	}
}

// names are the files in a directory.
func names(t *testing.T, d Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestRecordComesBackAsWritten(t *testing.T) {
	d, want := testDir(t), testRecord()
	mustWrite(t, d, want)
	got, err := d.Read(testKey)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	info, err := os.Lstat(d.recordPath(testKey))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the record is %v, %v; want -rw-------", info.Mode(), err)
	}
}

func TestRecordIsReplacedAtOnce(t *testing.T) {
	d, rec := testDir(t), testRecord()
	mustWrite(t, d, rec)
	stop := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := d.Read(testKey); err != nil {
				failed <- err
				return
			}
		}
	}()
	l := mustLock(t, d, testKey)
	for i := range 200 {
		rec.Log = strings.Repeat("x", i*13%4096)
		if err := l.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Errorf("a reader saw a record in the making: %v", err)
	}
	if err := errors.Join(l.Remove(), l.Remove(), l.Unlock()); err != nil {
		t.Error(err)
	}
	if left := names(t, d); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFailedWriteKeepsTheOldRecord(t *testing.T) {
	d, rec := testDir(t), testRecord()
	mustWrite(t, d, rec)
	if err := os.Mkdir(d.recordPath(testKey)+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	l := mustLock(t, d, testKey)
	defer l.Unlock()
	changed := rec
	changed.Token = "other"
	if err := l.Write(changed); err == nil {
		t.Fatal("writing into a directory succeeded")
	} else if !strings.Contains(err.Error(), d.recordPath(testKey)) {
		t.Errorf("%v does not name the record", err)
	}
	if got, err := l.Read(); err != nil || got.Token != rec.Token {
		t.Errorf("the old record is lost: %+v, %v", got, err)
	}
}

func TestMissingRecordIsNotABadOne(t *testing.T) {
	if _, err := testDir(t).Read(testKey); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func goodJSON(t testing.TB) []byte {
	data, err := json.Marshal(testRecord())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBadRecordIsSetAsideAsItWas(t *testing.T) {
	good := goodJSON(t)
	edit := func(change func(r *Record)) []byte {
		rec := testRecord()
		change(&rec)
		data, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, tc := range map[string]struct {
		data   []byte
		reason string
	}{
		"empty":                     {[]byte{}, "is empty"},
		"truncated":                 {good[:len(good)/2], "is damaged"},
		"random bytes":              {[]byte("\x7fELF\x00\xff\xfe\x01"), "is damaged"},
		"null":                      {[]byte("null"), "is damaged"},
		"empty object":              {[]byte("{}"), "is damaged"},
		"a list":                    {[]byte("[]"), "is damaged"},
		"two records":               {append(good, good...), "is damaged"},
		"a pid of text":             {bytes.Replace(good, []byte("4242"), []byte(`"4242"`), 1), "is damaged"},
		"newer":                     {edit(func(r *Record) { r.Version++ }), "is from a newer tunhook"},
		"newer, in another form":    {[]byte(`{"version": 7, "tunnel": ["a", "b"]}`), "is from a newer tunhook"},
		"version 0":                 {edit(func(r *Record) { r.Version = 0 }), "is damaged"},
		"negative version":          {edit(func(r *Record) { r.Version = -1 }), "is damaged"},
		"without a token":           {edit(func(r *Record) { r.Token = "" }), "is damaged"},
		"without an address":        {edit(func(r *Record) { r.Address = netip.AddrPort{} }), "is damaged"},
		"pid 0 (our process group)": {edit(func(r *Record) { r.Tunnel.PID = 0 }), "is damaged"},
		"pid 1 (init)":              {edit(func(r *Record) { r.Tunnel.PID = 1 }), "is damaged"},
		"pid -1 (every process)":    {edit(func(r *Record) { r.Tunnel.PID = -1 }), "is damaged"},
		"pid without a start time":  {edit(func(r *Record) { r.Tunnel.StartTicks = 0 }), "is damaged"},
		"another route's":           {edit(func(r *Record) { r.Route = "other.example.com:3389" }), "is of another tunnel"},
		"another address's":         {edit(func(r *Record) { r.Listen = "auto" }), "is of another tunnel"},
		"too large":                 {append(good, bytes.Repeat([]byte(" "), maxRecordSize)...), "is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDir(t)
			path := d.recordPath(testKey)
			if err := os.WriteFile(path, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			aside := checkSetAside(t, d, tc.reason)
			if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, tc.data) {
				t.Errorf("set aside %q, %v; want %q", kept, err, tc.data)
			}
			mustWrite(t, d, testRecord())
			if _, err := d.Read(testKey); err != nil {
				t.Errorf("no new record can be made: %v", err)
			}
		})
	}
}

// checkSetAside reads a bad record by every way there is, sets it aside, and gives its new path.
func checkSetAside(t *testing.T, d Dir, reason string) string {
	t.Helper()
	path := d.recordPath(testKey)
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	l := mustLock(t, d, testKey)
	defer l.Unlock()
	for range 2 { // reading changes nothing
		var bad *BadRecordError
		if _, err := l.Read(); !errors.As(err, &bad) || bad.Path != path || !strings.Contains(err.Error(), reason) {
			t.Fatalf("error %v, want a BadRecordError of %s with %q", err, path, reason)
		}
	}
	if reason != "is of another tunnel" {
		entries, err := d.List()
		var bad *BadRecordError
		if err != nil || len(entries) != 1 || !errors.As(entries[0].Err, &bad) {
			t.Errorf("listed as %v, %v", entries, err)
		}
	}
	aside, err := l.SetAside(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Lstat(aside)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("%s is not the file that was there: %v", aside, err)
	}
	if entries, err := d.List(); err != nil || len(entries) > 0 {
		t.Errorf("what was set aside is still listed: %v, %v", entries, err)
	}
	if _, err := l.Read(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after setting aside: %v", err)
	}
	return aside
}

func TestWhatIsNoFileIsSetAsideWithoutBeingOpened(t *testing.T) {
	for name, tc := range map[string]struct {
		make   func(path string) error
		reason string
	}{
		"directory": {func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.WriteFile(p+"/kept", nil, 0o600)) }, "is not a regular file"},
		"link to a good one": {func(p string) error {
			return errors.Join(os.WriteFile(p+".real", goodJSON(t), 0o600), os.Symlink(p+".real", p))
		}, "is a symbolic link"},
		"link to nothing":      {func(p string) error { return os.Symlink("/nonexistent", p) }, "is a symbolic link"},
		"pipe without writers": {func(p string) error { return syscall.Mkfifo(p, 0o600) }, "is not a regular file"},
		"socket":               {makeSocket, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDir(t)
			if err := tc.make(d.recordPath(testKey)); err != nil {
				t.Fatal(err)
			}
			read := make(chan struct{})
			go func() {
				defer close(read)
				_, _ = d.Read(testKey)
			}()
			select {
			case <-read:
			case <-time.After(deadline):
				t.Fatal("reading it blocks")
			}
			aside := checkSetAside(t, d, tc.reason)
			if name == "directory" {
				if _, err := os.Lstat(filepath.Join(aside, "kept")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func makeSocket(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	// A socket's name is short: it is bound next to the working directory's files and moved into place.
	temp, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	short := filepath.Join(temp, "s")
	return errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: short}), os.Rename(short, path))
}

func TestAnothersRecordIsRefused(t *testing.T) {
	path := "/etc/passwd"
	if os.Geteuid() == 0 {
		path = filepath.Join(t.TempDir(), "record")
		if err := errors.Join(os.WriteFile(path, goodJSON(t), 0o666), os.Chown(path, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	var bad *BadRecordError
	if _, err := readRecord(path); !errors.As(err, &bad) || !strings.Contains(err.Error(), "belongs to uid") {
		t.Errorf("error %v, want a BadRecordError that names the owner", err)
	}
}

func TestUnreadableRecordIsSetAside(t *testing.T) {
	asOrdinaryUser(t, func(t *testing.T) {
		d := testDir(t)
		if err := os.WriteFile(d.recordPath(testKey), goodJSON(t), 0o000); err != nil {
			t.Fatal(err)
		}
		checkSetAside(t, d, "cannot be read")
	})
}

func TestSettingAsideTwiceLosesNothing(t *testing.T) {
	d := testDir(t)
	seen := map[string]bool{}
	for i := range 20 {
		l := mustLock(t, d, testKey)
		if err := os.WriteFile(d.recordPath(testKey), fmt.Appendf(nil, "bad %d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := l.SetAside(time.Now())
		if err = errors.Join(err, l.Unlock()); err != nil {
			t.Fatal(err)
		}
		seen[aside] = true
	}
	if len(seen) != 20 || len(names(t, d)) != 20 {
		t.Errorf("%d names for 20 bad records, files %v", len(seen), names(t, d))
	}
}

func TestListRouteFindsEveryAddressOfARouteAndNoOther(t *testing.T) {
	d := testDir(t)
	routes := []string{"desk.example.com:3389", "desk.example.com:33890", "desk.example.com", "a/b:1", "a-b:1", strings.Repeat("long.", 20) + "x:1", strings.Repeat("long.", 20) + "y:1"}
	listens := []string{"auto", "127.0.0.1:3389", "127.9.9.9:3389"}
	for _, route := range routes {
		for _, listen := range listens {
			rec := testRecord()
			rec.Route, rec.Listen = route, listen
			mustWrite(t, d, rec)
		}
	}
	bad := filepath.Join(d.Path(), "desk.example.com-bad"+recordSuffix)
	if err := os.WriteFile(bad, []byte("bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, route := range routes {
		found, err := d.ListRoute(route)
		if err != nil || len(found) != len(listens) {
			t.Errorf("%s: %d records, %v; want %d", route, len(found), err, len(listens))
		}
		for _, rec := range found {
			if rec.Route != route {
				t.Errorf("%s: got a record of %s", route, rec.Route)
			}
		}
	}
	entries, err := d.List()
	if err != nil || len(entries) != len(routes)*len(listens)+1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestTokensAreLongAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token := process.NewToken()
		if len(token) < 26 || seen[token] || strings.ContainsFunc(token, func(r rune) bool { return r > 'z' || r < '0' }) { // 26 characters of 5 bits
			t.Fatalf("token %q", token)
		}
		seen[token] = true
	}
}

// FuzzRecord: whatever bytes stand in a record's place, reading them gives a usable record or a *BadRecordError.
func FuzzRecord(f *testing.F) {
	good := goodJSON(f)
	for _, seed := range [][]byte{good, good[:40], {}, []byte("null"), []byte(`{"version":2}`), []byte(`{"version":1e999}`), []byte("\xff\x00")} {
		f.Add(seed)
	}
	dir, err := PrivateDir(filepath.Join(f.TempDir(), "records"), false, true)
	if err != nil {
		f.Fatal(err)
	}
	path := dir.recordPath(testKey)
	f.Fuzz(func(t *testing.T, data []byte) {
		if rec, err := parseRecord(path, data); err == nil {
			expectRoundTrip(t, rec)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		rec, err := dir.Read(testKey)
		var bad *BadRecordError
		switch {
		case errors.As(err, &bad):
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("the message %q is more than a line", err)
			}
		case errors.As(err, new(*ElsewhereError)) && rec.Place != process.Place{}:
		case err != nil:
			t.Errorf("error %v, want a BadRecordError", err)
		case rec.Key() != testKey || rec.Token == "" || !rec.Address.IsValid():
			t.Errorf("unusable record %+v", rec)
		case rec.Tunnel != process.Identity{} && (rec.Tunnel.PID < 2 || rec.Tunnel.StartTicks == 0):
			t.Errorf("a record that could reach any process: %+v", rec.Tunnel)
		}
	})
}

// expectRoundTrip writes a record as Write does, and reads it back.
func expectRoundTrip(t *testing.T, rec Record) {
	t.Helper()
	written, err := formatRecord(rec)
	if err != nil || len(written) > maxRecordSize {
		return // a time that JSON has no form for, or more than there is room for: it is not written
	}
	again, err := parseRecord("again", written)
	if err != nil || again.Log != rec.Log || again.Program != rec.Program || again.Key() != rec.Key() {
		t.Fatalf("%+v became %+v, %v", rec, again, err)
	}
	twice, err := formatRecord(again)
	if err != nil || !bytes.Equal(twice, written) {
		t.Fatalf("written again it is %s, %v; it was %s", twice, err, written)
	}
}

func TestTextThatIsNoUTF8ComesBackAsItWas(t *testing.T) {
	d := testDir(t)
	for _, text := range []string{"/home/schl\xfcssel/log", "base64:/log", "base64:", "\xff", "größe", ""} {
		rec := testRecord()
		rec.Log, rec.Program = text, text
		mustWrite(t, d, rec)
		if got, err := d.Read(testKey); err != nil || got.Log != text || got.Program != text {
			t.Errorf("%q became %q and %q, %v", text, got.Log, got.Program, err)
		}
	}
}

// TestNothingIsWrittenThatCannotBeReadAgain, and what was there stays.
func TestNothingIsWrittenThatCannotBeReadAgain(t *testing.T) {
	d, good := testDir(t), testRecord()
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, d, good)
	for name, change := range map[string]func(*Record){
		"too many holders":      func(r *Record) { r.EndWith = slices.Repeat([]process.Identity{self}, 700) },
		"a long name":           func(r *Record) { r.Provider = strings.Repeat("x", maxRecordSize) },
		"no token":              func(r *Record) { r.Token = "" },
		"no address":            func(r *Record) { r.Address = netip.AddrPort{} },
		"an impossible process": func(r *Record) { r.Tunnel = process.Identity{PID: 1} },
	} {
		rec := good
		change(&rec)
		l := mustLock(t, d, testKey)
		err := l.Write(rec)
		if unlockErr := l.Unlock(); unlockErr != nil {
			t.Fatal(unlockErr)
		}
		var bad *WriteError
		if got, readErr := d.Read(testKey); !errors.As(err, &bad) || readErr != nil || got.Token != good.Token {
			t.Errorf("%s: error %v, and then the record is %+v, %v", name, err, got, readErr)
		}
	}
	key := Key{Route: "a\xff:1", Listen: "auto"}
	l := mustLock(t, d, key)
	defer l.Unlock()
	var bad *WriteError
	if err := l.Write(good); !errors.As(err, &bad) {
		t.Errorf("a key that JSON would change: %v", err)
	}
}

// TestHoldersThatHaveEndedMakeRoom, and a record of none but such ones still says that it had some.
func TestHoldersThatHaveEndedMakeRoom(t *testing.T) {
	d := testDir(t)
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	gone := self
	gone.StartTicks++
	for name, tc := range map[string]struct{ holders, want []process.Identity }{
		"some live":         {append(slices.Repeat([]process.Identity{gone}, 700), self), []process.Identity{self}},
		"none lives":        {slices.Repeat([]process.Identity{gone}, 700), []process.Identity{gone}},
		"there is room yet": {[]process.Identity{gone, self}, []process.Identity{gone, self}},
	} {
		rec := testRecord()
		rec.EndWith = tc.holders
		mustWrite(t, d, rec)
		if got, err := d.Read(testKey); err != nil || !slices.Equal(got.EndWith, tc.want) {
			t.Errorf("%s: %d holders, %v; want %v", name, len(got.EndWith), err, tc.want)
		}
	}
}
