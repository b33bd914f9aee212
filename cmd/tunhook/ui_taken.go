package main

import (
	"fmt"
	"net/netip"

	"github.com/tunhook/tunhook/hook"
)

// takenHint is the way out where another program has the listen address. It offers only what this user can do, and never a way into
// somebody else's server.
func takenHint(taken *hook.TakenError) string {
	switch {
	case taken.Route != "":
		return fmt.Sprintf(": choose another listen address, or end it: tunhook stop %s %s", taken.Route, taken.Holder.On)
	case taken.MayReuse:
		return ": choose another listen address, or take it as it is with --reuse"
	case taken.Stable && taken.Stranger() != "":
		return fmt.Sprintf(`: "stable" is the same for every user of this machine: give an address of your own, such as %s`, next(taken.Address))
	case taken.Stranger() != "" || taken.Holder.PID == 0:
		return ": choose another listen address"
	}
	return ": choose another listen address, or end that program"
}

// next is the loopback address beside one, with its port.
func next(address netip.AddrPort) netip.AddrPort {
	ip := address.Addr().As4() // what is "stable" is IPv4
	ip[3] = ip[3]%254 + 1
	return netip.AddrPortFrom(netip.AddrFrom4(ip), address.Port())
}
