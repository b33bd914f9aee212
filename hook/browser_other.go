//go:build !linux

package hook

import "os"

// scratchFile makes a file without a name.
func scratchFile() (*os.File, error) {
	file, err := os.CreateTemp("", "tunhook")
	if err == nil {
		err = os.Remove(file.Name())
	}
	return file, err
}

func endScratch(*os.File) {}
