package reporter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestDiskTable(t *testing.T) {
	var b strings.Builder
	if err := DiskTable(&b, reportertest.FullDisk(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)), 0, false); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	goldentest.Compare(t, "disk.txt", got)
	if strings.Contains(got, "\x1b") {
		t.Error("a file name commands the terminal")
	}
}

// The document has the names that others rely on, and no list is null.
func TestDiskDocument(t *testing.T) {
	b, err := json.Marshal(NewDocument(Snapshot{Disk: Result[disk.Usage]{At: time.Now(), Value: reportertest.FullDisk(time.Now())}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"path", "size_bytes", "avail_bytes", "inodes", "inodes_free", "growth_bytes_per_second", "seconds_to_full", "seconds_to_eviction",
		"producers", "bytes_per_second", "readers", "lag_bytes", "offset_bytes", "stalled_since", "unfollowed", "deleted", "orphans", "corrupt", "findings",
	} {
		if !bytes.Contains(b, []byte(`"`+name+`":`)) {
			t.Errorf("no %s in %s", name, b)
		}
	}
	if !bytes.Contains(b, []byte(`"pressure":{"level":"bad"`)) {
		t.Errorf("%s", b)
	}
}

// However much a node holds, a scrape has a bounded number of series.
func TestDiskSeriesAreBounded(t *testing.T) {
	s := Snapshot{Disk: Result[disk.Usage]{At: time.Now()}}
	for i := range 5000 {
		at := fmt.Sprintf("/var/log/%d", i)
		pos := uint64(0)
		s.Disk.Value.Filesystems = append(s.Disk.Value.Filesystems, disk.Filesystem{Path: at, State: disk.StateOK, SizeBytes: 1, Inodes: 1})
		s.Disk.Value.Producers = append(s.Disk.Value.Producers, disk.Producer{Kind: disk.KindFile, Path: at})
		s.Disk.Value.Readers = append(s.Disk.Value.Readers, disk.Reader{PID: i, Comm: at, Path: at, OffsetBytes: &pos})
	}
	if n := strings.Count(exposition(t, s), "\n"); n > 400 {
		t.Errorf("%d lines", n)
	}
}
