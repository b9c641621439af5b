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
