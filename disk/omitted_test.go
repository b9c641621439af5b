package disk

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
	"golang.org/x/sys/unix"
)

// Names of containers beyond what is kept are reported with the other lists.
func TestOmittedNames(t *testing.T) {
	root := t.TempDir()
	links := filepath.Join(root, "var/log/containers")
	disktest.Must(t, unix.Mkdir(filepath.Join(root, "var"), 0o755))
	disktest.Must(t, unix.Mkdir(filepath.Join(root, "var/log"), 0o755))
	disktest.Must(t, unix.Mkdir(links, 0o755))
	fd := disktest.Open(t, links, unix.O_RDONLY|unix.O_DIRECTORY)
	const kept, more = 10_000, 5
	for i := range kept + more {
		disktest.Must(t, unix.Symlinkat("/none", fd, fmt.Sprintf("web_shop_app-%064x.log", i)))
	}
	o, err := New("/proc", "/sys", root, DefaultPolicy())
	disktest.Must(t, err)
	defer func() { _ = o.Close() }()
	u, err := o.Observe(t.Context(), time.Now())
	disktest.Must(t, err)
	if got := u.Scan.Omitted["names of pods and containers"]; got != more {
		t.Errorf("%d names are omitted, want %d", got, more)
	}
}
