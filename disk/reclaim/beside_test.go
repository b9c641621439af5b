package reclaim

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/disktest"
)

// An archive that is compressed beside the pass holds up neither the pass nor, where the
// disk is critical, the next class. Where it is not, nothing of more value goes meanwhile.
func TestReclaimCompressesBeside(t *testing.T) {
	for name, c := range map[string]struct {
		critical bool
		room     bool
		orphan   bool // it is removed
	}{
		"short":                   {room: true},
		"critical":                {critical: true, room: true, orphan: true},
		"it cannot be compressed": {orphan: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			logs := filepath.Join(root, "var/log")
			old := time.Now().Add(-48 * time.Hour)
			rotated := filepath.Join(logs, "b.log."+archive.TimestampSuffix(old))
			disktest.Fill(t, rotated, 2, old)
			f, err := os.Open(rotated)
			disktest.Must(t, err)
			archive.SetOwn(f, true)
			if !archive.IsOwn(f) {
				t.Fatal("the filesystem of the test keeps no user attributes: set TMPDIR")
			}
			disktest.Must(t, f.Close())
			if !c.room {
				disktest.Must(t, os.Mkdir(filepath.Join(logs, "."+filepath.Base(rotated)+".gz.part"), 0o700))
			}
			pod := fmt.Sprintf("/var/log/pods/default_gone_%s", disktest.PodUID(0))
			disktest.Fill(t, filepath.Join(root, pod, "web/0.log"), 1, old)
			disktest.Must(t, filepath.WalkDir(filepath.Join(root, pod), func(p string, _ os.DirEntry, _ error) error {
				return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Sec: old.Unix()}, {Sec: old.Unix()}}, unix.AT_SYMLINK_NOFOLLOW)
			}))
			disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/lib/kubelet/pods"), 0o755))
			disktest.WriteFile(t, filepath.Join(root, "var/lib/kubelet/config.yaml"), "kind: KubeletConfiguration\n")
			config := reclaimConfig()
			config.Policy.Classes = []Class{ClassRotated, ClassOrphans}
			r := reclaimer(t, root, config)
			r.CompressBeside(t.Context(), new(sync.WaitGroup))
			u := nothingSeen()
			u.Orphans = []Orphan{{Path: pod, Bytes: 1 << 20, Modified: old}}
			goal := filesystem.Goal{AvailBytes: 1 << 62, Critical: c.critical}
			pass := func() {
				t.Helper()
				_, err := r.Reclaim(t.Context(), "/var/log", goal, u, false, time.Now(), nil)
				disktest.Must(t, err)
			}
			pass()
			disktest.WaitUntil(t, "the compression", func() bool { return len(r.Pass(t.Context(), nil, false, time.Now())) > 0 })
			if !c.room {
				pass()
			}
			_, err = os.Stat(filepath.Join(root, pod))
			if os.IsNotExist(err) != c.orphan {
				t.Errorf("the orphan: %v", err)
			}
			if got := slices.Contains(disktest.List(t, logs), filepath.Base(rotated)+".gz"); got != c.room {
				t.Errorf("compressed %v: %v", got, disktest.List(t, logs))
			}
		})
	}
}
