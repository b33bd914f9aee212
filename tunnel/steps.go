package tunnel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Steps are commands, each a program with its arguments, that run before a tunnel program is launched or after its tunnel has ended:
// what brings a VPN up and takes it down, wakes the desktop's machine, or starts a server on the other side.
type Steps [][]string

// stepNames are the placeholders in the steps of a [tunnel.NAME], whose route may be any provider's.
var stepNames = []string{"route", "host", "port", "listen", "listen_host", "listen_port"}

// checkSteps says what is wrong with a table's steps.
func checkSteps(before, after Steps, known []string) error {
	for key, steps := range map[string]Steps{"before": before, "after": after} {
		for _, step := range steps {
			if len(step) == 0 || step[0] == "" {
				return fmt.Errorf("%s: each of its commands is a list that begins with a program, as in [[\"nmcli\", \"con\", \"up\", \"work\"]]", key)
			}
			for _, ph := range placeholder.FindAllString(strings.Join(step, " "), -1) {
				if name := ph[1 : len(ph)-1]; !slices.Contains(known, name) || name == "args" {
					return fmt.Errorf("%s: unknown placeholder %s: the known ones are {%s}", key, ph, strings.Join(stepNames, "} {"))
				}
			}
		}
	}
	return nil
}

// Before are the commands to run before the tunnel program is launched: the provider's, then those of the name.
func (r Route) Before(listen netip.AddrPort, tunhook string) Steps {
	return r.steps(slices.Concat(r.Provider.Before, r.Named.Before), listen, tunhook)
}

// After are the commands to run when the tunnel has ended: those of the name, then the provider's.
func (r Route) After(listen netip.AddrPort, tunhook string) Steps {
	return r.steps(slices.Concat(r.Named.After, r.Provider.After), listen, tunhook)
}

func (r Route) steps(steps Steps, listen netip.AddrPort, tunhook string) Steps {
	values := r.values(listen, tunhook)
	filled := make(Steps, len(steps))
	for i, step := range steps {
		for _, word := range step {
			filled[i] = append(filled[i], fill(word, values))
		}
	}
	return filled
}
