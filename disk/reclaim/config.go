package reclaim

import (
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/rotate"
)

// Config is what reclaiming takes from the configuration.
type Config struct {
	LogPaths  []string // the directories whose files are logs
	Rotations []rotate.Rule
	// RecoverAvailPercent is how much must be available before a ballast is made.
	RecoverAvailPercent float64
	Policy              Policy
}

// Input is what reclaiming takes from the last look at the host.
type Input struct {
	Kubelet   hostconfig.Kubelet // its defaults where this host has none
	Producers []logs.Producer
	Readers   []logs.Reader
	Orphans   []Orphan
	Deleted   []logs.Deleted
}

// overBudget returns the directories of containers whose logs take more than the
// kubelet's limits give them.
func (u Input) overBudget() map[string]bool {
	over := map[string]bool{}
	if u.Kubelet.LogMaxSizeBytes <= 0 {
		return over
	}
	budget := uint64(u.Kubelet.LogMaxSizeBytes) * uint64(u.Kubelet.LogMaxFiles)
	for _, p := range u.Producers {
		over[p.Path] = p.Kind == logs.KindContainer && budget > 0 && p.Bytes > budget
	}
	return over
}
