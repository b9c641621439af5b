package disk

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/field"
)

func TestDefaultPolicy(t *testing.T) {
	p := DefaultPolicy()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if p.Mode != Observe {
		t.Errorf("the default mode is %q: no configuration asked nodetune to act", p.Mode)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again Policy
	if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(p, again) {
		t.Errorf("%s\nreads back as %+v, %v", b, again, err)
	}
}

func TestPolicyValidate(t *testing.T) {
	for want, wrong := range map[string]func(*Policy){
		"mode":                         func(p *Policy) { p.Mode = "delete" },
		"logPaths":                     func(p *Policy) { p.LogPaths = nil },
		"logPaths[1]":                  func(p *Policy) { p.LogPaths = append(p.LogPaths, "/") },
		"logPaths[0]":                  func(p *Policy) { p.LogPaths = []string{"/var/log/../lib"} },
		"filesystems[0]":               func(p *Policy) { p.Filesystems = []string{"data"} },
		"pressure.availPercent":        func(p *Policy) { p.Pressure.AvailPercent = -1 },
		"pressure.recoverAvailPercent": func(p *Policy) { p.Pressure.RecoverAvailPercent = 3 },
		"pressure.inodesPercent":       func(p *Policy) { p.Pressure.InodesPercent = 100 },
		"pressure.horizon":             func(p *Policy) { p.Pressure.Horizon = -1 },
		"readers.stalledAfter":         func(p *Policy) { p.Readers.StalledAfter = 0 },
		"readers.excludePods[0]":       func(p *Policy) { p.Readers.Uncollected = []string{"fluent-bit"} },
		"readers.excludePods[1]":       func(p *Policy) { p.Readers.Uncollected = []string{"a/b", "a/["} },
		"readers.unfollowedAfter":      func(p *Policy) { p.Readers.UnfollowedAfter = 0 },
		"readers.rotateWait":           func(p *Policy) { p.Readers.RotateWait = -1 },
		"statfsDeadline":               func(p *Policy) { p.StatfsDeadline = 0 },
		"growthWindow":                 func(p *Policy) { p.GrowthWindow = 0 },
		"fullScanEvery":                func(p *Policy) { p.FullScanEvery = 0 },
		"maxRows":                      func(p *Policy) { p.MaxRows = 0 },
	} {
		p := DefaultPolicy()
		wrong(&p)
		all := field.All(p.Validate())
		if len(all) != 1 || all[0].Path != want {
			t.Errorf("%s: got %v", want, p.Validate())
		}
	}
}

func TestRotationValidate(t *testing.T) {
	ok := rotate.Rule{Paths: []string{"/var/log/app/*.log"}, MaxSize: 1}
	for name, change := range map[string]func(*rotate.Rule){
		"":                           func(*rotate.Rule) {},
		"rotations[0].paths":         func(r *rotate.Rule) { r.Paths = nil },
		"rotations[0].paths[0]":      func(r *rotate.Rule) { r.Paths[0] = "/var/log/*/x.log" },
		"rotations[0].maxSize":       func(r *rotate.Rule) { r.MaxSize, r.MaxAge = -1, 1 },
		"rotations[0]":               func(r *rotate.Rule) { r.MaxSize = 0 },
		"rotations[0].at":            func(r *rotate.Rule) { r.At = "25:00" },
		"rotations[0].compress":      func(r *rotate.Rule) { r.Compress = "xz" },
		"rotations[0].reopen.signal": func(r *rotate.Rule) { r.Reopen.Signal = "KILL" },
		"rotations[0].inPlace":       func(r *rotate.Rule) { r.InPlace, r.Reopen.Unit = true, "a.service" },
		"rotations[0].archives":      func(r *rotate.Rule) { r.Archives = -1 },
	} {
		rule := ok
		rule.Paths = []string{ok.Paths[0]}
		change(&rule)
		p := DefaultPolicy()
		p.Rotations = []rotate.Rule{rule}
		all := field.All(p.Validate())
		if name == "" && len(all) != 0 || name != "" && (len(all) != 1 || all[0].Path != name) {
			t.Errorf("%s: %v", name, all)
		}
	}
}
