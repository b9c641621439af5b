package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/rotate"
)

// actCapabilities are what acting upon logs takes where they, or who writes
// them, are not root's; each act that lacks one says so and does nothing.
var actCapabilities = []struct {
	bit  int
	name string
}{
	{unix.CAP_CHOWN, "CAP_CHOWN"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
	{unix.CAP_FOWNER, "CAP_FOWNER"},
	{unix.CAP_KILL, "CAP_KILL"},
	{unix.CAP_LEASE, "CAP_LEASE"},
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
}

// lacks returns which of them this process has not. Only a writer that is to
// open its log again gets a signal.
func (p Policy) lacks() []string {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return nil // not known; each act will say
	}
	var names []string
	signals := slices.ContainsFunc(p.Rotations, func(r rotate.Rule) bool { return !r.Reopen.IsZero() })
	for _, c := range actCapabilities {
		if c.bit == unix.CAP_KILL && !signals {
			continue
		}
		if sets[0].Effective&(1<<c.bit) == 0 {
			names = append(names, c.name)
		}
	}
	return names
}

// readOnlyHere returns the log directories that are mounted read-only for this
// process, as in a pod that may only look.
func (o *Observer) readOnlyHere(errs map[string]error) []string {
	var dirs []string
	for _, p := range o.policy.LogPaths {
		if errs[p] == nil && errors.Is(unix.Faccessat(int(o.rootfs), strings.TrimPrefix(p, "/"), unix.W_OK, unix.AT_EACCESS), unix.EROFS) {
			dirs = append(dirs, p)
		}
	}
	return dirs
}

// cannotAct finds what keeps nodetune from the acts that its mode asks for.
func cannotAct(c hostConf) []Finding {
	if c.mode == Observe {
		return nil
	}
	const do = "grant it, as the overlay assist or the chart's disk.mode does, or on a host deploy/systemd/logs.conf; or set disk.mode: observe"
	var found []Finding
	for _, p := range c.readOnly {
		found = append(found, Finding{
			Reason: FindingCannotAct, Severity: SeverityWarning, Path: p, Do: do,
			Message: fmt.Sprintf("disk.mode is %s, and %s is mounted read-only here: nothing in it is rotated or reclaimed", c.mode, p),
		})
	}
	if len(c.lacks) > 0 {
		found = append(found, Finding{
			Reason: FindingCannotAct, Severity: SeverityInfo, Do: do,
			Message: fmt.Sprintf("disk.mode is %s, without %s: nodetune does not touch files that take one of them, for example logs that do not belong to root, or whose writers do not run as root", c.mode, strings.Join(c.lacks, ", ")),
		})
	}
	return found
}
