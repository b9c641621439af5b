package disk

import (
	"testing"

	"github.com/nodetune/nodetune/internal/disktest"
)

// reclaimConfig is the default of the configuration.
func reclaimConfig() ReclaimConfig {
	return ReclaimConfig{LogPaths: []string{"/var/log"}, RecoverAvailPercent: 20, Reclaim: defaultReclaim()}
}

// host is a root with an ext4 of its own at /var/log.
func host(t testing.TB, size int64) (root string, config ReclaimConfig) {
	t.Helper()
	return disktest.LogDisk(t, size), reclaimConfig()
}

func reclaimer(t testing.TB, root string, c ReclaimConfig) *Reclaimer {
	t.Helper()
	r, err := NewReclaimer("/proc", root, c)
	disktest.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// nothingSeen is the input of a host where nothing was seen yet.
func nothingSeen() ReclaimInput { return ReclaimInput{Kubelet: defaultKubelet()} }
