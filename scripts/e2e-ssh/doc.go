//go:build e2e

// Package e2essh holds tunhook to its promises over a real OpenSSH client and server: Debian's, on loopback, with keys and a
// configuration made for the occasion. It needs no root. scripts/bench-setup installs what is missing.
package e2essh
