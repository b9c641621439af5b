package text

import (
	"strings"
	"testing"
	"time"

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
