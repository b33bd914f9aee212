package tunnel

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// variable is an environment variable of a tunnel program. Its value is never shown: it may be a secret.
type variable struct {
	name  string
	value string // with placeholders, as in a command
	file  string // or the file that holds the value, as it is
}

// variables are those of an env table, { NAME = "value" } or { NAME = { file = "PATH" } }, sorted by name.
func variables(env map[string]any) ([]variable, error) {
	var all []variable
	for _, name := range slices.Sorted(maps.Keys(env)) {
		v := variable{name: name}
		switch value := env[name].(type) {
		case string:
			v.value = value
		case int64:
			v.value = strconv.FormatInt(value, 10)
		case map[string]any:
			v.file, _ = value["file"].(string)
			if len(value) != 1 || v.file == "" {
				return nil, keyErrorf("env", "%s: a value from a file is written { file = \"PATH\" }", name)
			}
		default:
			return nil, keyErrorf("env", "%s: the value is a string, or { file = \"PATH\" }", name)
		}
		all = append(all, v)
	}
	return all, nil
}

var variableName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
})

// ownVariables is what the variables begin with that are between tunhook and what it launches.
const ownVariables = "TUNHOOK_"

// checkEnv says what is wrong with an env table. Of the placeholders only those of a provider are known: known is nil
// otherwise.
func checkEnv(env map[string]any, known []string) error {
	all, err := variables(env)
	if err != nil {
		return err
	}
	for _, v := range all {
		switch {
		case !variableName().MatchString(v.name):
			return keyErrorf("env", "%s is no name of a variable: it has letters, digits and '_'", quote(v.name))
		case strings.HasPrefix(v.name, ownVariables):
			return keyErrorf("env", "%s: names that begin with %s are tunhook's own", v.name, ownVariables)
		case strings.ContainsRune(v.value, 0):
			return keyErrorf("env", "%s: a variable holds no NUL", v.name)
		case v.file != "" && !filepath.IsAbs(v.file) && !strings.HasPrefix(v.file, "~/"):
			return keyErrorf("env", "%s: the file is written out from / or ~/ on", v.name)
		case known != nil && !placed(v.value, known):
			return unknownIn(v.name)
		}
	}
	return nil
}

// placed tells whether all placeholders in a value are known.
func placed(value string, known []string) bool {
	return !slices.ContainsFunc(placeholder.FindAllString(value, -1), func(ph string) bool {
		return ph == "{args}" || !slices.Contains(known, ph[1:len(ph)-1])
	})
}

func unknownIn(name string) error {
	return keyErrorf("env", "%s holds a {name} that stands for nothing here: what is to be taken as it is can come from a file", name)
}

// Environ gives the variables NAME=VALUE of the configuration that the tunnel program gets, those of [tunnel.NAME]
// after those of the provider. One whose value needs a part that the route has not is left out. The files are read
// now, with home for ~. Errors are *ConfigError.
func (r Route) Environ(listen netip.AddrPort, tunhook, home string) ([]string, error) {
	var environ []string
	values := r.values(listen, tunhook)
	for _, env := range []map[string]any{r.Provider.Env, r.Named.Env} {
		all, err := variables(env)
		if err != nil {
			return nil, err
		}
		for _, v := range all {
			value, left := fill(v.value, values), lacksValue(v.value, values)
			switch {
			case v.file != "":
				value, err = readSecret(v, home)
			case !placed(v.value, r.Provider.names()):
				err = &ConfigError{Path: "[tunnel." + r.Given + "]", Err: unknownIn(v.name)}
			case left:
				continue
			}
			if err != nil {
				return nil, err
			}
			environ = append(environ, v.name+"="+value)
		}
	}
	return environ, nil
}

// maxSecret bounds the file of a value, in bytes. The kernel takes a string of 128 KiB (execve(2)).
const maxSecret = 64 << 10

// readSecret reads the file of a variable, up to the end of its last line. It must be the user's own, and nobody
// else's to look into.
func readSecret(v variable, home string) (string, error) {
	path := v.file
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(home, rest)
	}
	text, err := readPrivate(path)
	if err != nil {
		return "", &ConfigError{Path: path, Err: fmt.Errorf("the value of %s: %w", v.name, err)}
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if strings.ContainsRune(text, 0) {
		return "", &ConfigError{Path: path, Err: fmt.Errorf("the value of %s: a variable holds no NUL", v.name)}
	}
	return text, nil
}

func readPrivate(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", underlying(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return "", errors.New("it is not a regular file")
	case known && int(stat.Uid) != os.Geteuid():
		return "", fmt.Errorf("the file is another user's (uid %d)", stat.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("the file is open to others: chmod 600 %s", path)
	case info.Size() > maxSecret:
		return "", fmt.Errorf("the file is larger than %d KiB", maxSecret>>10)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	return string(text), err
}
