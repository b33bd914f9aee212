package tunnel

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// secrets makes a home directory with files of those contents and modes.
func secrets(t *testing.T) (home string, file func(name, text string, mode os.FileMode)) {
	t.Helper()
	home = t.TempDir()
	return home, func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
}

func TestVariablesOfTheTunnelProgram(t *testing.T) {
	home, file := secrets(t)
	file("auth", "me:s3cret {host}\r\n", 0o600)
	file("key", "two\nlines\n\n", 0o400)
	c := mustLoad(t, `
[provider.x]
routes = ["x://[{user}@]{host}:{port}"]
command = ["x"]
env = { AUTH = { file = "~/auth" }, HOST = "{host}", AT = "[{listen}]", USER_OF = "u-{user}", N = 3, SHARED = "provider", EMPTY = "" }
[tunnel.desk]
route = "x://desk:1"
env = { KEY = { file = "`+home+`/key" }, SHARED = "tunnel", PORT = "{port}" }
[tunnel.odd]
route = "x://desk:1"
env = { A = "s3cret{nothing}" }
`)
	listen := netip.MustParseAddrPort("127.0.0.1:7")
	got, err := mustRoute(t, c, "desk").Environ(listen, "/t", home)
	want := []string{
		"AT=[127.0.0.1:7]", "AUTH=me:s3cret {host}", "EMPTY=", "HOST=desk", "N=3", "SHARED=provider",
		"KEY=two\nlines\n", "PORT=1", "SHARED=tunnel",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := mustRoute(t, c, "x://me@desk:1").Environ(listen, "/t", home); err != nil || !slices.Contains(got, "USER_OF=u-me") {
		t.Errorf("%q, %v", got, err)
	}
	var bad *ConfigError
	if got, err := mustRoute(t, c, "odd").Environ(listen, "/t", home); !errors.As(err, &bad) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%q, %v; want a ConfigError without the value", got, err)
	}
	if got, err := mustRoute(t, mustLoad(t), "desk:1").Environ(listen, "/t", home); err != nil || got != nil {
		t.Errorf("where none are given: %q, %v", got, err)
	}
}

func TestSecretIsReadOnlyFromAFileOfOnesOwn(t *testing.T) {
	home, file := secrets(t)
	file("others", "s3cret", 0o604)
	file("group", "s3cret", 0o640)
	file("writable", "s3cret", 0o602)
	file("nul", "s3\x00cret", 0o600)
	file("large", strings.Repeat("s3cret", maxSecret), 0o600)
	file("strangers", "s3cret", 0o600)
	strange := os.Geteuid() == 0 && os.Chown(filepath.Join(home, "strangers"), 61234, 61234) == nil
	if err := os.Mkdir(filepath.Join(home, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(home, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{
		"others": "chmod 600", "group": "chmod 600", "writable": "chmod 600", "nul": "NUL", "large": "larger than",
		"directory": "regular file", "pipe": "regular file", "missing": "no such file",
	}
	if strange {
		wanted["strangers"] = "another user's"
	}
	for name, want := range wanted {
		c := mustLoad(t, "[provider.x]\ncommand = [\"x\"]\nenv = { AUTH = { file = \"~/"+name+"\" } }\n")
		_, err := mustRoute(t, c, "x://desk:1").Environ(netip.AddrPort{}, "", home)
		var bad *ConfigError
		if !errors.As(err, &bad) || bad.Path != filepath.Join(home, name) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "AUTH") {
			t.Errorf("%s: %v; want a ConfigError with the file, the variable and %q", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the message tells the secret: %v", name, err)
		}
	}
}

func TestTimeoutOfTheConfiguration(t *testing.T) {
	c := mustLoad(t, "[provider.x]\ncommand = [\"x\"]\ntimeout = \"60s\"\n[tunnel.slow]\nroute = \"x://a:1\"\ntimeout = \"5m\"\n[tunnel.plain]\nroute = \"x://a:1\"\n[tunnel.other]\nroute = \"relay://a:1\"\n")
	for route, want := range map[string]string{"x://a:1": "1m0s", "plain": "1m0s", "slow": "5m0s", "other": "0s"} {
		if got := mustRoute(t, c, route).Timeout().String(); got != want {
			t.Errorf("%s: %s, want %s", route, got, want)
		}
	}
}
