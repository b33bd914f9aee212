//go:build e2e

package e2e

// xfreerdp returns the command line of an xfreerdp that logs in to an address, as
// rdpUser and with any certificate.
func xfreerdp(address, password string, more ...string) []string {
	return append([]string{
		release().xfreerdp, "/v:" + address, "/u:" + rdpUser, "/p:" + password, "/cert:ignore",
	}, more...)
}

// authOnly makes xfreerdp leave after the login: with status 0, or with the release's
// logonFailure where the password was wrong.
const authOnly = "+auth-only"
