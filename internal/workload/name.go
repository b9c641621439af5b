package workload

import "github.com/nodetune/nodetune/internal/safetext"

// Name returns what an operator calls the owner of a process:
// namespace/pod:container, or the systemd unit. It is empty where neither is
// known.
func Name(namespace, pod, container, unit string) string {
	switch {
	case pod == "":
		return safetext.String(unit)
	case container == "":
		return safetext.String(namespace + "/" + pod)
	}
	return safetext.String(namespace + "/" + pod + ":" + container)
}
