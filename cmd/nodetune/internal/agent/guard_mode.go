package agent

import (
	"github.com/nodetune/nodetune/sysctl"
)

// guardWish is the mode that a guard is to have, and why it is not the configured one.
type guardWish struct {
	mode   sysctl.GuardMode
	reason string
}

// wishedGuard decides about the mode from what is configured and what the agent
// may do. Without the lock of an agent there may be another one, which has a guard.
func wishedGuard(configured sysctl.GuardMode, act, locked bool, paused string) guardWish {
	switch {
	case configured == sysctl.GuardOff:
		return guardWish{sysctl.GuardOff, "sysctl.guard is off"}
	case !locked:
		return guardWish{sysctl.GuardOff, "this agent holds no lock in /run/nodetune, and another agent may have a guard"}
	case configured != sysctl.GuardHold:
		return guardWish{mode: sysctl.GuardObserve}
	case !act:
		return guardWish{sysctl.GuardObserve, "sysctl.guard is hold, and --dry-run changes nothing"}
	case paused != "":
		return guardWish{sysctl.GuardObserve, "sysctl.guard is hold, and nodetune is paused: remove " + paused}
	}
	return guardWish{mode: sysctl.GuardHold}
}
