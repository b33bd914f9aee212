//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// artifactsVariable names the directory that screenshots and logs are left in.
const artifactsVariable = "TUNHOOK_E2E_ARTIFACTS"

// artifactRoot is made once a run, and outlives it.
var artifactRoot = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(artifactsVariable); dir != "" {
		return filepath.Abs(dir)
	}
	return os.MkdirTemp("", "tunhook-e2e-artifacts-")
})

// artifactDir returns the directory for what a test leaves behind.
func artifactDir(t testing.TB) string {
	t.Helper()
	root, err := artifactRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, strings.ReplaceAll(t.Name(), "/", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
