package cli

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/sysctl"
)

func TestMayExceedFloor(t *testing.T) {
	rules := []sysctl.Rule{
		{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192},
		{Key: sysctl.MaxUserWatches, Op: sysctl.AtLeast, Want: 524288},
	}
	const marks = "sys/kernel/slab/inotify_inode_mark/objects"
	for name, test := range map[string]struct {
		files, watches int
		want           bool
	}{
		"idle":         {1000, 300, false},
		"many files":   {1 << 20, 300, true},
		"many watches": {1000, 400000, true},
		"not known":    {1000, -1, true},
	} {
		h := newHost(t)
		h.put(t, "proc/sys/fs/file-nr", strconv.Itoa(test.files)+"\t0\t9223372036854775807\n")
		if test.watches >= 0 {
			h.put(t, marks, strconv.Itoa(test.watches)+" N0="+strconv.Itoa(test.watches)+"\n")
		}
		roots := host.Roots{Procfs: filepath.Join(h.dir, "proc"), Sysfs: filepath.Join(h.dir, "sys")}
		if got := mayExceedFloor(roots, rules, config.Default().Inotify); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
