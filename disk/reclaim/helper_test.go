package reclaim

import (
	"testing"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/disktest"
)

// reclaimConfig is the default of the configuration.
func reclaimConfig() Config {
	return Config{LogPaths: []string{"/var/log"}, RecoverAvailPercent: 20, Policy: DefaultPolicy()}
}

// host is a root with an ext4 of its own at /var/log.
func host(t testing.TB, size int64) (root string, config Config) {
	t.Helper()
	return disktest.LogDisk(t, size), reclaimConfig()
}

func reclaimer(t testing.TB, root string, c Config) *Reclaimer {
	t.Helper()
	r, err := New("/proc", root, c)
	disktest.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// nothingSeen is the input of a host where nothing was seen yet.
func nothingSeen() Input { return Input{Kubelet: hostconfig.DefaultKubelet()} }
