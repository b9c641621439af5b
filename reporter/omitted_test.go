package reporter

import (
	"errors"
	"slices"
	"testing"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
)

func TestOmitted(t *testing.T) {
	scan := func(omitted, skipped map[string]int) Snapshot {
		return Snapshot{Disk: Result[disk.Usage]{Value: disk.Usage{Scan: disk.Scan{Omitted: omitted, Skipped: skipped}}}}
	}
	gaps := func(all ...inotify.Gap) Snapshot {
		return Snapshot{Inotify: Result[inotify.Usage]{Value: inotify.Usage{Unknown: all}}}
	}
	failed := scan(map[string]int{"readers": 7}, nil)
	failed.Disk.Err = errors.New("failed")
	blind := scan(nil, nil)
	blind.Disk.Value.Scan.Unreadable = 4
	unfinished := scan(nil, nil)
	unfinished.Disk.Value.Scan.Later = 5
	for _, c := range []struct {
		name string
		s    Snapshot
		want []Omitted
	}{
		{"nothing", Snapshot{}, nil},
		{"rows beyond the bound, the most first", scan(map[string]int{"deleted": 2, "readers": 7}, nil), []Omitted{
			{"disk", "readers", "rows of the list readers", 7}, {"disk", "deleted", "rows of the list deleted", 2},
		}},
		{"files beyond the bound", scan(nil, map[string]int{"too_many": 9}), []Omitted{{"disk", "too_many", "files or directories beyond the bound of a scan", 9}}},
		{"a reason of its own words", scan(nil, map[string]int{"inotify instances too large to read": 1}), []Omitted{
			{"disk", "inotify instances too large to read", "inotify instances too large to read", 1},
		}},
		{"what went away meanwhile is normal", scan(nil, map[string]int{"gone": 9}), nil},
		{"none of a kind", scan(map[string]int{"readers": 0}, nil), nil},
		{"a pass that failed", failed, nil},
		{"processes of the disk's walk", blind, []Omitted{{"disk", "unreadable_processes", "processes whose open logs could not be read", 4}}},
		{"an unfinished walk", unfinished, []Omitted{{"disk", "later_processes", "processes that the walk for readers of logs has not come to yet", 5}}},
		{"processes", gaps(inotify.Gap{What: "descriptors", Processes: 3}), []Omitted{{"inotify", "processes", "descriptors", 3}}},
		{"what is not known without being left out", gaps(inotify.Gap{What: "instances in flight"}), nil},
	} {
		if got := c.s.Omitted(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if got := NewDocument(c.s).Omitted; !slices.Equal(got, c.want) {
			t.Errorf("%s: the document has %+v, want %+v", c.name, got, c.want)
		}
	}
}
