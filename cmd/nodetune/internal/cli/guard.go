package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

// addGuard adds to o what the agent's guard has published, and the BPF programs of
// others that see or change what is written. To list them takes CAP_NET_ADMIN;
// without it they are not known, and nothing is added.
func addGuard(o *sysctl.PassResult, roots host.Roots) {
	store := sysctl.NewStore(roots.Rootfs)
	state, err := store.GuardState()
	if err != nil {
		o.Warnings = append(o.Warnings, err.Error())
	}
	o.ObservedWrites = state.Writes
	if state.Mode == sysctl.GuardOff && store.AgentRuns() {
		o.Guard, o.GuardReason = string(state.Mode), state.Reason
	}
	if host.RequireOwnKernel(roots.Procfs) != nil {
		return
	}
	all, err := guard.Programs(agent.Cgroupfs(roots))
	if err != nil {
		return
	}
	others := false
	for _, p := range all {
		own := p.Own || state.ProgramID != 0 && p.ID == state.ProgramID
		if own && p.ID == state.ProgramID { // the agent that published it runs
			o.Guard, o.GuardReason, o.GuardLimits = string(state.Mode), state.Reason, state.Limits
		}
		others = others || !own
		o.GuardPrograms = append(o.GuardPrograms, sysctl.GuardProgram{ID: p.ID, Name: p.Name, Own: own})
	}
	if !others {
		o.GuardPrograms = nil
		return
	}
	o.Warnings = append(o.Warnings, otherPrograms(o.GuardPrograms))
}

// otherPrograms describes the programs in the order in which they run.
func otherPrograms(all []sysctl.GuardProgram) string {
	var names []string
	for _, p := range all {
		name := "a program without a name"
		if p.Name != "" {
			name = safetext.String(p.Name)
		}
		if p.Own {
			name = "nodetune's guard"
		}
		names = append(names, fmt.Sprintf("%s (id %d)", name, p.ID))
	}
	text := "BPF programs of others at the cgroup root can refuse or change what is written to a setting; they run in this order: " + strings.Join(names, ", ")
	if i := slices.IndexFunc(all, func(p sysctl.GuardProgram) bool { return p.Own }); i >= 0 && i < len(all)-1 {
		text += "; what runs after nodetune's guard decides, and the guard may not hold a floor"
	}
	return text + "; 'bpftool prog show id ID' describes one"
}
