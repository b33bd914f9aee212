package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// residentGarbage is how much garbage a keeper or listener may gather, in percent of what it uses.
const residentGarbage = 25

// stayResident is for what lives for as long as a tunnel or longer and does next to nothing: a second thread to find out that there is
// nothing to do, and memory that waits to be collected, are most of what it would cost. The kernel moves a listener's bytes.
func stayResident() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(residentGarbage)
}

// keeperCommand is the process that watches one tunnel where something was promised that needs watching. It is not for people.
func (c *command) keeperCommand() *cli.Command {
	return &cli.Command{
		Name:      "keeper",
		Usage:     "watch over one tunnel: started by start, run and stop",
		UsageText: "tunhook keeper",
		Hidden:    true,
		Action: func(ctx *cli.Context) error {
			h, err := c.hook()
			if err != nil {
				return err
			}
			if err := c.openNotifier("always"); err != nil {
				return err
			}
			h.SignIn = c.ui.signInUnseen
			stayResident()
			return h.Keep(ctx.Context, c.ui.stdout)
		},
	}
}
