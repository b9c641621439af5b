package filesystem

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// pressure15 is the default of the configuration: act below 15 %, end at 20.
func pressure15() PressurePolicy {
	return PressurePolicy{AvailPercent: 15, RecoverAvailPercent: 20, InodesPercent: 10, Horizon: field.Duration(10 * time.Minute)}
}

func TestEvicts(t *testing.T) {
	k := hostconfig.DefaultKubelet()
	f := Filesystem{SizeBytes: 1000, Inodes: 200, Roles: []Role{RoleLogs, RoleKubelet}}
	setEviction(&f, k.EvictionHard)
	if *f.EvictionAvailBytes != 100 || *f.EvictionInodesFree != 10 || f.EvictionSignal != hostconfig.SignalNodefsAvailable {
		t.Errorf("nodefs: %d bytes, %d inodes, %s", *f.EvictionAvailBytes, *f.EvictionInodesFree, f.EvictionSignal)
	}
	f.Roles = append(f.Roles, RoleRuntime)
	setEviction(&f, k.EvictionHard)
	if *f.EvictionAvailBytes != 150 || f.EvictionSignal != hostconfig.SignalImagefsAvailable {
		t.Errorf("one disk for both: %d bytes, %s", *f.EvictionAvailBytes, f.EvictionSignal)
	}
	f = Filesystem{SizeBytes: 1000, Roles: []Role{RoleLogs}}
	setEviction(&f, k.EvictionHard)
	if f.EvictionAvailBytes != nil {
		t.Error("the kubelet does not watch a filesystem that holds nothing but logs")
	}
}

func TestGoal(t *testing.T) {
	p := pressure15()
	eviction := uint64(10)
	soon := 60.0
	for _, c := range []struct {
		name     string
		f        Filesystem
		acting   bool
		avail    uint64
		critical bool
	}{
		{"enough", Filesystem{AvailBytes: 16}, false, 0, false},
		{"low", Filesystem{AvailBytes: 14}, false, 20, false},
		{"low, by the kubelet's reckoning", Filesystem{AvailBytes: 17, EvictionAvailBytes: disktest.Ptr(uint64(13))}, false, 23, false},
		{"going on", Filesystem{AvailBytes: 16}, true, 20, false},
		{"done", Filesystem{AvailBytes: 20}, true, 0, false},
		{"critical", Filesystem{AvailBytes: 11, EvictionAvailBytes: &eviction}, false, 20, true},
		{"critical without a kubelet", Filesystem{AvailBytes: 1}, false, 20, true},
		{"inodes", Filesystem{AvailBytes: 50, Inodes: 100, InodesFree: 9}, false, 20, false},
		{"eviction soon", Filesystem{AvailBytes: 50, SecondsToEviction: &soon}, false, 20, false},
		{"read-only", Filesystem{AvailBytes: 1, State: StateReadOnly}, false, 0, false},
		{"hung", Filesystem{AvailBytes: 1, State: StateHung}, false, 0, false},
	} {
		c.f.SizeBytes, c.f.Path = 100, "/var/log"
		if c.f.State == "" {
			c.f.State = StateOK
		}
		g, short := p.Goal(c.f, c.acting)
		if short != (c.avail > 0) || short && (g.AvailBytes != c.avail || g.Critical != c.critical || g.Reason == "") {
			t.Errorf("%s: %+v, %v", c.name, g, short)
		}
	}
}

// A disk that only fills fast is not short yet: readers are still waited for.
func TestShort(t *testing.T) {
	p := pressure15()
	soon := 60.0
	for _, c := range []struct {
		f    Filesystem
		want bool
	}{
		{Filesystem{AvailBytes: 16, SecondsToEviction: &soon}, false},
		{Filesystem{AvailBytes: 14}, true},
		{Filesystem{AvailBytes: 17, EvictionAvailBytes: disktest.Ptr(uint64(13))}, true},
		{Filesystem{AvailBytes: 50, Inodes: 100, InodesFree: 9}, true},
	} {
		c.f.SizeBytes = 100
		if got := p.Short(c.f); got != c.want {
			t.Errorf("%+v: %v, want %v", c.f, got, c.want)
		}
	}
}
