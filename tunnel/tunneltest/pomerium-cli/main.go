// Command pomerium-cli is the stand-in for the program of that name that tunneltest.PomeriumCLI describes.
package main

import (
	"os"

	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

func main() {
	os.Exit(tunneltest.PomeriumCLI(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
