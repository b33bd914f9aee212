// Command bare does nothing, with the libraries in it that a tunnel program written in Go has: a measure of how fast this machine
// is at starting such programs just now.
package main

import (
	"fmt"
	"os"

	_ "github.com/shirou/gopsutil/v3/process"
	"github.com/urfave/cli/v2"
)

func main() {
	if err := (&cli.App{Action: func(*cli.Context) error { return nil }}).Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
