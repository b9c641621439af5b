package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/reporter"
)

// However much a node holds, a scrape has a bounded number of series.
func TestDiskSeriesAreBounded(t *testing.T) {
	s := reporter.Snapshot{Disk: reporter.Result[disk.Usage]{At: time.Now()}}
	for i := range 5000 {
		at := fmt.Sprintf("/var/log/%d", i)
		pos := uint64(0)
		s.Disk.Value.Filesystems = append(s.Disk.Value.Filesystems, filesystem.Filesystem{Path: at, State: filesystem.StateOK, SizeBytes: 1, Inodes: 1})
		s.Disk.Value.Producers = append(s.Disk.Value.Producers, logs.Producer{Kind: logs.KindFile, Path: at})
		s.Disk.Value.Readers = append(s.Disk.Value.Readers, logs.Reader{PID: i, Comm: at, Path: at, OffsetBytes: &pos})
	}
	if n := strings.Count(exposition(t, s), "\n"); n > 400 {
		t.Errorf("%d lines", n)
	}
}
