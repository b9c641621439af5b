package rotate

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

func TestRotationDue(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		name string
		rule Rule
		size uint64
		last time.Time
		want bool
	}{
		{"empty", Rule{MaxAge: 1}, 0, disktest.Noon.Add(-day), false},
		{"small", Rule{MaxSize: 10}, 9, disktest.Noon.Add(-day), false},
		{"large", Rule{MaxSize: 10}, 10, disktest.Noon.Add(-day), true},
		{"large, but rotated a moment ago", Rule{MaxSize: 10}, 10, disktest.Noon.Add(-time.Second), false},
		{"the clock was set back", Rule{MaxSize: 10}, 10, disktest.Noon.Add(day), true},
		{"young", Rule{MaxAge: field.Duration(day)}, 1, disktest.Noon.Add(-day + 1), false},
		{"old", Rule{MaxAge: field.Duration(day)}, 1, disktest.Noon.Add(-day), true},
		{"before its time", Rule{At: "13:00"}, 1, disktest.Noon.Add(-22 * time.Hour), false},
		{"its time was yesterday", Rule{At: "13:00"}, 1, disktest.Noon.Add(-24 * time.Hour), true},
		{"its time has come", Rule{At: "12:00"}, 1, disktest.Noon.Add(-time.Hour), true},
		{"its time was, and it was rotated", Rule{At: "11:00"}, 1, disktest.Noon.Add(-30 * time.Minute), false},
	} {
		if got := c.rule.due(c.size, c.last, disktest.Noon, false); (got != "") != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
