package hostconfig

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// logrotate may name a directory by another path than the log has here.
func TestLogrotatePathsThroughLinks(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"etc/logrotate.d", "data/log/app", "data/log/web", "srv/real", "var"} {
		disktest.Must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	disktest.Must(t, os.Symlink("/data/log", filepath.Join(root, "var/log")))
	disktest.Must(t, os.Symlink("real", filepath.Join(root, "srv/link")))
	disktest.WriteFile(t, filepath.Join(root, "etc/logrotate.d/app"), `/data/log/app/*.log /srv/link/x.log /data/log/w*/access.log {
	weekly
}
`)
	managed, err := LogrotatePaths("/proc", hostfs.Root(disktest.OpenRoot(t, root)))
	disktest.Must(t, err)
	for p, want := range map[string]bool{
		"/data/log/app/a.log":     true,
		"/var/log/app/a.log":      true,
		"/var/log/app/a.txt":      false,
		"/srv/link/x.log":         true,
		"/srv/real/x.log":         true,
		"/srv/real/y.log":         false,
		"/var/log/web/access.log": true,
		"/var/log/web/error.log":  false,
		"/var/log/none/a.log":     false,
	} {
		if got := managed(p); got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
}
