//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	status := m.Run()
	if dir, err := buildDir(); err == nil {
		_ = os.RemoveAll(dir) // a temporary directory: nothing is lost if it stays
	}
	if dir, err := artifactRoot(); err == nil {
		fmt.Println("artifacts:", dir)
	}
	os.Exit(status)
}
