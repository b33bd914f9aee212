package process

// Place is from where a process sees others: a boot of the machine, and namespaces(7), by inode. A pid, a socket and a start tick mean
// nothing in another one.
type Place struct {
	BootID  string `json:"boot_id"`
	PIDs    uint64 `json:"pid_namespace"`
	Network uint64 `json:"net_namespace"`
	Clock   uint64 `json:"time_namespace,omitzero"` // start ticks count from its own boot; 0 where the kernel has none
}

// Here is the place of the calling process.
func Here() (Place, error) { return here() }

// Beyond tells what keeps a process at the place here from seeing those that were started at p: "" for nothing. What was started
// before a boot has ended wherever it was. A place that is not known is taken for this one.
func (p Place) Beyond(here Place) (namespace string) {
	differ := func(a, b uint64) bool { return a != 0 && b != 0 && a != b }
	switch {
	case p.BootID != here.BootID:
		return ""
	case differ(p.PIDs, here.PIDs):
		return "PID namespace"
	case differ(p.Network, here.Network):
		return "network namespace"
	case differ(p.Clock, here.Clock):
		return "time namespace"
	}
	return ""
}
