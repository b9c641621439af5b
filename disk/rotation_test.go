package disk

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
		rule Rotation
		size uint64
		last time.Time
		want bool
	}{
		{"empty", Rotation{MaxAge: 1}, 0, disktest.Noon.Add(-day), false},
		{"small", Rotation{MaxSize: 10}, 9, disktest.Noon.Add(-day), false},
		{"large", Rotation{MaxSize: 10}, 10, disktest.Noon.Add(-day), true},
		{"large, but rotated a moment ago", Rotation{MaxSize: 10}, 10, disktest.Noon.Add(-time.Second), false},
		{"the clock was set back", Rotation{MaxSize: 10}, 10, disktest.Noon.Add(day), true},
		{"young", Rotation{MaxAge: field.Duration(day)}, 1, disktest.Noon.Add(-day + 1), false},
		{"old", Rotation{MaxAge: field.Duration(day)}, 1, disktest.Noon.Add(-day), true},
		{"before its time", Rotation{At: "13:00"}, 1, disktest.Noon.Add(-22 * time.Hour), false},
		{"its time was yesterday", Rotation{At: "13:00"}, 1, disktest.Noon.Add(-24 * time.Hour), true},
		{"its time has come", Rotation{At: "12:00"}, 1, disktest.Noon.Add(-time.Hour), true},
		{"its time was, and it was rotated", Rotation{At: "11:00"}, 1, disktest.Noon.Add(-30 * time.Minute), false},
	} {
		if got := c.rule.due(c.size, c.last, disktest.Noon, false); (got != "") != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestRotationValidate(t *testing.T) {
	ok := Rotation{Paths: []string{"/var/log/app/*.log"}, MaxSize: 1}
	for name, change := range map[string]func(*Rotation){
		"":                           func(*Rotation) {},
		"rotations[0].paths":         func(r *Rotation) { r.Paths = nil },
		"rotations[0].paths[0]":      func(r *Rotation) { r.Paths[0] = "/var/log/*/x.log" },
		"rotations[0].maxSize":       func(r *Rotation) { r.MaxSize, r.MaxAge = -1, 1 },
		"rotations[0]":               func(r *Rotation) { r.MaxSize = 0 },
		"rotations[0].at":            func(r *Rotation) { r.At = "25:00" },
		"rotations[0].compress":      func(r *Rotation) { r.Compress = "xz" },
		"rotations[0].reopen.signal": func(r *Rotation) { r.Reopen.Signal = "KILL" },
		"rotations[0].inPlace":       func(r *Rotation) { r.InPlace, r.Reopen.Unit = true, "a.service" },
		"rotations[0].archives":      func(r *Rotation) { r.Archives = -1 },
	} {
		rule := ok
		rule.Paths = []string{ok.Paths[0]}
		change(&rule)
		p := DefaultPolicy()
		p.Rotations = []Rotation{rule}
		all := field.All(p.Validate())
		if name == "" && len(all) != 0 || name != "" && (len(all) != 1 || all[0].Path != name) {
			t.Errorf("%s: %v", name, all)
		}
	}
}
