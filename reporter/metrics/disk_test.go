package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/workload"
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

// Producers whose labels are equal are one series: a scrape with a series twice fails.
func TestProducersWithEqualLabels(t *testing.T) {
	s := reporter.Snapshot{Disk: reporter.Result[disk.Usage]{At: time.Now()}}
	web := workload.Workload{Namespace: "shop", Pod: "web-0", Container: "app"}
	s.Disk.Value.Producers = []logs.Producer{
		{Kind: logs.KindContainer, Workload: web, Path: "/var/log/pods/shop_web-0_1/app", Bytes: 4, WrittenBytes: 40},
		{Kind: logs.KindContainer, Workload: web, Path: "/var/log/pods/shop_web-0_2/app", Bytes: 3, WrittenBytes: 30},
		{Kind: logs.KindContainer, Path: "/var/lib/docker/containers/a", Bytes: 2, WrittenBytes: 20},
		{Kind: logs.KindContainer, Path: "/var/lib/docker/containers/b", Bytes: 1, WrittenBytes: 10},
		{Kind: logs.KindFile, Path: "/var/log/a\n", Bytes: 5},
		{Kind: logs.KindFile, Path: `/var/log/a\n`, Bytes: 6},
		{Kind: logs.KindUnit, Workload: workload.Workload{Unit: "a.service"}, Path: "/var/log/journal/1", Bytes: 7, WrittenBytes: 70, Estimated: true},
		{Kind: logs.KindUnit, Workload: workload.Workload{Unit: "a.service"}, Path: "/var/log/journal/2", Bytes: 7, WrittenBytes: 70, Estimated: true},
	}
	s.Disk.Value.Filesystems = []filesystem.Filesystem{
		{Path: "/var/log/a\n", State: filesystem.StateOK, SizeBytes: 1},
		{Path: `/var/log/a\n`, State: filesystem.StateOK, SizeBytes: 1},
	}
	text := exposition(t, s)
	for _, want := range []string{
		`nodetune_log_bytes{container="app",kind="container",namespace="shop",path="",pod="web-0"} 7`,
		`nodetune_log_written_bytes_total{container="app",kind="container",namespace="shop",path="",pod="web-0"} 70`,
		`nodetune_log_bytes{container="",kind="container",namespace="",path="/var/lib/docker/containers/a",pod=""} 2`,
		`nodetune_log_bytes{container="",kind="container",namespace="",path="/var/lib/docker/containers/b",pod=""} 1`,
		`nodetune_log_bytes{container="",kind="file",namespace="",path="/var/log/a\\n",pod=""} 11`,
		`nodetune_log_bytes{container="",kind="unit",namespace="",path="a.service",pod=""} 14`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `nodetune_log_written_bytes_total{container="",kind="unit"`) {
		t.Error("a share of the journal is a counter")
	}
}

// A counter falls only when the agent starts again, or when all of its series was gone.
func TestWrittenNeverFalls(t *testing.T) {
	const path = "/var/log/pods/shop_web-0_%d/app"
	var totals writtenTotals
	for i, c := range []struct {
		written map[int]uint64 // by directory
		want    float64        // -1: no series
	}{
		{map[int]uint64{1: 40}, 40},
		{map[int]uint64{1: 50, 2: 5}, 55},
		{map[int]uint64{2: 7}, 57},        // the older one is gone
		{map[int]uint64{1: 50, 2: 7}, 57}, // it was beyond the rows of a pass
		{map[int]uint64{1: 50, 2: 7}, 57}, // two scrapes of one pass
		{map[int]uint64{1: 20, 2: 7}, 57}, // a new observer begins with the size
		{map[int]uint64{1: 25, 2: 7}, 62},
		{nil, -1},
		{map[int]uint64{3: 4}, 4},
	} {
		var all []logs.Producer
		for n, written := range c.written {
			all = append(all, logs.Producer{
				Kind: logs.KindContainer, Workload: workload.Workload{Namespace: "shop", Pod: "web-0", Container: "app"},
				Path: fmt.Sprintf(path, n), WrittenBytes: written,
			})
		}
		got := -1.0
		for _, s := range totals.sum(all) {
			got = s.written
		}
		if got != c.want {
			t.Errorf("pass %d: %v, want %v", i, got, c.want)
		}
	}
	for n := range 10 * maxPaths {
		_ = totals.sum([]logs.Producer{{Kind: logs.KindFile, Path: "/a"}, {
			Kind: logs.KindContainer, Workload: workload.Workload{Pod: "web-0"}, Path: fmt.Sprintf(path, n), WrittenBytes: 1,
		}})
	}
	for _, x := range totals.all {
		if len(x.last) > maxPaths {
			t.Errorf("%d paths are kept", len(x.last))
		}
	}
}
