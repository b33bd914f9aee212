package main

import (
	"net/netip"

	"github.com/tunhook/tunhook/pidfile/process"
	"github.com/tunhook/tunhook/tunnel"
	"github.com/urfave/cli/v2"
)

// frontCommand is what listens before a tunnel program that cannot listen everywhere, and runs it. It is not for
// people.
func (c *command) frontCommand() *cli.Command {
	return &cli.Command{
		Name:      "front",
		Usage:     "listen before a tunnel program that cannot listen everywhere: started by start and run",
		UsageText: "tunhook front --listen IP:PORT --program-at IP:PORT -- PROGRAM [ARG...]",
		Hidden:    true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "listen on `IP:PORT`"},
			&cli.StringFlag{Name: "program-at", Usage: "the program listens on `IP:PORT`"},
		},
		Action: c.front,
	}
}

func (c *command) front(ctx *cli.Context) error {
	if len(c.afterDashes) == 0 || ctx.Args().Present() {
		return usagef("which program? Usage: %s", usageOf(ctx))
	}
	f := tunnel.Front{
		Argv: c.afterDashes, Environ: c.environ, Token: c.variable(process.TokenVariable), Stdout: c.ui.stdout, Stderr: c.ui.stderr,
	}
	var err error
	for flag, address := range map[string]*netip.AddrPort{"listen": &f.Listen, "program-at": &f.Program} {
		if *address, err = netip.ParseAddrPort(ctx.String(flag)); err != nil {
			return usagef("--%s is %q, and should be IP:PORT", flag, ctx.String(flag))
		}
	}
	status, err := f.Run(ctx.Context)
	if err != nil {
		return err
	}
	return clientStatus(status)
}
