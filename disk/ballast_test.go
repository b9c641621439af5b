package disk

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// The ballast is made once, where there is room, and made whole where whoever
// made it was killed.
func TestBallast(t *testing.T) {
	privtest.Root(t)
	root, policy := host(t, 512<<20)
	r := reclaimer(t, root, policy)
	file := filepath.Join(root, "var/log", ballastName)
	must(t, os.WriteFile(file, nil, 0o600))
	for range 2 {
		must(t, r.Ballast("/var/log"))
		var st unix.Stat_t
		must(t, unix.Stat(file, &st))
		if st.Size != ballastBytes || st.Blocks*512 < ballastBytes {
			t.Errorf("it is %d bytes in %d blocks", st.Size, st.Blocks)
		}
	}

	root, policy = host(t, 128<<20)
	must(t, reclaimer(t, root, policy).Ballast("/var/log"))
	if _, err := os.Stat(filepath.Join(root, "var/log", ballastName)); !os.IsNotExist(err) {
		t.Errorf("on a small filesystem: %v", err)
	}
}
