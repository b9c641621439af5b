package disk

// ReclaimConfig is what reclaiming takes from the configuration.
type ReclaimConfig struct {
	LogPaths  []string // the directories whose files are logs
	Rotations []Rotation
	// RecoverAvailPercent is how much must be available before a ballast is made.
	RecoverAvailPercent float64
	Reclaim             ReclaimPolicy
}
