package agent

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

func TestWishedGuard(t *testing.T) {
	for name, tt := range map[string]struct {
		configured  sysctl.GuardMode
		act, locked bool
		paused      string
		want        sysctl.GuardMode
		says        string
	}{
		"not configured":         {sysctl.GuardDefault, true, true, "", sysctl.GuardObserve, ""},
		"not configured, paused": {sysctl.GuardDefault, true, true, "/run/nodetune/pause", sysctl.GuardObserve, ""},
		"off":                    {sysctl.GuardOff, true, true, "", sysctl.GuardOff, "sysctl.guard is off"},
		"observe":                {sysctl.GuardObserve, true, true, "", sysctl.GuardObserve, ""},
		"hold":                   {sysctl.GuardHold, true, true, "", sysctl.GuardHold, ""},
		"hold, paused":           {sysctl.GuardHold, true, true, "/run/nodetune/pause", sysctl.GuardObserve, "remove /run/nodetune/pause"},
		"hold, dry run":          {sysctl.GuardHold, false, true, "", sysctl.GuardObserve, "--dry-run"},
		"dry run":                {sysctl.GuardDefault, false, true, "", sysctl.GuardObserve, ""},
		"hold, no lock":          {sysctl.GuardHold, true, false, "", sysctl.GuardOff, "no lock"},
		"no lock":                {sysctl.GuardDefault, true, false, "", sysctl.GuardOff, "no lock"},
	} {
		t.Run(name, func(t *testing.T) {
			got := wishedGuard(tt.configured, tt.act, tt.locked, tt.paused)
			if got.mode != tt.want || !strings.Contains(got.reason, tt.says) || tt.says == "" && got.reason != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestBelowFloor(t *testing.T) {
	rules := []sysctl.Status{
		{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192}},
		{Rule: sysctl.Rule{Key: sysctl.UserMaxInstances, Op: sysctl.Report, Want: sysctl.Unknown}},
		{Rule: sysctl.Rule{Key: sysctl.FileMax, Op: sysctl.Exactly, Want: 500}},
	}
	for _, tt := range []struct {
		key  sysctl.Key
		v    sysctl.Value
		want bool
	}{
		{sysctl.MaxUserInstances, 8191, true},
		{sysctl.MaxUserInstances, 8192, false},
		{sysctl.MaxUserInstances, 9000, false},
		{sysctl.MaxUserInstances, sysctl.Unknown, false},
		{sysctl.UserMaxInstances, 128, true}, // its other name
		{sysctl.FileMax, 501, true},
		{sysctl.FileMax, 500, false},
		{sysctl.NrOpen, 1, false},
	} {
		if got := belowFloor(rules, tt.key, tt.v); got != tt.want {
			t.Errorf("%s = %s: got %v", tt.key, tt.v, got)
		}
	}
}

// A guard that is opened again counts from 0, and the metrics do not.
func TestCountsAddUp(t *testing.T) {
	k := sysctl.FileMax
	a := map[sysctl.Key]guard.Counts{k: {Lowered: 1, Raised: 2, Same: 3, Unread: 4, Held: 5, Suppressed: 6}}
	sum := added(a, map[sysctl.Key]guard.Counts{k: {Lowered: 10, Raised: 20, Same: 30, Unread: 40, Held: 50, Suppressed: 60}, sysctl.NrOpen: {Raised: 1}})
	if sum[k] != (guard.Counts{Lowered: 11, Raised: 22, Same: 33, Unread: 44, Held: 55, Suppressed: 66}) || sum[sysctl.NrOpen].Raised != 1 || a[k].Lowered != 1 {
		t.Errorf("got %+v of %+v", sum, a)
	}
}
