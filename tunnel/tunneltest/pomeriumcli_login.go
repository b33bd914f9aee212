package tunneltest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// signIn gets a token: the service account's, or the one that the gateway's sign-in page hands to a server of our own on
// loopback, after a browser was sent to that page.
func (cli *pomeriumCLI) signIn(ctx context.Context) (string, error) {
	if cli.serviceAccountFile != "" {
		token, err := os.ReadFile(cli.serviceAccountFile)
		return strings.TrimSpace(string(token)), err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("failed to start listener: %w", err)
	}
	tokens := make(chan string, 1)
	callback := &http.Server{Handler: receiveToken(tokens), ReadHeaderTimeout: Patience}
	go func() { _ = callback.Serve(ln) }() // ends with Shutdown
	defer func() { _ = callback.Shutdown(ctx) }()

	page, err := cli.fetchSignInPage(ctx, "http://"+ln.Addr().String())
	if err != nil {
		return "", err
	}
	cli.info("auth required", "auth-url", page)
	if err := cli.openBrowser(page); err != nil {
		return "", fmt.Errorf("failed to open browser url: %w", err)
	}
	fmt.Fprintf(cli.stderr, "Your browser has been opened to visit:\n\n%s\n\n", page)
	select {
	case token := <-tokens:
		return token, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func receiveToken(tokens chan<- string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.FormValue("pomerium_jwt")
		if token == "" {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "login complete, you may close this page")
		select {
		case tokens <- token:
		default: // a page loaded twice
		}
	})
}

// fetchSignInPage asks the gateway's login API for the page that signs in and then redirects to callback.
func (cli *pomeriumCLI) fetchSignInPage(ctx context.Context, callback string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	query := url.Values{"pomerium_redirect_uri": {callback}}
	api := url.URL{Scheme: "https", Host: cli.proxy, Path: loginPath, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.String(), nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{TLSClientConfig: cli.tlsConfig}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", fmt.Errorf("failed to get url: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("unexpected status code: %s", res.Status)
	}
	page, err := io.ReadAll(res.Body)
	return string(page), err
}

// openBrowser runs the browser command, one word, with the page as its only argument, and waits for it to exit.
func (cli *pomeriumCLI) openBrowser(page string) error {
	command := cli.browser
	if command == "" {
		command = "xdg-open"
	}
	return exec.Command(command, page).Run()
}
