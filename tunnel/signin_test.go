package tunnel_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel"
)

// watched is a log, what watches it, and what appends to it.
func watched(t *testing.T, provider *tunnel.Provider, before string, from int64) (watch *tunnel.LogWatch, add func(string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	watch, err = provider.WatchLog(log, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.Close)
	return watch, func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
}

func pomerium(t *testing.T) *tunnel.Provider {
	t.Helper()
	config := tunnel.LoadConfig()
	route, err := config.Route("desk.example.com:3389")
	if err != nil {
		t.Fatal(err)
	}
	return route.Provider
}

// expectNext takes a line for a refusal where that is what it means.
func expectNext(t *testing.T, watch *tunnel.LogWatch, signIn, refused string) {
	t.Helper()
	seen := watch.Next()
	gotRefused := ""
	if seen.Why.Means == tunnel.Refused {
		gotRefused = seen.Why.Line
	}
	if seen.SignIn != signIn || gotRefused != refused {
		t.Errorf("Next() = %q, %q, want %q, %q", seen.SignIn, gotRefused, signIn, refused)
	}
}

func TestLogWatchWaitsForTheEndOfALine(t *testing.T) {
	t.Parallel()
	const line = `{"level":"info","auth-url":"https://sign.in/?a=1","message":"auth required"}` + "\n"
	watch, add := watched(t, pomerium(t), "", 0)
	for i := range line {
		expectNext(t, watch, "", "")
		add(line[i : i+1])
	}
	expectNext(t, watch, "https://sign.in/?a=1", "")
	expectNext(t, watch, "", "")
}

func TestLogWatchPassesOverWhatWasLoggedBefore(t *testing.T) {
	t.Parallel()
	before := `{"auth-url":"https://yesterday/"}` + "\n" + `{"error":"unauthorized"}` + "\n"
	watch, add := watched(t, pomerium(t), before, int64(len(before)))
	expectNext(t, watch, "", "")
	add(`{"auth-url":"https://first/"}` + "\n" + `{"auth-url":"https://last/"}` + "\n")
	expectNext(t, watch, "https://last/", "")
}

func TestLogWatchUndoesJSONEscapes(t *testing.T) {
	t.Parallel()
	watch, add := watched(t, pomerium(t), "", 0)
	add(`{"auth-url":"https://sign.in/?a=1\u0026b=2\u0026c=3"}` + "\n")
	expectNext(t, watch, "https://sign.in/?a=1&b=2&c=3", "")
}

func TestLogWatchStripsControlCharacters(t *testing.T) {
	t.Parallel()
	watch, add := watched(t, pomerium(t), "", 0)
	add("{\"auth-url\":\"https://sign.in/\x1b]0;owned\x07\x1b[2J\u202e\x9b\u0085x\"}\n")
	expectNext(t, watch, "https://sign.in/]0;owned[2Jx", "")
	add("\aun\x00authorized\b \tunauthorized\u202e\r\n")
	expectNext(t, watch, "", "unauthorized  unauthorized")
}

// Gateways put the whole request, sealed, into the address of their sign-in page.
func TestLogWatchGivesALongSignInURLWhole(t *testing.T) {
	t.Parallel()
	url := "https://authenticate.example.com/.pomerium/sign_in?k=key&q=" + strings.Repeat("sealed", 300)
	watch, add := watched(t, pomerium(t), "", 0)
	add(`{"auth-url":"` + url + `"}` + "\n")
	expectNext(t, watch, url, "")
}

func TestLogWatchKnowsARefusal(t *testing.T) {
	t.Parallel()
	for line, refused := range map[string]bool{
		`{"level":"error","error":"unauthorized","message":"error serving local connection"}`: true,
		`{"level":"error","error":"unauthenticated"}`:                                         false,
		`{"level":"error","error":"unavailable"}`:                                             false,
		`{"level":"info","message":"connected"}`:                                              false,
	} {
		watch, add := watched(t, pomerium(t), "", 0)
		add(line + "\n")
		want := ""
		if refused {
			want = line
		}
		expectNext(t, watch, "", want)
	}
}

// Whoever mistypes a password is asked again.
func TestOneMistypedPasswordIsNoRefusal(t *testing.T) {
	t.Parallel()
	config := tunnel.LoadConfig()
	route, err := config.Route("ssh://me@gate.example.com/desk:3389")
	if err != nil {
		t.Fatal(err)
	}
	watch, add := watched(t, route.Provider, "", 0)
	add("Permission denied, please try again.\r\n")
	expectNext(t, watch, "", "")
	const last = "me@gate.example.com: Permission denied (publickey,password)."
	add(last + "\r\n")
	expectNext(t, watch, "", last)
}

func TestLogWatchOfAProviderWithoutPatternsSeesNothing(t *testing.T) {
	t.Parallel()
	watch, add := watched(t, &tunnel.Provider{}, "", 0)
	add(`{"auth-url":"https://sign.in/","error":"unauthorized"}` + "\n")
	expectNext(t, watch, "", "")
}

func TestPagesOfAProgramThatHasEndedAreStruckFromItsLog(t *testing.T) {
	t.Parallel()
	p := &tunnel.Provider{SignIn: `"auth-url":"([^"]+)"`}
	path := filepath.Join(t.TempDir(), "log")
	const before, after = "{\"auth-url\":\"https://old\"}\n{\"auth-url\":\"https://a\\u0026b\"}\nno page: https://c\n", "{\"auth-url\":\"https://old\"}\n{\"auth-url\":\"----------------\"}\nno page: https://c\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := p.StrikePages(log, int64(strings.Index(before, "\n")+1)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != after {
		t.Errorf("%q, %v", got, err)
	}
}
