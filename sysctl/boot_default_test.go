package sysctl

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/kernelmem"
)

// The kernel's own numbers were read on Linux 6.18 with this much memory.
func TestKernelDefault(t *testing.T) {
	m := Machine{MemoryBytes: 24683520 << 10}
	for k, want := range map[Key]float64{
		MaxUserInstances: 128, MaxUserWatches: 192536, MaxQueuedEvents: 16384,
		FileMax: 2466170, NrOpen: 1048576, EpollMaxUserWatches: 5491511,
	} {
		got, exact, ok := KernelDefault(k, m)
		off := float64(got)/want - 1
		if !ok || off > 0.01 || off < -0.01 || exact && off != 0 {
			t.Errorf("%s: %s (exact: %v), the kernel says %.0f", k, got, exact, want)
		}
	}
	for bytes, want := range map[int64]Value{1 << 20: 8192, 1 << 40: 1048576} {
		if got, exact, _ := KernelDefault(MaxUserWatches, Machine{MemoryBytes: bytes}); got != want || !exact {
			t.Errorf("watches with %d bytes of memory: %s (exact: %v), want %s", bytes, got, exact, want)
		}
	}
}

func TestFloorsFollowTheMachine(t *testing.T) {
	large, err := Profile("large-node")
	if err != nil {
		t.Fatal(err)
	}
	minimal, err := Profile("minimal")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		policy Policy
		memory int64
		want   Value
	}{
		{"default, small, bounded by memory", DefaultPolicy(), 1 << 30, 1 << 30 / 4 / kernelmem.WatchBytes},
		{"default, where the kernel gives more", DefaultPolicy(), 1 << 40, 1048576},
		{"minimal, where the kernel gives more", minimal, 1 << 40, 1048576},
		{"large, a share of memory", large, 256 << 30, 256 << 30 / 50 / kernelmem.WatchBytes},
		{"large, small machine, bounded by memory", large, 1 << 30, 1 << 30 / 4 / kernelmem.WatchBytes},
		{"large, bounded by its ceiling", large, 1 << 50, 1 << 23},
	} {
		for _, r := range test.policy.For(Machine{MemoryBytes: test.memory}) {
			if r.Key == MaxUserWatches && r.Want != test.want {
				t.Errorf("%s: %s watches, want %s", test.name, r.Want, test.want)
			}
		}
	}
}

// An untouched machine never seems to have drifted below the
// kernel's own default, however much memory it has.
func TestFloorIsNotAboveAnUntouchedKernel(t *testing.T) {
	policy := Policy{Rules: []PolicyRule{floor(MaxUserWatches, 1, 0, 0)}}
	for memory := int64(64 << 20); memory < 1<<41; memory += memory / 7 {
		// The oldest and the newest cost of a watch seen, and the 2% of memory that
		// is in use when the kernel computes it.
		kernel := Value(min(max(memory*98/100/100/1376, minWatches), maxWatches))
		want := policy.For(Machine{MemoryBytes: memory})[0].Want
		if want > kernel {
			t.Errorf("%s of memory: the floor is %s, an untouched kernel may have %s", bytesText(memory), want, kernel)
		}
	}
}

func TestProfilesAreValid(t *testing.T) {
	for _, name := range Profiles {
		p, err := Profile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range p.For(Machine{MemoryBytes: 8 << 30}) {
			if r.Why == "" || len(r.Why) > 200 {
				t.Errorf("%s: %s has the reason %q", name, r.Key, r.Why)
			}
			if r.Op == Report != (r.Key == NrOpen || strings.HasPrefix(string(r.Key), "user.")) {
				t.Errorf("%s: %s is %s", name, r.Key, r.Op)
			}
		}
	}
}
