package disk

// ReclaimConfig is what reclaiming takes from the configuration.
type ReclaimConfig struct {
	LogPaths  []string // the directories whose files are logs
	Rotations []Rotation
	// RecoverAvailPercent is how much must be available before a ballast is made.
	RecoverAvailPercent float64
	Reclaim             ReclaimPolicy
}

// ReclaimInput is what reclaiming takes from the last look at the host.
type ReclaimInput struct {
	Kubelet   Kubelet // its defaults where this host has none
	Producers []Producer
	Readers   []Reader
	Orphans   []Orphan
	Deleted   []Deleted
}

// overBudget returns the directories of containers whose logs take more than the
// kubelet's limits give them.
func (u ReclaimInput) overBudget() map[string]bool {
	over := map[string]bool{}
	if u.Kubelet.LogMaxSizeBytes <= 0 {
		return over
	}
	budget := uint64(u.Kubelet.LogMaxSizeBytes) * uint64(u.Kubelet.LogMaxFiles)
	for _, p := range u.Producers {
		over[p.Path] = p.Kind == KindContainer && budget > 0 && p.Bytes > budget
	}
	return over
}
