package tunneltest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// PomeriumCLI is a stand-in for the program pomerium-cli: `pomerium-cli tcp DESTINATION --listen HOST:PORT`. It is a whole
// program: it handles the signals of the process, and the caller exits with the status that it returns. Like the real
// program (its main branch of August 2026)
//
//   - it exits 0 on a destination or an option that it cannot use, and 1 only where it cannot listen;
//   - it takes --listen as net.Listen does: "3389" is "missing port in address", ":3389" is every interface;
//   - it signs in only once a client has connected, with one browser tab for each client while signed out, and goes on
//     signing in when that client has left;
//   - it keeps the token under the user's cache directory for later connections and other processes, and throws it away
//     when a connection breaks off, as by a reset, instead of ending;
//   - it ends a connection when either side has sent its last byte;
//   - it writes its log, JSON lines, on stdout, what is wrong with its command line and that it has opened a browser on stderr, and
//     exits 0 on SIGTERM, SIGINT and SIGHUP.
//
// It speaks only TLS to the gateway. Variables in environ that start with TUNNELTEST_ make it misbehave:
//
//	TUNNELTEST_EXIT=STATUS [TEXT]  write TEXT to stderr and exit with STATUS, at once
//	TUNNELTEST_DELAY=DURATION      wait so long (Go syntax, 1h for ever) before listening
//	TUNNELTEST_AWAIT=PATH          listen only when that file is there
//	TUNNELTEST_LISTEN=HOST:PORT    listen there, whatever --listen says
//	TUNNELTEST_IGNORE_TERM=1       do not end on SIGTERM
//	TUNNELTEST_GENERATIONS=N       start a child, which starts a child, and so on; the Nth listens. Each only waits for
//	                               its child, and leaves it behind when it ends
//	TUNNELTEST_REAL=PATH           execute that program in its place, after the wait and as the generation that would listen;
//	                               not with TUNNELTEST_IGNORE_TERM, which it cannot be told
func PomeriumCLI(args, environ []string, stdout, stderr io.Writer) int {
	events := &eventLog{w: stdout}
	faults, err := parseFaults(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if faults.exit {
		_, _ = io.WriteString(stderr, faults.exitText)
		return faults.exitStatus
	}
	ctx := signalContext(events, faults.ignoreTerm)
	if faults.generations > 0 {
		return beget(ctx, args, environ, stdout, stderr, events, faults.generations-1)
	}

	if faults.real != "" && !faults.ignoreTerm {
		if !faults.wait(ctx) {
			return 0
		}
		fmt.Fprintln(stderr, faults.become(args, environ))
		return 1
	}
	cli, err := newPomeriumCLI(args, environ, stderr, events)
	if err != nil {
		fmt.Fprintf(stderr, "Error: %v\nUsage:\n  pomerium-cli tcp destination [flags]\n\n", err)
		events.error("exit", "error", err.Error())
		return 0
	}
	if faults.listen != "" {
		cli.listen = faults.listen
	}
	if !faults.wait(ctx) {
		return 0
	}
	if err := cli.run(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// signalContext ends with the signals that end the program.
func signalContext(events *eventLog, ignoreTerm bool) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if ignoreTerm {
		signal.Ignore(syscall.SIGTERM)
	}
	go func() {
		events.error("caught signal, quitting...", "signal", (<-signals).String())
		cancel()
	}()
	return ctx
}

// pomeriumCLI is one run of the program, its command line understood.
type pomeriumCLI struct {
	listen             string
	route              string // what CONNECT asks for
	proxy              string // HOST:PORT of the gateway
	tlsConfig          *tls.Config
	browser            string
	serviceAccountFile string

	cache  *tokenCache
	events *eventLog
	stderr io.Writer
}

func newPomeriumCLI(args, environ []string, stderr io.Writer, events *eventLog) (*pomeriumCLI, error) {
	if len(args) == 0 || args[0] != "tcp" {
		return nil, fmt.Errorf("unknown command %q for %q", strings.Join(args, " "), "pomerium-cli")
	}
	cli := &pomeriumCLI{tlsConfig: &tls.Config{NextProtos: []string{"http/1.1"}}, events: events, stderr: stderr}
	var pomeriumURL, caFile string
	flags := flag.NewFlagSet("tcp", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cli.listen, "listen", "127.0.0.1:0", "")
	flags.StringVar(&pomeriumURL, "pomerium-url", "", "")
	flags.StringVar(&cli.browser, "browser-cmd", "", "")
	flags.StringVar(&cli.serviceAccountFile, "service-account-file", "", "")
	flags.StringVar(&caFile, "alternate-ca-path", "", "")
	flags.BoolVar(&cli.tlsConfig.InsecureSkipVerify, "disable-tls-verification", false, "")
	positional, err := parseInterspersed(flags, args[1:])
	if err != nil {
		return nil, err
	}
	if len(positional) != 1 {
		return nil, fmt.Errorf("accepts 1 arg(s), received %d", len(positional))
	}
	if cli.route, cli.proxy, err = parseDestination(positional[0], pomeriumURL); err != nil {
		return nil, err
	}
	if caFile != "" {
		if cli.tlsConfig.RootCAs, err = loadCA(caFile); err != nil {
			return nil, fmt.Errorf("get CA cert: %w", err)
		}
	}
	if cli.cache, err = newTokenCache(environ, cli.proxy); err != nil {
		events.error("error creating local JWT cache, using in-memory JWT cache", "error", err.Error())
	}
	return cli, nil
}

// parseInterspersed parses flags before, between and after the positional arguments, which it returns.
func parseInterspersed(flags *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return positional, nil
		}
		positional = append(positional, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

var errInvalidDestination = errors.New("invalid destination")

// parseDestination understands HOST:PORT, [tcp+]https://HOST:PORT and [tcp+]https://GATEWAY[:PORT]/HOST:PORT. Where no
// gateway is named, the route's own host name leads to it.
func parseDestination(destination, pomeriumURL string) (route, proxy string, err error) {
	if strings.Contains(destination, "://") {
		u, err := url.Parse(destination)
		if err != nil {
			return "", "", errInvalidDestination
		}
		route, proxy = u.Host, u.Hostname()
		if u.Path != "" {
			route, _, _ = strings.Cut(u.Path[1:], "/")
			proxy = u.Host
		}
	} else {
		host, _, err := net.SplitHostPort(destination)
		if err != nil {
			return "", "", errInvalidDestination
		}
		route, proxy = destination, host
	}
	if pomeriumURL != "" {
		u, err := url.Parse(pomeriumURL)
		if err != nil || u.Host == "" {
			return "", "", errors.New("invalid pomerium url")
		}
		proxy = u.Host
	}
	if !strings.Contains(proxy, ":") {
		proxy = net.JoinHostPort(proxy, "443")
	}
	return route, proxy, nil
}

func loadCA(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// run listens, and serves every connection, until ctx is done.
func (cli *pomeriumCLI) run(ctx context.Context) error {
	ln, err := net.Listen("tcp", cli.listen)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	cli.events.info("started tcp listener", "component", "tunnel", "addr", ln.Addr().String())
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if err := cli.serve(ctx, conn); err != nil {
				cli.events.error("error serving local connection", "component", "tunnel", "error", err.Error())
			}
		}()
	}
}
