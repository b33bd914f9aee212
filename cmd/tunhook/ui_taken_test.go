package main

import (
	"net/netip"
	"os"
	"testing"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
)

// TestATakenAddressIsSaidToBeWhoses: what is offered is what this user can do.
func TestATakenAddressIsSaidToBeWhoses(t *testing.T) {
	t.Parallel()
	const nobodys = 4_000_000 // has no name
	address, everywhere := netip.MustParseAddrPort("127.9.8.254:3389"), netip.MustParseAddrPort("0.0.0.0:3389")
	held := func(pid, uid int, on netip.AddrPort) tunnel.Held {
		h := tunnel.Held{Peer: tunnel.Peer{PID: pid}, UID: uid, On: on}
		if pid != 0 {
			h.Program = "xrdp"
		}
		return h
	}
	for _, tc := range []struct {
		taken hook.TakenError
		want  string
	}{
		{
			hook.TakenError{Holder: held(7, os.Getuid(), address), MayReuse: true},
			"127.9.8.254:3389 is taken by xrdp (pid 7): choose another listen address, or take it as it is with --reuse",
		},
		{
			hook.TakenError{Holder: held(7, os.Getuid(), everywhere)},
			"127.9.8.254:3389 is taken by xrdp (pid 7), which listens on every address: choose another listen address, or end that program",
		},
		{
			hook.TakenError{Holder: held(0, nobodys, address)},
			"127.9.8.254:3389 is taken by another program of the user 4000000: choose another listen address",
		},
		{
			hook.TakenError{Holder: held(0, nobodys, address), Stable: true},
			"127.9.8.254:3389 is taken by another program of the user 4000000: \"stable\" is the same for every user of this machine: " +
				"give an address of your own, such as 127.9.8.1:3389",
		},
		{
			hook.TakenError{Holder: held(0, 0, everywhere)},
			"127.9.8.254:3389 is taken by another program, which listens on every address: choose another listen address",
		},
	} {
		tc.taken.Address = address
		if got := tc.taken.Error() + hint(&tc.taken); got != tc.want {
			t.Errorf("it says\n%s\nwant\n%s", got, tc.want)
		}
	}
}
