package tunneltest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// tokenCache keeps a gateway's token in a file, for other processes too, or in memory where there is no cache directory.
type tokenCache struct {
	path   string // empty: in memory
	mu     sync.Mutex
	memory string
}

// newTokenCache finds the user's cache directory in environ, as os.UserCacheDir does on Linux.
func newTokenCache(environ []string, proxy string) (*tokenCache, error) {
	dir := lookup(environ, "XDG_CACHE_HOME")
	if home := lookup(environ, "HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".cache")
	}
	if dir == "" {
		return &tokenCache{}, errors.New("neither $XDG_CACHE_HOME nor $HOME are defined")
	}
	dir = filepath.Join(dir, "pomerium-cli", "jwts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &tokenCache{}, fmt.Errorf("error creating user cache directory: %w", err)
	}
	return &tokenCache{path: filepath.Join(dir, fmt.Sprintf("%x.jwt", sha256.Sum256([]byte(proxy))))}, nil
}

// load returns the token, or "" where there is none. Whether it is still good is for the gateway to say.
func (c *tokenCache) load() string {
	if c.path == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.memory
	}
	token, _ := os.ReadFile(c.path)
	return string(token)
}

func (c *tokenCache) store(token string) error {
	if c.path == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.memory = token
		return nil
	}
	fresh, err := os.CreateTemp(filepath.Dir(c.path), "fresh-") // for other processes it is there whole or not at all
	if err != nil {
		return err
	}
	_, err = fresh.WriteString(token)
	return errors.Join(err, fresh.Close(), os.Rename(fresh.Name(), c.path))
}

func (c *tokenCache) forget() {
	if c.path == "" {
		_ = c.store("")
		return
	}
	_ = os.Remove(c.path)
}
