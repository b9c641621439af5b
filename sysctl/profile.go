package sysctl

import (
	"fmt"
	"strings"
)

// Profiles are the names that [Profile] takes, the default first.
var Profiles = []string{"default", "large-node", "minimal"}

// Profile returns the built-in policy of that name.
func Profile(name string) (Policy, error) {
	switch name {
	case "default":
		return Policy{QueueMemoryPercent: defaultQueueShare, Rules: []PolicyRule{
			// 110 pods with two shim instances each, a kubelet with 50, systemd and
			// the collectors share one count, root's. What Talos, Bottlerocket,
			// Gardener and most guides set. An instance costs well below 1 KiB.
			floor(MaxUserInstances, 8192, 0, 1<<17),
			// What collectors' guides ask for. 1.1 GiB if one user watched that many
			// container files.
			floor(MaxUserWatches, 524288, 0, 1<<22),
			// Four times the kernel's, where a quarter of memory pays for it in all
			// 8,192 queues: from 1 TiB. A collector that stalls in a burst of rotations
			// otherwise loses events (IN_Q_OVERFLOW) and must rescan. Counts for
			// instances created afterwards.
			floor(MaxQueuedEvents, 65536, 0, 1<<20),
			// The kernel gives one file for each 10 KiB of memory, too few on small
			// nodes. systemd sets the largest number there is.
			floor(FileMax, 1048576, 0, 0),
			// The kernel gives 4% of memory, too few for a small node that terminates
			// many connections. 92 MiB if all were used.
			floor(EpollMaxUserWatches, 524288, 0, 0),
			report(NrOpen),
			report(UserMaxInstances),
			report(UserMaxWatches),
		}}, nil
	case "large-node":
		return Policy{QueueMemoryPercent: defaultQueueShare, Rules: []PolicyRule{
			floor(MaxUserInstances, 65536, 0, 1<<19),
			floor(MaxUserWatches, 1048576, 2, 1<<23),
			floor(MaxQueuedEvents, 131072, 0, 1<<21),
			floor(FileMax, 8388608, 0, 0),
			floor(EpollMaxUserWatches, 2097152, 0, 0),
			report(NrOpen),
			report(UserMaxInstances),
			report(UserMaxWatches),
		}}, nil
	case "minimal":
		return Policy{QueueMemoryPercent: defaultQueueShare, Rules: []PolicyRule{
			floor(MaxUserInstances, 1024, 0, 1<<13),
			floor(MaxUserWatches, 131072, 0, 1<<19),
		}}, nil
	}
	return Policy{}, fmt.Errorf("%q is not a profile: want one of %s", name, strings.Join(Profiles, ", "))
}

// floor is a rule of a profile; a percent or ceiling of 0 means none.
func floor(k Key, atLeast Value, percent float64, ceiling Value) PolicyRule {
	r := PolicyRule{Key: string(k), AtLeast: &atLeast, MemoryPercent: percent}
	if ceiling > 0 {
		r.Ceiling = &ceiling
	}
	return r
}

func report(k Key) PolicyRule { return PolicyRule{Key: string(k), ReportOnly: true} }
