//go:build e2e

// Package e2e drives tunhook the way people meet it: from a real Remmina and a real
// xfreerdp, against a real RDP server that checks passwords, with real notifications,
// in a real Flatpak sandbox, with a real systemd of the user's, on displays without a
// screen.
//
// scripts/e2e-setup installs the programs (as root, on Debian 12). Then
//
//	go test -tags e2e -count=1 -v ./scripts/e2e
//
// runs everything, and -run picks one test. With
//
//	-exec "$PWD/scripts/e2e-root trixie"
//
// the same tests drive the programs of Debian 13, and with sid those of today, in a root
// that is made the first time. Every test has a home, a session bus and a display of its
// own, so tests run side by side, and so do whole runs.
//
// Screenshots and each program's output are left in the directory that
// TUNHOOK_E2E_ARTIFACTS names, one directory a test; without it, in a new temporary
// directory whose name is logged.
package e2e
