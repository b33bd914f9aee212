package tunneltest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// What a gateway's answer to CONNECT means, in the words that pomerium-cli logs.
var (
	errUnauthenticated = errors.New("unauthenticated")
	errUnauthorized    = errors.New("unauthorized")
	errUnavailable     = errors.New("unavailable")
)

// serve carries one local connection, through a sign-in where the gateway demands one. Meanwhile nobody looks whether the
// client is still there.
func (cli *pomeriumCLI) serve(ctx context.Context, local net.Conn) error {
	err := cli.tunnel(ctx, local, cli.cache.load())
	if errors.Is(err, errUnauthenticated) {
		token, signInErr := cli.signIn(ctx)
		if signInErr != nil {
			return fmt.Errorf("tunnel: failed to get authentication JWT: %w", signInErr)
		}
		if err := cli.cache.store(token); err != nil {
			return fmt.Errorf("tunnel: failed to store JWT: %w", err)
		}
		err = cli.tunnel(ctx, local, token)
	}
	switch {
	case err == nil, errors.Is(err, errUnauthorized), errors.Is(err, errUnavailable):
	case ctx.Err() != nil: // the real program forgets here too, if it lives long enough: a race that tests can do without
	default:
		cli.cache.forget()
	}
	return err
}

// tunnel makes the CONNECT request and passes bytes until either side has sent its last one.
func (cli *pomeriumCLI) tunnel(ctx context.Context, local net.Conn, token string) error {
	cli.info("connecting")
	remote, err := (&tls.Dialer{Config: cli.tlsConfig}).DialContext(ctx, "tcp", cli.proxy)
	if err != nil {
		return fmt.Errorf("http/1: failed to establish connection to proxy: %w", err)
	}
	defer func() { _ = remote.Close() }()
	defer context.AfterFunc(ctx, func() { _ = remote.Close() })()

	fromRemote, err := cli.requestConnect(remote, token)
	if err != nil {
		return err
	}
	cli.info("connected")
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(remote, local)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(local, fromRemote)
		ended <- err
	}()
	err = <-ended
	cli.disconnected(err)
	return err
}

// requestConnect returns the reader of what follows the gateway's consent.
func (cli *pomeriumCLI) requestConnect(remote net.Conn, token string) (io.Reader, error) {
	req := &http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Opaque: cli.route},
		Host:   cli.route,
		Header: http.Header{},
	}
	if token != "" {
		req.Header.Set("Authorization", "Pomerium "+token)
	}
	if err := req.Write(remote); err != nil {
		return nil, err
	}
	fromRemote := bufio.NewReader(remote)
	res, err := http.ReadResponse(fromRemote, req)
	if err != nil {
		return nil, fmt.Errorf("http/1: failed to read HTTP response: %w", err)
	}
	return fromRemote, meaning(res.StatusCode)
}

func meaning(status int) error {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusFound, http.StatusUnauthorized:
		return errUnauthenticated
	case http.StatusForbidden:
		return errUnauthorized
	case http.StatusServiceUnavailable:
		return errUnavailable
	}
	return fmt.Errorf("invalid http response code: %d", status)
}

func (cli *pomeriumCLI) info(message string, fields ...string) {
	cli.events.info(message, append([]string{"component", "tunnel"}, fields...)...)
}

// disconnected logs the end of a connection as an error, even where there was none.
func (cli *pomeriumCLI) disconnected(err error) {
	fields := []string{"component", "tunnel"}
	if err != nil {
		fields = append(fields, "error", err.Error())
	}
	cli.events.error("disconnected", fields...)
}
