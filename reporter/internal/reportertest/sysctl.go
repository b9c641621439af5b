package reportertest

import (
	"github.com/nodetune/nodetune/sysctl"
)

// Floor is the status of a key that should be at least want.
func Floor(key sysctl.Key, value, want sysctl.Value, outcome sysctl.Outcome, reason string) sysctl.Status {
	return sysctl.Status{
		Rule:  sysctl.Rule{Key: key, Op: sysctl.AtLeast, Want: want},
		Value: value, Outcome: outcome, Reason: reason,
	}
}

// Drifted are two floors that do not hold and one that does.
var Drifted = []sysctl.Status{
	{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192}, Value: 128, Outcome: sysctl.Drifted},
	{Rule: sysctl.Rule{Key: sysctl.MaxUserWatches, Op: sysctl.AtLeast, Want: 524288}, Value: 8192, Outcome: sysctl.Drifted},
	{Rule: sysctl.Rule{Key: sysctl.FileMax, Op: sysctl.AtLeast, Want: 100000}, Value: 100000, Outcome: sysctl.InForce},
}
