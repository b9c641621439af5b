package reclaim

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// nodetune makes the ballast once, where there is room, and completes it where the run
// that made it was killed.
func TestBallast(t *testing.T) {
	privtest.Root(t)
	root, policy := host(t, 512<<20)
	r := reclaimer(t, root, policy)
	file := filepath.Join(root, "var/log", ballastName)
	disktest.Must(t, os.WriteFile(file, nil, 0o600))
	for range 2 {
		disktest.Must(t, r.Ballast("/var/log"))
		var st unix.Stat_t
		disktest.Must(t, unix.Stat(file, &st))
		if st.Size != ballastBytes || st.Blocks*512 < ballastBytes {
			t.Errorf("it is %d bytes in %d blocks", st.Size, st.Blocks)
		}
	}

	root, policy = host(t, 128<<20)
	disktest.Must(t, reclaimer(t, root, policy).Ballast("/var/log"))
	if _, err := os.Stat(filepath.Join(root, "var/log", ballastName)); !os.IsNotExist(err) {
		t.Errorf("on a small filesystem: %v", err)
	}
}
